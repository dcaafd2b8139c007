//! The causal delta log: which deltas the state covers, and the deltas themselves for peers that lack
//! them.

mod log_sizes;
mod pruning;

use super::{Delta, DeltaError, DeltaRef, DeltaRefusal, Dot, Gate, MissingDeltas, VersionVector};
use log_sizes::LogSizes;
use pruning::{DELETED_AT_ONCE, Leftovers};
use std::collections::{BTreeMap, BTreeSet};
use syncline_storage::{ApplyContext, ApplyError, Interface, StorageError, keys};
use syncline_store::{Bytes, Key, ReadView, WriteBatch};
use syncline_types::{
    Decode, DecodeError, DeltaId, Digest, Encode, InternalError, Limits, Reader, ReplicaId, Writer, canary,
    limits,
};

/// The key of the summary: the heads, the number of authors, and a digest of their rows.
const SUMMARY: &[u8] = keys::metadata::DELTA_LOG;
/// The first bytes of the keys of authors' rows; the author follows.
const AUTHOR: &[u8] = keys::metadata::AUTHOR;
const AUTHORS_END: &[u8] = keys::metadata::AUTHORS_END;
/// How many authors' rows one read of the store returns.
const AUTHORS_PER_READ: usize = 1_024;
/// Separates the digest of authors' rows from others.
const AUTHORS_TAG: u8 = 0x58;
/// The first byte of the keys of deltas; author and number follow.
const DELTA: u8 = keys::METADATA + 1;

fn delta_key(dot: Dot) -> Key {
    Key::of(&[&[DELTA], dot.author.as_bytes(), &dot.seq.to_be_bytes()])
}

const AUTHOR_ROW: &str = "the row of an author";

fn author_key(author: ReplicaId) -> Key {
    Key::of(&[AUTHOR, author.as_bytes()])
}

/// The summary of the deltas that the state covers. It is in memory, and every batch that changes it
/// writes the changes together with the records. After a crash it therefore never claims a delta whose records
/// were lost.
///
/// The store has a row for each author, with its last covered, pruned and stable delta, and one row with the heads
/// and a digest of all these. A step writes the rows of the authors that it has changed.
///
/// Invariant: `floor ≤ covered` for each author, and the log stores all deltas between them. Below the floor it has
/// only deltas that are yet to be deleted; each heartbeat deletes some.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeltaLog {
    covered: VersionVector,
    /// For each author, the last covered delta that the log does not store: it and all before it were pruned,
    /// or a state sync covered them and they were never received. A peer that lacks one of them needs a state
    /// sync.
    floor: VersionVector,
    /// The newest of the deltas that no covered delta names as a parent, in the order in which they were covered:
    /// at most one for each author, since each author's deltas form a chain, and at most
    /// [`limits::MAX_PARENTS`]. Older ones are forgotten, so that no delta names them.
    heads: Vec<DeltaRef>,
    /// The deltas that every member covered when the horizon was last raised.
    stable: VersionVector,
    /// The number of deltas of each author that the log stores.
    retention: u64,
    /// The most bytes of deltas that the log stores.
    capacity: u64,
    /// The bytes of the deltas that the log stores.
    sizes: LogSizes,
    /// The deltas below the floor that are yet to be deleted.
    leftovers: Leftovers,
    /// Whether the heads have changed since they were written.
    changed: bool,
    /// The authors whose rows have changed since they were written.
    unwritten: BTreeSet<ReplicaId>,
    /// The deltas that were pruned for the bounds of this log since it was loaded. Unlike the floor, it does not
    /// include deltas that were never received.
    pruned: VersionVector,
    /// The author of the deltas that are made here, if it is known.
    own: Option<ReplicaId>,
    /// The last delta made here that a peer is known to cover since the log was loaded.
    taken: u64,
    /// The authors whose coverage has grown since [`DeltaLog::take_advanced`] was last called.
    advanced: BTreeSet<ReplicaId>,
    /// How many deltas were looked up or checked against the covered ones.
    lookups: u64,
}

impl Default for DeltaLog {
    fn default() -> Self {
        Self {
            covered: VersionVector::default(),
            floor: VersionVector::default(),
            stable: VersionVector::default(),
            heads: Vec::new(),
            retention: Self::DEFAULT_RETENTION,
            capacity: Self::DEFAULT_BYTES,
            sizes: LogSizes::default(),
            leftovers: Leftovers::default(),
            changed: false,
            unwritten: BTreeSet::new(),
            pruned: VersionVector::default(),
            own: None,
            taken: 0,
            advanced: BTreeSet::new(),
            lookups: 0,
        }
    }
}

impl DeltaLog {
    /// How many deltas of each author the log stores by default.
    pub const DEFAULT_RETENTION: u64 = 10_000;
    /// How many bytes of deltas the log stores by default.
    pub const DEFAULT_BYTES: u64 = 64 << 20;

    /// The same log with a bound of `capacity` bytes of deltas.
    pub const fn with_capacity(mut self, capacity: u64) -> Self {
        self.capacity = capacity;
        self
    }

    /// The same log on the store of `own`, whose deltas that nobody has taken are pruned last.
    pub const fn written_by(mut self, own: ReplicaId) -> Self {
        self.own = Some(own);
        self
    }

    /// Reads the log from the store. From now on it stores `retention` deltas of each author.
    pub fn load<V: ReadView>(view: &V, retention: u64) -> Result<Self, StorageError> {
        let summary = view.read(SUMMARY)?;
        let mut log = Self { retention, ..Self::default() };
        let mut from = Key::of(&[AUTHOR]);
        let mut unknown = Vec::new();
        loop {
            let rows = view.range(&from, AUTHORS_END, AUTHORS_PER_READ)?;
            let Some((last, _)) = rows.last() else { break };
            from = Key::of(&[last, &[0]]);
            for (key, row) in &rows {
                let loaded = log.load_author(key, row);
                let (author, has_size) =
                    loaded.map_err(|error| StorageError::Row { what: AUTHOR_ROW, error })?;
                unknown.extend((!has_size).then_some(author));
            }
        }
        for author in unknown {
            log.count_bytes(author, view)?;
        }
        log.leftovers = Leftovers::load(view)?;
        let loaded = match summary {
            Some(summary) => log.load_summary(&summary),
            None if log.covered.is_empty() => Ok(()),
            None => Err(DecodeError::NotCanonical { what: "the heads" }),
        };
        loaded.map_err(|error| StorageError::Row { what: "the delta log", error })?;
        Ok(log)
    }

    /// Reads the row of an author. Returns the author, and whether the row has the size of its deltas.
    fn load_author(&mut self, key: &[u8], row: &[u8]) -> Result<(ReplicaId, bool), DecodeError> {
        let mut key = Reader::new(key);
        key.raw(AUTHOR.len(), AUTHOR_ROW)?;
        let author = ReplicaId::decode(&mut key)?;
        key.finish()?;
        let mut input = Reader::new(row);
        let covered = input.varint()?;
        let floor = input.varint()?;
        let stable = input.varint()?;
        // Earlier versions stored no size.
        let has_size = input.remaining() > 0;
        let bytes = if has_size { input.varint()? } else { 0 };
        input.finish()?;
        let is_sound = floor <= covered && covered.max(stable) <= limits::MAX_DELTA_SEQ;
        if !is_sound || !self.covered.has_room_for(author) {
            return Err(DecodeError::NotCanonical { what: AUTHOR_ROW });
        }
        self.covered.cover(Dot { author, seq: covered });
        self.floor.cover(Dot { author, seq: floor });
        self.stable.cover(Dot { author, seq: stable });
        self.sizes.add(author, bytes);
        Ok((author, has_size))
    }

    /// Counts the bytes of the stored deltas of an author whose row is of an earlier version. O(stored deltas).
    fn count_bytes<V: ReadView>(&mut self, author: ReplicaId, view: &V) -> Result<(), StorageError> {
        for seq in self.floor.of(author) + 1..=self.covered.of(author) {
            let row = Self::read(view, Dot { author, seq })?;
            self.sizes.add(author, row.map_or(0, |row| row.len() as u64));
        }
        self.unwritten.insert(author);
        Ok(())
    }

    fn load_summary(&mut self, row: &[u8]) -> Result<(), DecodeError> {
        let mut input = Reader::new(row);
        self.heads = input.list(limits::MAX_PARENTS, "heads")?;
        let authors = input.varint()?;
        let digest = Digest::decode(&mut input)?;
        input.finish()?;
        // A lost or damaged row of an author would let this log claim fewer deltas than it has written.
        if authors != self.covered.len() as u64 || digest != self.authors_digest() {
            return Err(DecodeError::NotCanonical { what: "the rows of the authors" });
        }
        Ok(())
    }

    /// A digest of all authors' rows.
    fn authors_digest(&self) -> Digest {
        let parts = [&self.covered, &self.floor, &self.stable].map(VersionVector::digest);
        let [covered, floor, stable] = &parts;
        Digest::of_parts(AUTHORS_TAG, &[&covered.0, &floor.0, &stable.0])
    }

    /// How many deltas were looked up or checked against the covered ones since the log was loaded.
    pub const fn lookups(&self) -> u64 {
        self.lookups
    }

    /// The authors whose coverage has grown since the last call, ascending. The delta buffer learns from them
    /// which deltas may be ready.
    pub fn take_advanced(&mut self) -> BTreeSet<ReplicaId> {
        std::mem::take(&mut self.advanced)
    }

    /// Whether the summary has changed since it was written.
    pub fn is_changed(&self) -> bool {
        self.changed || !self.unwritten.is_empty()
    }

    /// The bytes of all deltas that the log stores.
    pub const fn bytes(&self) -> u64 {
        self.sizes.total()
    }

    /// The bytes of an author's deltas that the log stores.
    pub fn bytes_of(&self, author: ReplicaId) -> u64 {
        self.sizes.of(author)
    }

    /// Whether deltas were pruned since the log was loaded.
    pub(crate) fn has_pruned(&self) -> bool {
        !self.pruned.is_empty()
    }

    /// Whether a state that covers `theirs` lacks deltas that were pruned for the retention.
    pub(crate) fn has_pruned_for(&self, theirs: &VersionVector) -> bool {
        !theirs.includes(&self.pruned)
    }

    /// For each author, the last covered delta that the log does not store; nor does it store those before
    /// it.
    pub const fn floor(&self) -> &VersionVector {
        &self.floor
    }

    /// The deltas that every member covered when the horizon of the state was last raised.
    pub const fn stable(&self) -> &VersionVector {
        &self.stable
    }

    /// Records that every member covers `stable`.
    pub fn note_stable(&mut self, stable: &VersionVector) {
        for (author, own, seq) in self.stable.difference(stable) {
            if seq > own && self.stable.has_room_for(author) {
                self.stable.cover(Dot { author, seq });
                self.unwritten.insert(author);
            }
        }
    }

    /// The deltas that the state covers.
    pub const fn covered(&self) -> &VersionVector {
        &self.covered
    }

    /// The parents of the next delta made here, ascending by author: at most [`limits::MAX_PARENTS`].
    pub fn heads(&self) -> Vec<DeltaRef> {
        let mut heads = self.heads.clone();
        heads.sort_unstable();
        heads
    }

    /// Records a head. The oldest one is forgotten if there are too many.
    fn add_head(&mut self, head: DeltaRef) {
        self.heads.retain(|other| other.dot.author != head.dot.author);
        self.heads.push(head);
        if self.heads.len() > limits::MAX_PARENTS {
            self.heads.remove(0);
        }
    }

    /// Whether the delta may be applied now: its author's previous delta and all its parents are
    /// covered (**I8**).
    pub fn is_ready(&self, delta: &Delta) -> bool {
        canary!(DeltaBeforeParents) || self.missing(delta).next().is_none()
    }

    /// The predecessors of `delta` that are not covered: of each author the last one.
    pub fn missing<'a>(&'a self, delta: &'a Delta) -> impl Iterator<Item = Dot> + 'a {
        let previous = Dot { seq: delta.dot.seq - 1, ..delta.dot };
        let parents = delta.parents.iter().map(|parent| parent.dot);
        parents.chain([previous]).filter(|dot| dot.seq > 0 && !self.covered.covers(*dot))
    }

    /// Applies a delta to the state and records it, if `gate` admits it. A refused delta has no effect.
    /// Errors: [`DeltaError`]. Complexity: one merge for each action, and one encoding.
    pub fn apply<V: ReadView>(
        &mut self,
        delta: &Delta,
        state: &mut Interface<V>,
        metadata_batch: &mut WriteBatch,
        context: &ApplyContext,
        gate: &Gate,
    ) -> Result<(), DeltaError> {
        self.lookups += 1 + delta.parents.len() as u64;
        if self.covered.covers(delta.dot) {
            return Err(DeltaRefusal::Covered.into());
        }
        let own_descendant =
            |parent: &DeltaRef| parent.dot.author == delta.dot.author && parent.dot.seq >= delta.dot.seq;
        let breaks_rule = delta.horizon >= delta.stamp || delta.parents.iter().any(own_descendant);
        if !self.covered.has_room_for(delta.dot.author) || breaks_rule {
            return Err(DeltaRefusal::Malformed.into());
        }
        let (id, bytes) = delta.id_and_bytes();
        gate.check(delta, id)?;
        if !self.is_ready(delta) {
            return Err(DeltaRefusal::NotReady.into());
        }
        if self.continues_another(delta, state.view(), metadata_batch)? {
            return Err(DeltaRefusal::AnotherHistory.into());
        }
        if delta.stamp <= state.horizon() {
            return Err(DeltaRefusal::LeftBehind.into());
        }
        if delta.horizon > state.horizon() {
            return Err(DeltaRefusal::HorizonAhead.into());
        }
        // All checks that can refuse the delta come before the first action, so that a delta is applied as a
        // whole or not at all (L5).
        let mut latest = delta.stamp;
        for action in &delta.actions {
            match action.to_record() {
                Ok(record) => latest = latest.max(record.latest_stamp()),
                Err(_) => return Err(DeltaRefusal::Malformed.into()),
            }
        }
        if latest.check_drift(context.moment, context.max_drift_ms).is_err() {
            return Err(DeltaRefusal::Drift.into());
        }
        state.prefetch(delta.actions.iter().flat_map(|relative| relative.action.entities()))?;
        if !state.has_anchors(&delta.actions)? {
            return Err(DeltaRefusal::MissingAncestor.into());
        }
        for action in &delta.actions {
            match state.apply_relative(action, delta.horizon, context) {
                Ok(_) => {}
                Err(ApplyError::Storage(error)) => return Err(error.into()),
                Err(error) => {
                    debug_assert!(false, "an action that was checked applies: {error}");
                    let broken = InternalError::broken("an action that was checked applies");
                    return Err(StorageError::from(broken).into());
                }
            }
        }
        // While all deltas are of one author, no other store may have them.
        let taken = if self.covered.len() > 1 { u64::MAX } else { 0 };
        Ok(self.store(delta, (id, bytes), taken, state.view(), metadata_batch)?)
    }

    /// Records that `delta`, made here, is in the state, and stores it for peers that lack it. Should this replica have
    /// to come back under another id, what nobody has taken is written again from the log. `view` and `batch` are those
    /// of the step.
    pub fn append<V: ReadView>(
        &mut self,
        delta: &Delta,
        view: &V,
        batch: &mut WriteBatch,
    ) -> Result<(), StorageError> {
        self.store(delta, delta.id_and_bytes(), self.taken, view, batch)
    }

    /// Records that a peer covers the deltas made here up to number `seq`.
    pub fn note_taken(&mut self, seq: u64) {
        self.taken = self.taken.max(seq);
    }

    /// Stores a delta. Another store has the deltas of its author up to number `taken`.
    fn store<V: ReadView>(
        &mut self,
        delta: &Delta,
        (id, bytes): (DeltaId, Vec<u8>),
        taken: u64,
        view: &V,
        batch: &mut WriteBatch,
    ) -> Result<(), StorageError> {
        // A head is a delta without covered children. This one is a child of its parents, and of all that
        // their authors wrote before them.
        let follows = |head: &DeltaRef, parent: &DeltaRef| {
            parent.dot.author == head.dot.author && parent.dot.seq >= head.dot.seq
        };
        self.heads.retain(|head| !delta.parents.iter().any(|parent| follows(head, parent)));
        let author = delta.dot.author;
        debug_assert!(!self.covered.covers(delta.dot), "a delta is recorded once");
        self.add_head(DeltaRef { dot: delta.dot, id });
        self.covered.cover(delta.dot);
        self.advanced.insert(author);
        self.unwritten.insert(author);
        self.sizes.add(author, bytes.len() as u64);
        batch.put(delta_key(delta.dot), bytes);
        self.changed = true;
        self.prune_for_retention(author, taken, view, batch)?;
        self.prune_for_bytes(view, batch)
    }

    /// Records that the state covers everything that a peer's state covers. Returns whether that
    /// changes the log.
    pub fn adopt(&mut self, covered: &VersionVector, heads: &[DeltaRef], batch: &mut WriteBatch) -> bool {
        let before = self.covered.clone();
        if !self.covered.join(covered) {
            return false;
        }
        debug_assert!(self.covered.includes(&before), "adopting never loses coverage");
        let mut left = DELETED_AT_ONCE;
        for (author, before, now) in before.difference(&self.covered) {
            self.advanced.insert(author);
            self.unwritten.insert(author);
            // The deltas up to `now` are covered but were not received, so the log cannot serve them. The
            // stored ones before them are of no use either, since a peer needs an unbroken sequence.
            left -= self.raise_floor(author, before, now, left, batch);
        }
        // A head that its own sender does not cover could never be a parent that anyone can satisfy.
        for head in heads.iter().filter(|head| covered.covers(head.dot)) {
            let own = self.heads.iter().find(|own| own.dot.author == head.dot.author);
            if own.is_none_or(|own| own.dot.seq < head.dot.seq) {
                self.add_head(*head);
            }
        }
        self.changed = true;
        true
    }

    /// The deltas that a state covering `theirs` lacks, in causal order, up to a page of `limits`; at least
    /// one, if there are any. `metadata_batch` contains the rows that this step
    /// has written over the view. O(difference of the vectors), and O(log authors) for each delta.
    ///
    /// This merges the authors' sequences by stamp. Within a sequence stamps ascend, and a delta has a
    /// later stamp than its parents, so the order of stamps is a causal order.
    pub fn since<V: ReadView>(
        &self,
        view: &V,
        metadata_batch: &WriteBatch,
        theirs: &VersionVector,
        limits: &Limits,
    ) -> Result<MissingDeltas, StorageError> {
        let mut next = BTreeMap::new();
        for (author, seq, from) in self.covered.difference(theirs) {
            if from < self.floor.of(author) {
                return Ok(MissingDeltas::BelowFloor);
            }
            if from < seq {
                let dot = Dot { author, seq: from + 1 };
                let (delta, bytes) = Self::read_stored(view, metadata_batch, dot)?;
                next.insert((delta.stamp, dot), bytes);
            }
        }
        let mut deltas = Vec::new();
        let mut size = 0;
        while let Some(((_, dot), bytes)) = next.pop_first() {
            let is_full =
                size + bytes.len() > limits.page_bytes() || deltas.len() >= limits.deltas_per_frame();
            if size > 0 && is_full {
                return Ok(MissingDeltas::Deltas { deltas, complete: false });
            }
            size += bytes.len();
            deltas.push(bytes);
            if dot.seq < self.covered.of(dot.author) {
                let dot = Dot { seq: dot.seq + 1, ..dot };
                let (delta, bytes) = Self::read_stored(view, metadata_batch, dot)?;
                next.insert((delta.stamp, dot), bytes);
            }
        }
        Ok(MissingDeltas::Deltas { deltas, complete: true })
    }

    /// A delta between the floor and the covered deltas: the log stores it, or the store is damaged.
    fn read_stored<V: ReadView>(
        view: &V,
        metadata_batch: &WriteBatch,
        dot: Dot,
    ) -> Result<(Delta, Bytes), StorageError> {
        let bytes = match metadata_batch.get(&delta_key(dot)) {
            Some(written) => written.clone(),
            None => Self::read(view, dot)?,
        };
        let bytes = bytes.ok_or(StorageError::Index { what: "a delta above the floor of the log" })?;
        let delta =
            Delta::from_bytes(&bytes).map_err(|error| StorageError::Row { what: "a delta", error })?;
        Ok((delta, bytes))
    }

    /// Writes the rows that have changed. Called once in a step, however many deltas it applied. O(changed
    /// authors).
    pub(crate) fn write_changes(&mut self, batch: &mut WriteBatch) {
        if !self.is_changed() {
            return;
        }
        self.changed = false;
        for author in std::mem::take(&mut self.unwritten) {
            let mut row = Writer::default();
            row.varint(self.covered.of(author));
            row.varint(self.floor.of(author));
            row.varint(self.stable.of(author));
            row.varint(self.sizes.of(author));
            batch.put(author_key(author), row.into_bytes());
        }
        let mut row = Writer::default();
        row.list(&self.heads);
        row.varint(self.covered.len() as u64);
        self.authors_digest().encode(&mut row);
        batch.put(SUMMARY.into(), row.into_bytes());
    }

    /// Whether `delta` was made after another delta of its author than the one that is stored here under the same
    /// number. O(1) while the author's previous delta is a head, otherwise one read and one hash.
    fn continues_another<V: ReadView>(
        &self,
        delta: &Delta,
        view: &V,
        metadata_batch: &WriteBatch,
    ) -> Result<bool, StorageError> {
        if let Some(previous) = delta.parents.iter().find(|parent| parent.dot.author == delta.dot.author) {
            let stored = self.reference(view, metadata_batch, previous.dot)?;
            return Ok(stored.is_some_and(|stored| stored != *previous));
        }
        // The previous delta is named by other parents only. At least the stamps of one history ascend.
        let previous = Dot { seq: delta.dot.seq - 1, ..delta.dot };
        if previous.seq == 0 || previous.seq <= self.floor.of(previous.author) {
            return Ok(false);
        }
        Ok(Self::read_stored(view, metadata_batch, previous)?.0.stamp >= delta.stamp)
    }

    /// The reference of a covered delta; `None` if the log does not store the delta. O(1) for a head, otherwise one
    /// read and one hash.
    pub fn reference<V: ReadView>(
        &self,
        view: &V,
        metadata_batch: &WriteBatch,
        dot: Dot,
    ) -> Result<Option<DeltaRef>, StorageError> {
        if dot.seq == 0 || !self.covered.covers(dot) || dot.seq <= self.floor.of(dot.author) {
            return Ok(None);
        }
        match self.heads.iter().find(|head| head.dot == dot) {
            Some(head) => Ok(Some(*head)),
            None => Ok(Some(Self::read_stored(view, metadata_batch, dot)?.0.reference())),
        }
    }

    /// A covered delta; `None` if the log does not store it.
    pub(crate) fn stored<V: ReadView>(
        &self,
        view: &V,
        metadata_batch: &WriteBatch,
        dot: Dot,
    ) -> Result<Option<Delta>, StorageError> {
        if !self.covered.covers(dot) || dot.seq <= self.floor.of(dot.author) {
            return Ok(None);
        }
        Ok(Some(Self::read_stored(view, metadata_batch, dot)?.0))
    }

    /// The bytes of a delta, if the log stores it.
    pub fn read<V: ReadView>(view: &V, dot: Dot) -> Result<Option<Bytes>, StorageError> {
        Ok(view.read(&delta_key(dot))?)
    }
}
