//! The work of one step: the state with its changes, and the rows above it.

use crate::collection::{CollectionInProgress, MAX_KEPT, RaisedHorizon};
use crate::deltas::{
    Delta, DeltaError, DeltaLog, DeltaRef, DeltaRefusal, Dot, Gate, HistoryClaim, HistoryConflict,
    MissingDeltas, VersionVector,
};
use crate::messages::{LocalSyncState, Rejection, SyncHandshake, SyncProtocolKind};
use crate::sketch::{Cell, Sketch, SketchKey, compute_cells};
use crate::snapshot::staged;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use syncline_storage::{ApplyContext, Interface, Merges, Stats, StorageError};
use syncline_store::{ReadView, WriteBatch};
use syncline_types::{
    ContextId, Digest, EntityId, Hlc, Limits, Probe, Probes, ReplicaId, ShortIdKey, limits,
};

/// The entries of a version vector that claims of peers leave to members, those of the future included.
const RESERVED_FOR_MEMBERS: usize = limits::MAX_REPLICAS / 16;

/// How many deltas a step reads, at most, to find what a peer has collected without.
const UNSEEN_DELTAS: usize = 256;
/// Of how many authors the deltas are read that a peer does not cover, at most.
const UNSEEN_AUTHORS: usize = 4_096;

/// Everything that one step reads and writes. It ends as one batch: after a crash the store contains
/// all changes of the step or none of them.
#[derive(Clone, Debug)]
pub struct Transaction<V> {
    /// The records and their index, with the changes of this step.
    pub state: Interface<V>,
    /// Rows of the layers above the state: deltas, the clock, snapshot transfers.
    pub metadata_batch: WriteBatch,
    /// The deltas that the state covers.
    pub log: DeltaLog,
    /// The local time and the drift limit, by which changes are judged.
    pub context: ApplyContext,
    /// The check that deltas must pass.
    pub gate: Gate,
    /// The limits that this replica has chosen.
    pub limits: Limits,
    /// The rare branches that this step took.
    probes: Probes,
    /// The refusals of deltas in this step that were unauthorized; see [`DeltaRefusal::is_unauthorized`].
    pub unauthorized: Vec<DeltaRefusal>,
    /// The latest stamp of a delta that was applied in this step.
    latest: Hlc,
    /// The id under which this replica writes; `None` for a transaction that writes under no id.
    own: Option<ReplicaId>,
    /// A claim that a peer could not prove; see [`Transaction::claim`].
    unproven: Option<Dot>,
    /// Why this replica must stop, if this step has found out.
    conflict: Option<HistoryConflict>,
    /// The horizon of a member in comparison with which this step has found this state to be left behind.
    outpaced_by: Option<Hlc>,
    /// The sketch of the state, if it has been computed. The host passes it from step to step. Invariant:
    /// it reflects the state up to the changes that `state.take_changes` has yet to return.
    pub sketch: Option<Sketch>,
    /// The context of the gate that was given, which keys the sketches.
    sketch_context: Option<ContextId>,
}

impl<V: ReadView> Transaction<V> {
    /// Begins on `view`, which must be the view that `log` belongs to. The gate admits every delta.
    pub fn begin(view: V, log: DeltaLog, context: ApplyContext) -> Result<Self, StorageError> {
        Self::begin_with(view, log, context, Merges::default())
    }

    /// Like [`Transaction::begin`], with the merge functions of the application's own types.
    pub fn begin_with(
        view: V,
        log: DeltaLog,
        context: ApplyContext,
        merges: Merges,
    ) -> Result<Self, StorageError> {
        Ok(Self {
            sketch: None,
            sketch_context: None,
            state: Interface::open_with(view, merges)?,
            metadata_batch: WriteBatch::default(),
            log,
            context,
            gate: Gate::default(),
            limits: Limits::default(),
            probes: Probes::default(),
            unauthorized: Vec::new(),
            latest: Hlc::ZERO,
            own: None,
            unproven: None,
            conflict: None,
            outpaced_by: None,
        })
    }

    /// The same transaction with the sketch of the state, as the previous step has returned it.
    pub fn with_sketch(mut self, sketch: Option<Sketch>) -> Result<Self, StorageError> {
        self.sketch = sketch;
        if self.sketch.is_some() {
            // The first call makes the state record its changes, by which the sketch is updated.
            self.state.take_changes()?;
        }
        Ok(self)
    }

    /// The sketch of the present state. O(changes) if there is a sketch already, otherwise O(n).
    pub fn sketch(&mut self) -> Result<&Sketch, StorageError> {
        let changes = self.state.take_changes()?;
        let sketch = match self.sketch.take() {
            Some(mut sketch) => {
                changes.iter().for_each(|change| sketch.apply(change));
                Some(sketch).filter(|sketch| !sketch.is_outgrown())
            }
            None => None,
        };
        let sketch = match sketch {
            Some(sketch) => sketch,
            None => Sketch::of(self.sketch_key(), &mut self.state)?,
        };
        debug_assert_eq!(sketch.key(), self.sketch_key(), "a sketch is keyed for its context");
        Ok(self.sketch.insert(sketch))
    }

    /// `count` cells of the state from index `from` on. O(count) if the sketch has them, otherwise O(n).
    pub(crate) fn cells(&mut self, from: usize, count: usize) -> Result<Vec<Cell>, StorageError> {
        match self.sketch()?.cells(from, count) {
            Some(cells) => Ok(cells.to_vec()),
            None => compute_cells(self.sketch_key(), (from, count), &mut self.state),
        }
    }

    /// The key of the sketches of this context. Computed by each call: few steps need it.
    pub fn sketch_key(&self) -> SketchKey {
        // The short ids are those by which the state finds its records.
        let key = self.sketch_context.map(SketchKey::of).unwrap_or_default();
        key.with_short_ids(self.state.short_ids())
    }

    /// Runs `work` with `state` in place of the transaction's own state, and puts both back, whatever
    /// `work` returns. A snapshot transfer compares its staged state with the peer's in this way.
    pub(crate) fn with_state<R>(&mut self, state: &mut Interface<V>, work: impl FnOnce(&mut Self) -> R) -> R {
        std::mem::swap(&mut self.state, state);
        let result = work(self);
        std::mem::swap(&mut self.state, state);
        result
    }

    /// Ends the step. Returns its writes as one batch, and the log and the sketch that belong to the store
    /// once the batch is applied.
    pub fn finish(mut self) -> Result<(WriteBatch, DeltaLog, Option<Sketch>), StorageError> {
        if self.sketch.is_some() {
            self.sketch()?;
        }
        let Self { state, mut metadata_batch, mut log, sketch, .. } = self;
        let mut batch = state.finish()?;
        log.write_changes(&mut metadata_batch);
        batch.extend(metadata_batch);
        debug_assert!(!log.is_changed(), "the summary of the log is in the batch");
        Ok((batch, log, sketch))
    }

    /// The same transaction with this gate. Its context keys the short ids of a state without records.
    pub fn with_gate(self, gate: Gate) -> Self {
        let state = self.state.with_short_ids(ShortIdKey::of(gate.context));
        Self { sketch_context: Some(gate.context), gate, state, ..self }
    }

    /// The same transaction with these limits.
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The same transaction of the replica that writes under the id `own`: it watches over its own history. The peer
    /// whose frame is handled could not prove the claim `unproven`, which does not count any more.
    pub fn with_own(self, own: ReplicaId, unproven: Option<Dot>) -> Self {
        Self { own: Some(own), unproven, ..self }
    }

    /// Why this replica must stop, if this step has found out. Nothing of the step may be committed then.
    pub const fn conflict(&self) -> Option<HistoryConflict> {
        self.conflict
    }

    /// Reports that this step took a rare branch.
    pub const fn note(&mut self, probe: Probe) {
        self.probes.note(probe);
    }

    /// Reports a rare branch if this step took it.
    pub const fn note_if(&mut self, ran: bool, probe: Probe) {
        self.probes.note_if(ran, probe);
    }

    /// The rare branches that this step has taken so far.
    pub fn probes(&self) -> Probes {
        let mut probes = self.probes;
        probes.note_if(self.log.has_pruned(), Probe::LogPruned);
        probes
    }

    /// Applies a delta; see [`DeltaLog::apply`]. A delta of this replica's own that its store does not hold is not
    /// applied: see [`Transaction::conflict`].
    pub fn apply_delta(&mut self, delta: &Delta) -> Result<(), DeltaError> {
        if self.examine(delta)? {
            return Err(DeltaRefusal::Covered.into());
        }
        let applied =
            self.log.apply(delta, &mut self.state, &mut self.metadata_batch, &self.context, &self.gate);
        match &applied {
            Ok(()) => self.latest = self.latest.max(delta.stamp),
            Err(DeltaError::Refused(refusal)) => self.note_refusal(*refusal),
            Err(DeltaError::Storage(_)) => {}
        }
        applied
    }

    /// Checks a delta that has to wait before it enters the delta buffer, so that unauthorized deltas take
    /// no place from others.
    pub fn let_in(&mut self, delta: &Delta) -> Result<(), DeltaRefusal> {
        self.gate.lets_in(delta).inspect_err(|refusal| self.note_refusal(*refusal))
    }

    /// Looks whether a delta is one of this replica's own that its store does not hold. Such a delta is evidence only
    /// if the gate admits it: only this replica can have signed it. Returns whether this step has found a conflict.
    /// O(1), and one read and two hashes for a delta under the replica's own name.
    pub fn examine(&mut self, delta: &Delta) -> Result<bool, StorageError> {
        // A delta of another author says nothing about the own history.
        let Some(own) = self.own.filter(|own| *own == delta.dot.author) else {
            return Ok(self.conflict.is_some());
        };
        let stored = self.log.covered().of(own);
        let seq = delta.dot.seq;
        let found = if seq > stored {
            Some(HistoryConflict::Behind { replica: own, stored, found: seq })
        } else {
            let stored = self.reference(delta.dot)?.filter(|stored| stored.id != delta.id());
            stored.map(|DeltaRef { id: stored, .. }| HistoryConflict::Forked {
                replica: own,
                seq,
                stored,
                found: delta.id(),
            })
        };
        if self.conflict.is_none() && found.is_some() && self.gate.lets_in(delta).is_ok() {
            self.conflict = found;
        }
        Ok(self.conflict.is_some())
    }

    /// Takes the word of a peer for it that this replica has written the delta at `claimed`.
    pub fn believe(&mut self, claimed: Dot) {
        let stored = self.log.covered().of(claimed.author);
        if self.own == Some(claimed.author) && claimed.seq > stored {
            let replica = claimed.author;
            self.conflict = Some(HistoryConflict::Behind { replica, stored, found: claimed.seq });
        }
    }

    /// The claim in a handshake about a history that is not the one known here: the peer knows a delta of this
    /// replica that is not in its store, or the peer's last delta is another one than this replica has under its
    /// number. O(log authors), and one read for the last delta of a peer whose root differs.
    pub fn claim(&self, theirs: &SyncHandshake) -> Result<Option<HistoryClaim>, StorageError> {
        if let Some(own) = self.own {
            let stored = self.log.covered().of(own);
            let claimed = theirs.covered.of(own);
            let counts = |dot: &Dot| self.unproven.is_none_or(|unproven| dot.seq > unproven.seq);
            if claimed > stored && counts(&Dot { author: own, seq: claimed }) {
                return Ok(Some(HistoryClaim::Own(Dot { author: own, seq: claimed })));
            }
            if let Some(known) = theirs.known.filter(|known| known.dot.author == own && counts(&known.dot))
                && let Some(stored) = self.reference(known.dot)?
                && stored != known
            {
                return Ok(Some(HistoryClaim::Own(known.dot)));
            }
        }
        let head = theirs.dag_heads.iter().find(|head| head.dot.author == theirs.replica);
        // The last delta of a replica is one of its heads until another author names it as a parent.
        if let Some(head) = head.filter(|_| self.own != Some(theirs.replica))
            && let Some(stored) = self.reference(head.dot)?
            && stored != *head
        {
            return Ok(Some(HistoryClaim::Peers(stored)));
        }
        Ok(None)
    }

    /// The reference of a covered delta, if the log stores the delta.
    pub fn reference(&self, dot: Dot) -> Result<Option<DeltaRef>, StorageError> {
        self.log.reference(self.state.view(), &self.metadata_batch, dot)
    }

    /// The last covered delta of `author`, if the log stores it.
    pub fn last_known(&self, author: ReplicaId) -> Result<Option<DeltaRef>, StorageError> {
        self.reference(Dot { author, seq: self.log.covered().of(author) })
    }

    fn note_refusal(&mut self, refusal: DeltaRefusal) {
        if refusal.is_unauthorized() {
            self.unauthorized.push(refusal);
        }
    }

    /// Checks that a peer with this handshake may be synced with, and that its claims are possible.
    pub fn vet(&self, theirs: &SyncHandshake) -> Result<(), Rejection> {
        if !self.gate.membership.admits(theirs.replica) {
            return Err(Rejection::NotAMember);
        }
        let plausible = theirs.is_plausible(self.context.moment.wall_ms);
        if plausible { Ok(()) } else { Err(Rejection::Implausible) }
    }

    /// The latest stamp that entered the state in this step. The local clock must exceed it from now on.
    pub fn latest_stamp(&self) -> Hlc {
        self.latest.max(self.state.latest_stamp())
    }

    /// The deltas that a state covering `theirs` lacks; see [`DeltaLog::since`].
    pub fn deltas_since(&mut self, theirs: &VersionVector) -> Result<MissingDeltas, StorageError> {
        let missing = self.log.since(self.state.view(), &self.metadata_batch, theirs, &self.limits)?;
        let is_cut = matches!(missing, MissingDeltas::Deltas { complete: false, .. });
        self.note_if(is_cut, Probe::DeltasCut);
        Ok(missing)
    }

    /// Records that the state covers everything that a peer's state covers.
    pub fn adopt(&mut self, theirs: &SyncHandshake) {
        self.adopt_covered(&theirs.covered, &theirs.dag_heads);
    }

    /// Records that the state covers `covered`, except for claims about this replica's own deltas: nobody else can
    /// know more of them than its store. Nothing proves the other claims, so they leave room for each member.
    fn adopt_covered(&mut self, covered: &VersionVector, heads: &[DeltaRef]) {
        let mut covered = self.with_room_for_members(covered);
        if let Some(own) = self.own.filter(|own| covered.of(*own) > self.log.covered().of(*own)) {
            covered.set(own, 0);
        }
        self.log.adopt(&covered, heads, &mut self.metadata_batch);
    }

    /// `claimed` without the authors that would take the last room in the version vector, which members need. O(1)
    /// while there is room enough, and O(difference) otherwise. Without a list of members all are equal.
    fn with_room_for_members(&self, claimed: &VersionVector) -> VersionVector {
        let mut allowed = claimed.clone();
        let covered = self.log.covered();
        let Some(members) = self.gate.membership.members() else { return allowed };
        let most = limits::MAX_REPLICAS - RESERVED_FOR_MEMBERS;
        if covered.len() + claimed.len() + members.len() <= most {
            return allowed;
        }
        let silent = members.keys().filter(|member| covered.of(**member) == 0).count();
        let mut room = most.saturating_sub(covered.len() + silent);
        for (author, before, _) in covered.difference(claimed) {
            if before > 0 || members.contains_key(&author) {
                continue;
            }
            match room.checked_sub(1) {
                Some(left) => room = left,
                None => allowed.set(author, 0),
            }
        }
        allowed
    }

    /// Records that the state contains nothing from before the peer's horizon that the peer has collected.
    pub(crate) fn adopt_stable(&mut self, theirs: &SyncHandshake) {
        self.adopt_covered(&theirs.stable, &[]);
    }

    /// Whether a later horizon than the own one is ahead of the clock.
    pub(crate) fn is_ahead(&self, horizon: Hlc) -> bool {
        horizon > self.state.horizon()
            && horizon.check_drift(self.context.moment, self.context.max_drift_ms).is_err()
    }

    /// Raises the horizon to the peer's and collects the first tombstones below it, if this state has seen
    /// everything that the peer had to see before it did so. An honest horizon lies behind the clocks of all members, so
    /// one ahead of the local clock is ignored.
    pub fn adopt_horizon(&mut self, theirs: &SyncHandshake) -> Result<RaisedHorizon, StorageError> {
        if self.state.root_hash()?.is_zero() {
            // An empty state has nothing to collect, and receives a snapshot first.
            return Ok(RaisedHorizon::default());
        }
        let is_old = theirs.horizon <= self.state.horizon();
        if is_old || self.is_ahead(theirs.horizon) || self.misses_collected(theirs) {
            return Ok(RaisedHorizon::default());
        }
        let unseen = self.unseen_before(theirs)?;
        self.log.note_stable(&theirs.stable);
        self.state.raise_horizon_only(theirs.horizon);
        let raised = match unseen {
            // Which of the tombstones the peer has yet to see is unknown, so all of them wait for the next raise.
            None => RaisedHorizon { removed: 0, rest: None },
            Some(unseen) => self.begin_collection(unseen)?,
        };
        debug_assert_eq!(self.state.horizon(), theirs.horizon, "the horizon is the peer's now");
        Ok(raised)
    }

    /// Raises the horizon to `horizon`, and collects the first tombstones below it. The caller guarantees that every
    /// member, and this state, has seen everything up to there.
    pub fn raise_horizon(&mut self, horizon: Hlc) -> Result<RaisedHorizon, StorageError> {
        let stable = self.log.covered().clone();
        self.state.raise_horizon_only(horizon);
        let raised = self.begin_collection(BTreeSet::new())?;
        self.log.note_stable(&stable);
        Ok(raised)
    }

    fn begin_collection(&mut self, kept: BTreeSet<EntityId>) -> Result<RaisedHorizon, StorageError> {
        let mut begun = CollectionInProgress::keeping(kept);
        let removed = begun.collect(&mut self.state, self.limits.collected_records())?;
        let rest = Some(begun).filter(|begun| !begun.is_done());
        if let Some(rest) = &rest {
            rest.write(&mut self.metadata_batch);
        }
        Ok(RaisedHorizon { removed, rest })
    }

    /// Goes on with a collection that has taken more than one step. Returns how many records were removed.
    pub fn go_on_collecting(&mut self, begun: &mut CollectionInProgress) -> Result<u64, StorageError> {
        let removed = begun.collect(&mut self.state, self.limits.collected_records())?;
        if begun.is_done() {
            begun.write_end(&mut self.metadata_batch);
        }
        Ok(removed)
    }

    /// The entities that were changed before the peer's horizon by deltas that the peer does not cover, as far as the
    /// log stores these deltas. The peer has collected without them, since it did not count their author as a member,
    /// and refuses them. Their effect reaches it with the state, in which they must not be collected before. O(1) if
    /// there are none; each author's stamps ascend, so that one later delta is read of each. `None` if there are more than
    /// [`UNSEEN_DELTAS`], [`UNSEEN_AUTHORS`] or [`MAX_KEPT`].
    fn unseen_before(&self, theirs: &SyncHandshake) -> Result<Option<BTreeSet<EntityId>>, StorageError> {
        let mut unseen = BTreeSet::new();
        let mut deltas = 0;
        for (authors, (author, own, seen)) in
            self.log.covered().difference(&theirs.covered).into_iter().enumerate()
        {
            if authors == UNSEEN_AUTHORS {
                return Ok(None);
            }
            for seq in seen.max(self.log.floor().of(author)) + 1..=own {
                let Some(delta) =
                    self.log.stored(self.state.view(), &self.metadata_batch, Dot { author, seq })?
                else {
                    break;
                };
                if delta.stamp > theirs.horizon {
                    break;
                }
                deltas += 1;
                unseen.extend(delta.actions.iter().map(|relative| relative.action.id()));
                if deltas > UNSEEN_DELTAS || unseen.len() > MAX_KEPT {
                    return Ok(None);
                }
            }
        }
        Ok(Some(unseen))
    }

    /// Whether this state lacks a delta that every member had to cover before the peer collected tombstones.
    fn misses_collected(&self, theirs: &SyncHandshake) -> bool {
        !self.log.covered().includes(&theirs.stable)
    }

    /// Whether the two states can only become equal if one of them starts over without state. That one
    /// lacks a delta that every member had seen before the other side collected tombstones, so its records
    /// might bring back entities that the other side has deleted.
    pub(crate) fn is_left_behind(&self, theirs: &SyncHandshake) -> bool {
        match theirs.horizon.cmp(&self.state.horizon()) {
            Ordering::Greater => self.misses_collected(theirs),
            Ordering::Less => !theirs.covered.includes(self.log.stable()),
            Ordering::Equal => false,
        }
    }

    /// Whether this state and not the peer's is the one that is left behind; see [`Transaction::is_left_behind`]. If
    /// so, the host learns it from [`Transaction::outpaced_by`], unless the horizon cannot be true.
    pub(crate) fn note_if_left_behind(&mut self, theirs: &SyncHandshake) -> bool {
        let is_left_behind = self.is_left_behind(theirs);
        let moment = self.context.moment;
        let in_time = theirs.horizon.check_drift(moment, self.context.max_drift_ms).is_ok();
        // A member covers what it has collected.
        let is_true = in_time && theirs.covered.includes(&theirs.stable);
        let is_own_side = theirs.horizon > self.state.horizon();
        if is_left_behind && is_own_side && is_true && self.gate.membership.names(theirs.replica) {
            self.outpaced_by = self.outpaced_by.max(Some(theirs.horizon));
        }
        is_left_behind
    }

    /// The horizon of a member in comparison with which this step has found this state to be left behind: the member
    /// has collected tombstones of deletes that this state has yet to see, and the deltas are not to be had.
    pub const fn outpaced_by(&self) -> Option<Hlc> {
        self.outpaced_by
    }

    /// Whether this replica has written before the horizon of the `source` of a snapshot, which had not seen it. The
    /// state that joins both would show what others may have deleted. O(1).
    pub(crate) fn note_writes_before(&mut self, source: &SyncHandshake) -> Result<(), StorageError> {
        // A host without an own id has written nothing.
        let Some(author) = self.own else { return Ok(()) };
        let first = source.covered.of(author).max(self.log.floor().of(author)) + 1;
        let first = self.log.stored(self.state.view(), &self.metadata_batch, Dot { author, seq: first })?;
        if first.is_some_and(|delta| delta.stamp <= source.horizon) {
            self.set_conflict(HistoryConflict::LeftBehind {
                replica: author,
                own: self.state.horizon(),
                theirs: source.horizon,
            });
        }
        Ok(())
    }

    /// Stops this replica at the end of the step: its history cannot go on.
    pub const fn set_conflict(&mut self, conflict: HistoryConflict) {
        if self.conflict.is_none() {
            self.conflict = Some(conflict);
        }
    }

    /// Removes some of the rows that abandoned or published snapshots and pruned deltas have left, if there are any.
    /// The host calls it from time to time; no other step does it.
    pub fn clean_up(&mut self) -> Result<(), StorageError> {
        let view = self.state.view();
        if !staged::is_under_way(view, &self.metadata_batch)? {
            let rows = self.limits.sweep_rows();
            staged::sweep(view, self.state.slot().other(), rows, &mut self.metadata_batch)?;
        }
        self.log.sweep(self.limits.sweep_rows() as u64, &mut self.metadata_batch);
        Ok(())
    }

    /// What this replica reports about itself in a handshake.
    pub fn describe<'a>(
        &'a mut self,
        context: ContextId,
        replica: ReplicaId,
        supported: &'a [SyncProtocolKind],
    ) -> Result<Description<'a>, StorageError> {
        let stats = self.state.stats()?;
        let has_state = (!stats.root.is_zero() || stats.horizon != Hlc::ZERO)
            && !staged::is_under_way(self.state.view(), &self.metadata_batch)?;
        Ok(Description { context, replica, stats, has_state, log: &self.log, supported })
    }
}

/// The view of a replica that negotiation reads.
#[derive(Clone, Debug)]
pub struct Description<'a> {
    context: ContextId,
    replica: ReplicaId,
    stats: Stats,
    has_state: bool,
    log: &'a DeltaLog,
    supported: &'a [SyncProtocolKind],
}

impl LocalSyncState for Description<'_> {
    fn context(&self) -> ContextId {
        self.context
    }
    fn replica(&self) -> ReplicaId {
        self.replica
    }
    fn root_hash(&self) -> Digest {
        self.stats.root
    }
    fn entity_count(&self) -> u64 {
        self.stats.records
    }
    fn max_depth(&self) -> u32 {
        self.stats.max_depth()
    }
    fn dag_heads(&self) -> Vec<DeltaRef> {
        self.log.heads()
    }
    fn covered(&self) -> VersionVector {
        self.log.covered().clone()
    }
    fn log_floor(&self) -> VersionVector {
        self.log.floor().clone()
    }
    fn horizon(&self) -> Hlc {
        self.stats.horizon
    }
    fn stable(&self) -> VersionVector {
        self.log.stable().clone()
    }
    fn has_state(&self) -> bool {
        self.has_state
    }
    fn supported_protocols(&self) -> Vec<SyncProtocolKind> {
        self.supported.to_vec()
    }
}
