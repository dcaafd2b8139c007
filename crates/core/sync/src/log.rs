//! The causal delta log: which deltas the state covers, and the deltas themselves for those who
//! lack them.

use crate::authority::Gate;
use crate::delta::{Delta, DeltaRef, Dot, VersionVector};
use std::collections::BTreeMap;
use syncline_storage::{Action, ApplyContext, ApplyError, Interface, StorageError, keys};
use syncline_store::{Bytes, Key, ReadView, WriteBatch};
use syncline_types::{Decode, DeltaId, Encode, Reader, ReplicaId, canary, limits};

const SUMMARY: &[u8] = &[keys::METADATA, 1];
const DELTA: u8 = keys::METADATA + 1;

fn delta_key(dot: Dot) -> Key {
    Key::of(&[&[DELTA], dot.author.as_bytes(), &dot.seq.to_be_bytes()])
}

/// What the state covers. The summary is held in memory and written with every batch that changes
/// it, together with the records, so that it never claims what a crash undid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeltaLog {
    covered: VersionVector,
    /// Up to which the deltas themselves are not kept: pruned, or covered by a state sync and never
    /// received. A peer that lacks more than this is served by state sync.
    floor: VersionVector,
    /// Deltas that no covered delta names as a parent: at most one an author, since each author's
    /// deltas form a chain.
    heads: BTreeMap<ReplicaId, (u64, DeltaId)>,
    /// What every member covered when the horizon was last raised.
    stable: VersionVector,
    /// How many deltas of each author to keep.
    retention: u64,
    /// The summary has changed since it was written.
    changed: bool,
    /// Deltas looked up or checked against what is covered.
    lookups: u64,
}

impl Default for DeltaLog {
    fn default() -> Self {
        let (covered, floor, stable) = Default::default();
        Self {
            covered,
            floor,
            stable,
            heads: BTreeMap::new(),
            retention: Self::DEFAULT_RETENTION,
            changed: false,
            lookups: 0,
        }
    }
}

/// Why a delta was not applied. Nothing of it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeltaRefusal {
    /// The state covers it already.
    Covered,
    /// A parent is not covered yet.
    NotReady,
    /// A stamp is too far ahead of the local clock.
    Drift,
    /// It holds a value of a type whose merge function is not registered here.
    NoMerge,
    /// It breaks a rule that no honest author breaks.
    Malformed,
    /// It was written before what every member had seen when this state forgot what was dead, and nobody
    /// had seen it: it could bring that back.
    LeftBehind,
    /// Its author may not write to this context, or not any more.
    NotAMember,
    /// It is not signed, or not by its author, or not with this content in this context.
    BadSignature,
}

impl DeltaRefusal {
    /// Whether it is the author or the signature that is wrong: whoever passes on such a delta has
    /// made it up, or does not check what it passes on, or knows of other members than we do.
    pub const fn is_unauthorized(self) -> bool {
        matches!(self, Self::NotAMember | Self::BadSignature)
    }
}

/// Deltas that a peer lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Missing {
    /// Some of them, in causal order.
    Deltas {
        /// Their canonical bytes.
        deltas: Vec<Bytes>,
        /// Whether these are all.
        complete: bool,
    },
    /// Some of them are not kept any more: only a sync of states helps.
    BelowFloor,
}

impl DeltaLog {
    /// Deltas of each author that are kept for those who lack them, unless set otherwise.
    pub const DEFAULT_RETENTION: u64 = 10_000;

    /// The log as the store has it, keeping `retention` deltas of each author from now on.
    pub fn load<V: ReadView>(view: &V, retention: u64) -> Result<Self, StorageError> {
        let Some(row) = view.read(SUMMARY)? else { return Ok(Self { retention, ..Self::default() }) };
        let mut input = Reader::new(&row);
        let decoded = VersionVector::decode(&mut input)
            .and_then(|covered| Ok((covered, VersionVector::decode(&mut input)?)))
            .and_then(|vectors| Ok((vectors, input.list::<DeltaRef>(limits::MAX_HEADS, "heads")?)))
            .and_then(|(vectors, heads)| Ok((vectors, heads, VersionVector::decode(&mut input)?)));
        let ((covered, floor), heads, stable) =
            decoded.map_err(|error| StorageError::Row { what: "the delta log", error })?;
        let heads = heads.into_iter().map(|head| (head.dot.author, (head.dot.seq, head.id))).collect();
        Ok(Self { covered, floor, heads, stable, retention, changed: false, lookups: 0 })
    }

    /// Deltas looked up or checked against what is covered, since the log was loaded.
    pub const fn lookups(&self) -> u64 {
        self.lookups
    }

    /// Whether the summary has changed since it was written.
    pub const fn is_changed(&self) -> bool {
        self.changed
    }

    /// Up to which the deltas themselves are not kept.
    pub const fn floor(&self) -> &VersionVector {
        &self.floor
    }

    /// What every member covered when the horizon of the state was last raised.
    pub const fn stable(&self) -> &VersionVector {
        &self.stable
    }

    /// Takes note that every member covers `stable`.
    pub fn note_stable(&mut self, stable: &VersionVector) {
        self.changed |= self.stable.join(stable);
    }

    /// Which deltas the state covers.
    pub const fn covered(&self) -> &VersionVector {
        &self.covered
    }

    /// The parents of the next delta made here, ascending by author.
    pub fn heads(&self) -> Vec<DeltaRef> {
        let heads = self.heads.iter();
        heads.map(|(&author, &(seq, id))| DeltaRef { dot: Dot { author, seq }, id }).collect()
    }

    /// Whether the delta may be applied now: its author's previous one and all its parents are
    /// covered.
    pub fn is_ready(&self, delta: &Delta) -> bool {
        canary!(DeltaBeforeParents) || self.missing(delta).next().is_none()
    }

    /// The last delta of each author that must be covered before `delta`, where it is not.
    pub fn missing<'a>(&'a self, delta: &'a Delta) -> impl Iterator<Item = Dot> + 'a {
        let previous = Dot { seq: delta.dot.seq - 1, ..delta.dot };
        let parents = delta.parents.iter().map(|parent| parent.dot);
        parents.chain([previous]).filter(|dot| dot.seq > 0 && !self.covered.covers(*dot))
    }

    /// Applies a delta that `gate` lets in to the state and takes note of it: all of it or, if it is
    /// refused, nothing.
    pub fn apply<V: ReadView>(
        &mut self,
        delta: &Delta,
        state: &mut Interface<V>,
        above: &mut WriteBatch,
        context: &ApplyContext,
        gate: &Gate,
    ) -> Result<Result<(), DeltaRefusal>, StorageError> {
        self.lookups += 1 + delta.parents.len() as u64;
        if self.covered.covers(delta.dot) {
            return Ok(Err(DeltaRefusal::Covered));
        }
        let own_descendant =
            |parent: &DeltaRef| parent.dot.author == delta.dot.author && parent.dot.seq >= delta.dot.seq;
        if !self.covered.has_room_for(delta.dot.author) || delta.parents.iter().any(own_descendant) {
            return Ok(Err(DeltaRefusal::Malformed));
        }
        let (id, bytes) = delta.sealed();
        if let Err(refusal) = gate.check(delta, id) {
            return Ok(Err(refusal));
        }
        if !self.is_ready(delta) {
            return Ok(Err(DeltaRefusal::NotReady));
        }
        if delta.stamp <= state.horizon() {
            return Ok(Err(DeltaRefusal::LeftBehind));
        }
        // Everything that can be refused is looked at first, so that nothing is applied by half.
        let mut latest = delta.stamp;
        for action in &delta.actions {
            match action.to_record() {
                Ok(record) if !state.can_merge(&record) => return Ok(Err(DeltaRefusal::NoMerge)),
                Ok(record) => latest = latest.max(record.latest_stamp()),
                Err(_) => return Ok(Err(DeltaRefusal::Malformed)),
            }
        }
        if latest.check_drift(context.moment, context.max_drift_ms).is_err() {
            return Ok(Err(DeltaRefusal::Drift));
        }
        state.prefetch(delta.actions.iter().flat_map(Action::entities))?;
        for action in &delta.actions {
            match state.apply_action(action, context) {
                Ok(_) => {}
                Err(ApplyError::Storage(error)) => return Err(error),
                Err(_) => return Err(StorageError::Index { what: "a delta that was looked at" }),
            }
        }
        self.keep(delta, id, bytes, above);
        Ok(Ok(()))
    }

    /// Takes note that `delta`, made here, is in the state, and keeps it for those who lack it.
    pub fn append(&mut self, delta: &Delta, batch: &mut WriteBatch) {
        let (id, bytes) = delta.sealed();
        self.keep(delta, id, bytes, batch);
    }

    fn keep(&mut self, delta: &Delta, id: DeltaId, bytes: Vec<u8>, batch: &mut WriteBatch) {
        for parent in &delta.parents {
            if self.heads.get(&parent.dot.author).is_some_and(|(seq, _)| *seq <= parent.dot.seq) {
                self.heads.remove(&parent.dot.author);
            }
        }
        let Dot { author, seq } = delta.dot;
        self.heads.insert(author, (seq, id));
        self.covered.cover(delta.dot);
        batch.put(delta_key(delta.dot), bytes);
        let last_pruned = seq.saturating_sub(self.retention);
        self.raise_floor(Dot { author, seq: last_pruned }, batch);
        self.changed = true;
    }

    /// Forgets the deltas up to `dot`.
    fn raise_floor(&mut self, dot: Dot, batch: &mut WriteBatch) {
        for seq in self.floor.of(dot.author) + 1..=dot.seq {
            batch.delete(delta_key(Dot { seq, ..dot }));
        }
        if dot.seq > 0 {
            self.floor.cover(dot);
        }
    }

    /// Takes note that the state covers all that a peer's does. Says whether that was anything new.
    pub fn adopt(&mut self, covered: &VersionVector, heads: &[DeltaRef], batch: &mut WriteBatch) -> bool {
        let before = self.covered.clone();
        if !self.covered.join(covered) {
            return false;
        }
        for Dot { author, .. } in covered.entries() {
            let now = self.covered.of(author);
            if now > before.of(author) {
                // What is covered without having been received is not kept, nor is what came before.
                self.raise_floor(Dot { author, seq: before.of(author) }, batch);
                self.floor.cover(Dot { author, seq: now });
            }
        }
        // A head that its own sender does not cover could never be anyone's parent.
        for head in heads.iter().filter(|head| covered.covers(head.dot)) {
            let own = self.heads.entry(head.dot.author).or_insert((head.dot.seq, head.id));
            if own.0 < head.dot.seq {
                *own = (head.dot.seq, head.id);
            }
        }
        self.changed = true;
        true
    }

    /// The deltas that a state covering `theirs` lacks, in causal order, until their bytes reach
    /// `byte_limit` (at least one, if there are any). The order is that of their stamps, which no
    /// delta has before its parents. `above` holds what this step has written over the view.
    pub fn since<V: ReadView>(
        &self,
        view: &V,
        above: &WriteBatch,
        theirs: &VersionVector,
        byte_limit: usize,
    ) -> Result<Missing, StorageError> {
        let mut next = BTreeMap::new();
        for Dot { author, seq } in self.covered.entries() {
            let from = theirs.of(author);
            if from < self.floor.of(author) {
                return Ok(Missing::BelowFloor);
            }
            if from < seq {
                let dot = Dot { author, seq: from + 1 };
                let (delta, bytes) = Self::read_kept(view, above, dot)?;
                next.insert((delta.stamp, dot), bytes);
            }
        }
        let (mut deltas, mut size) = (Vec::new(), 0);
        while let Some(((_, dot), bytes)) = next.pop_first() {
            if size > 0 && (size + bytes.len() > byte_limit || deltas.len() >= limits::MAX_DELTAS_PER_FRAME) {
                return Ok(Missing::Deltas { deltas, complete: false });
            }
            size += bytes.len();
            deltas.push(bytes);
            if dot.seq < self.covered.of(dot.author) {
                let dot = Dot { seq: dot.seq + 1, ..dot };
                let (delta, bytes) = Self::read_kept(view, above, dot)?;
                next.insert((delta.stamp, dot), bytes);
            }
        }
        Ok(Missing::Deltas { deltas, complete: true })
    }

    fn read_kept<V: ReadView>(
        view: &V,
        above: &WriteBatch,
        dot: Dot,
    ) -> Result<(Delta, Bytes), StorageError> {
        let bytes = match above.get(&delta_key(dot)) {
            Some(written) => written.clone(),
            None => Self::read(view, dot)?,
        };
        let bytes = bytes.ok_or(StorageError::Index { what: "a delta above the floor of the log" })?;
        let delta =
            Delta::from_bytes(&bytes).map_err(|error| StorageError::Row { what: "a delta", error })?;
        Ok((delta, bytes))
    }

    /// Writes the summary, if it has changed: once a step, however many deltas it took in.
    pub(crate) fn write_changes(&mut self, batch: &mut WriteBatch) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let mut row = self.covered.to_bytes();
        row.extend(self.floor.to_bytes());
        let mut heads = syncline_types::Writer::default();
        heads.list(&self.heads());
        self.stable.encode(&mut heads);
        row.extend(heads.into_bytes());
        batch.put(SUMMARY.into(), row);
    }

    /// The bytes of a delta, if it is kept here.
    pub fn read<V: ReadView>(view: &V, dot: Dot) -> Result<Option<Bytes>, StorageError> {
        Ok(view.read(&delta_key(dot))?)
    }
}
