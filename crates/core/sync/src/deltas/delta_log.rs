//! The causal delta log: which deltas the state covers, and the deltas themselves for peers that lack
//! them.

use super::{Delta, DeltaRef, Dot, Gate, VersionVector};
use std::collections::BTreeMap;
use syncline_storage::{ApplyContext, ApplyError, Interface, StorageError, keys};
use syncline_store::{Bytes, Key, ReadView, WriteBatch};
use syncline_types::{
    Decode, DecodeError, DeltaId, Encode, InternalError, Limits, Reader, ReplicaId, Writer, canary, limits,
};

/// The key of the summary: covered deltas, floor, heads, stable deltas.
const SUMMARY: &[u8] = &[keys::METADATA, 1];
/// The first byte of the keys of deltas; author and number follow.
const DELTA: u8 = keys::METADATA + 1;

fn delta_key(dot: Dot) -> Key {
    Key::of(&[&[DELTA], dot.author.as_bytes(), &dot.seq.to_be_bytes()])
}

/// The summary of the deltas that the state covers. It is in memory, and every batch that changes it
/// writes it together with the records. After a crash it therefore never claims a delta whose records
/// were lost.
///
/// Invariant: `floor ≤ covered` for each author, and the log stores exactly the deltas between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeltaLog {
    covered: VersionVector,
    /// For each author, the last covered delta that the log does not store: it and all before it were pruned,
    /// or a state sync covered them and they were never received. A peer that lacks one of them needs a state
    /// sync.
    floor: VersionVector,
    /// Deltas that no covered delta names as a parent: at most one for each author, since each author's
    /// deltas form a chain.
    heads: BTreeMap<ReplicaId, (u64, DeltaId)>,
    /// The deltas that every member covered when the horizon was last raised.
    stable: VersionVector,
    /// The number of deltas of each author that the log stores.
    retention: u64,
    /// Whether the summary has changed since it was written.
    changed: bool,
    /// The deltas that were pruned for the retention since this log was loaded. Unlike the floor, it does not
    /// include deltas that were never received.
    pruned: VersionVector,
    /// How many deltas were looked up or checked against the covered ones.
    lookups: u64,
}

impl Default for DeltaLog {
    fn default() -> Self {
        Self {
            covered: VersionVector::default(),
            floor: VersionVector::default(),
            stable: VersionVector::default(),
            heads: BTreeMap::new(),
            retention: Self::DEFAULT_RETENTION,
            changed: false,
            pruned: VersionVector::default(),
            lookups: 0,
        }
    }
}

/// Why a delta was not applied. None of its actions was. This is the one list of such reasons; errors
/// of the layers above contain it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeltaRefusal {
    /// The state covers the delta already.
    #[error("the state covers the delta already")]
    Covered,
    /// A parent is not covered yet.
    #[error("a parent of the delta is not covered yet")]
    NotReady,
    /// A stamp is too far ahead of the local clock.
    #[error("a stamp of the delta is too far ahead of the local clock")]
    Drift,
    /// The delta breaks a rule that no honest author breaks.
    #[error("the delta breaks a rule")]
    Malformed,
    /// An action continues the path of an entity that this state does not have: it was deleted, and is collected
    /// here. A state sync brings what the delta changes.
    #[error("an entity below which the delta writes is not in this state")]
    MissingAncestor,
    /// The delta is older than the horizon of this state, and no member had seen it when the horizon was
    /// raised. It could bring back entities whose tombstones are collected.
    #[error("the delta is older than the horizon of this state")]
    LeftBehind,
    /// The author is not a member of this context, or not any more.
    #[error("the author of the delta is not a member")]
    NotAMember,
    /// The signature is missing, or is not the author's, or is for other content or another context.
    #[error("the signature of the delta is not valid")]
    BadSignature,
}

impl DeltaRefusal {
    /// Whether no honest author writes such a delta.
    pub const fn is_fault_of_author(self) -> bool {
        matches!(self, Self::Malformed) || self.is_unauthorized()
    }

    /// Whether the author or the signature is at fault. The peer that forwarded such a delta has forged
    /// it, does not check what it forwards, or knows another membership than this replica.
    pub const fn is_unauthorized(self) -> bool {
        matches!(self, Self::NotAMember | Self::BadSignature)
    }
}

/// Why applying a delta had no effect.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeltaError {
    /// The delta was refused; the state is as it was.
    #[error(transparent)]
    Refused(#[from] DeltaRefusal),
    /// The local state failed. The transaction must not be committed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl DeltaError {
    /// The refusal of the delta, or the failure of the state.
    pub fn refusal(self) -> Result<DeltaRefusal, StorageError> {
        match self {
            Self::Refused(refusal) => Ok(refusal),
            Self::Storage(error) => Err(error),
        }
    }
}

/// The deltas that a peer lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MissingDeltas {
    /// The first of the missing deltas, in causal order.
    Deltas {
        /// The canonical bytes of each delta.
        deltas: Vec<Bytes>,
        /// Whether `deltas` contains all of them.
        complete: bool,
    },
    /// The log does not store some of them any more: the peer needs a state sync.
    BelowFloor,
}

impl DeltaLog {
    /// How many deltas of each author the log stores by default.
    pub const DEFAULT_RETENTION: u64 = 10_000;

    /// Reads the log from the store. From now on it stores `retention` deltas of each author.
    pub fn load<V: ReadView>(view: &V, retention: u64) -> Result<Self, StorageError> {
        let Some(row) = view.read(SUMMARY)? else { return Ok(Self { retention, ..Self::default() }) };
        Self::decode_summary(&row, retention)
            .map_err(|error| StorageError::Row { what: "the delta log", error })
    }

    fn decode_summary(row: &[u8], retention: u64) -> Result<Self, DecodeError> {
        let mut input = Reader::new(row);
        let covered = VersionVector::decode(&mut input)?;
        let floor = VersionVector::decode(&mut input)?;
        let heads = input.list::<DeltaRef>(limits::MAX_HEADS, "heads")?;
        let stable = VersionVector::decode(&mut input)?;
        let heads = heads.into_iter().map(|head| (head.dot.author, (head.dot.seq, head.id))).collect();
        let pruned = VersionVector::default();
        Ok(Self { covered, floor, heads, stable, retention, changed: false, pruned, lookups: 0 })
    }

    /// How many deltas were looked up or checked against the covered ones since the log was loaded.
    pub const fn lookups(&self) -> u64 {
        self.lookups
    }

    /// Whether the summary has changed since it was written.
    pub const fn is_changed(&self) -> bool {
        self.changed
    }

    /// Whether deltas were pruned for the retention since the log was loaded.
    pub(crate) fn has_pruned(&self) -> bool {
        self.pruned.entries().next().is_some()
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
        self.changed |= self.stable.join(stable);
    }

    /// The deltas that the state covers.
    pub const fn covered(&self) -> &VersionVector {
        &self.covered
    }

    /// The parents of the next delta made here, ascending by author.
    pub fn heads(&self) -> Vec<DeltaRef> {
        let heads = self.heads.iter();
        heads.map(|(&author, &(seq, id))| DeltaRef { dot: Dot { author, seq }, id }).collect()
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
        if !self.covered.has_room_for(delta.dot.author) || delta.parents.iter().any(own_descendant) {
            return Err(DeltaRefusal::Malformed.into());
        }
        let (id, bytes) = delta.id_and_bytes();
        gate.check(delta, id)?;
        if !self.is_ready(delta) {
            return Err(DeltaRefusal::NotReady.into());
        }
        if delta.stamp <= state.horizon() {
            return Err(DeltaRefusal::LeftBehind.into());
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
            match state.apply_relative(action, context) {
                Ok(_) => {}
                Err(ApplyError::Storage(error)) => return Err(error.into()),
                Err(error) => {
                    debug_assert!(false, "an action that was checked applies: {error}");
                    let broken = InternalError::broken("an action that was checked applies");
                    return Err(StorageError::from(broken).into());
                }
            }
        }
        self.store(delta, id, bytes, metadata_batch);
        Ok(())
    }

    /// Records that `delta`, made here, is in the state, and stores it for peers that lack it.
    pub fn append(&mut self, delta: &Delta, batch: &mut WriteBatch) {
        let (id, bytes) = delta.id_and_bytes();
        self.store(delta, id, bytes, batch);
    }

    fn store(&mut self, delta: &Delta, id: DeltaId, bytes: Vec<u8>, batch: &mut WriteBatch) {
        // A head is a delta without covered children. This one is a child of its parents, and of all that
        // their authors wrote before them.
        for parent in &delta.parents {
            if self.heads.get(&parent.dot.author).is_some_and(|(seq, _)| *seq <= parent.dot.seq) {
                self.heads.remove(&parent.dot.author);
            }
        }
        let Dot { author, seq } = delta.dot;
        debug_assert!(!self.covered.covers(delta.dot), "a delta is recorded once");
        self.heads.insert(author, (seq, id));
        self.covered.cover(delta.dot);
        batch.put(delta_key(delta.dot), bytes);
        let last_pruned = seq.saturating_sub(self.retention);
        if last_pruned > self.floor.of(author) {
            self.pruned.cover(Dot { author, seq: last_pruned });
        }
        self.raise_floor(Dot { author, seq: last_pruned }, batch);
        self.changed = true;
    }

    /// Prunes the deltas up to `dot`.
    fn raise_floor(&mut self, dot: Dot, batch: &mut WriteBatch) {
        debug_assert!(self.covered.covers(dot), "only covered deltas are pruned");
        for seq in self.floor.of(dot.author) + 1..=dot.seq {
            batch.delete(delta_key(Dot { seq, ..dot }));
        }
        if dot.seq > 0 {
            self.floor.cover(dot);
        }
    }

    /// Records that the state covers everything that a peer's state covers. Returns whether that
    /// changes the log.
    pub fn adopt(&mut self, covered: &VersionVector, heads: &[DeltaRef], batch: &mut WriteBatch) -> bool {
        let before = self.covered.clone();
        if !self.covered.join(covered) {
            return false;
        }
        debug_assert!(self.covered.includes(&before), "adopting never loses coverage");
        for Dot { author, .. } in covered.entries() {
            let now = self.covered.of(author);
            if now > before.of(author) {
                // The deltas up to `now` are covered but were not received, so the log cannot serve them. The
                // stored ones before them are of no use either, since a peer needs an unbroken sequence.
                self.raise_floor(Dot { author, seq: before.of(author) }, batch);
                self.floor.cover(Dot { author, seq: now });
            }
        }
        // A head that its own sender does not cover could never be a parent that anyone can satisfy.
        for head in heads.iter().filter(|head| covered.covers(head.dot)) {
            let own = self.heads.entry(head.dot.author).or_insert((head.dot.seq, head.id));
            if own.0 < head.dot.seq {
                *own = (head.dot.seq, head.id);
            }
        }
        self.changed = true;
        true
    }

    /// The deltas that a state covering `theirs` lacks, in causal order, up to a page of `limits`; at least
    /// one, if there are any. `metadata_batch` contains the rows that this step
    /// has written over the view. O(log authors) for each delta.
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
        for Dot { author, seq } in self.covered.entries() {
            let from = theirs.of(author);
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

    /// Writes the summary, if it has changed. Called once in a step, however many deltas it applied.
    pub(crate) fn write_changes(&mut self, batch: &mut WriteBatch) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let mut row = Writer::default();
        self.covered.encode(&mut row);
        self.floor.encode(&mut row);
        row.list(&self.heads());
        self.stable.encode(&mut row);
        batch.put(SUMMARY.into(), row.into_bytes());
    }

    /// The bytes of a delta, if the log stores it.
    pub fn read<V: ReadView>(view: &V, dot: Dot) -> Result<Option<Bytes>, StorageError> {
        Ok(view.read(&delta_key(dot))?)
    }
}
