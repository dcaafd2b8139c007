//! The work of one step: the state with its changes, and the rows above it.

use crate::authority::Gate;
use crate::delta::{Delta, DeltaRef, VersionVector};
use crate::handshake::{LocalSyncState, SyncHandshake, SyncProtocolKind};
use crate::log::{DeltaLog, DeltaRefusal, Missing};
use crate::rejection::Rejection;
use crate::sketch::{Cell, Sketch, SketchKey, cells_of};
use crate::staged;
use std::cmp::Ordering;
use syncline_storage::{ApplyContext, Interface, Merges, Stats, StorageError};
use syncline_store::{ReadView, WriteBatch};
use syncline_types::{ContextId, Digest, Hlc, ReplicaId};

/// Everything one step reads and writes. It ends as one batch, so that a crash keeps all of the
/// step or none of it.
#[derive(Clone, Debug)]
pub struct Transaction<V> {
    /// The records and their index.
    pub state: Interface<V>,
    /// Rows of the layers above: deltas, clock, staged snapshots.
    pub above: WriteBatch,
    /// Which deltas the state covers.
    pub log: DeltaLog,
    /// What changes are judged by.
    pub context: ApplyContext,
    /// What deltas must pass.
    pub gate: Gate,
    /// Why deltas that did not pass the gate in this step did not.
    pub unauthorized: Vec<DeltaRefusal>,
    /// The latest stamp of a delta applied in this step.
    latest: Hlc,
    /// The sketch of the state, once somebody needed it. It is kept from step to step by whoever runs
    /// them, and made anew where it was not.
    pub sketch: Option<Sketch>,
    sketch_key: SketchKey,
}

impl<V: ReadView> Transaction<V> {
    /// Begins on `view`, which the log must agree with, with every gate open.
    pub fn begin(view: V, log: DeltaLog, context: ApplyContext) -> Result<Self, StorageError> {
        Self::begin_with(view, log, context, Merges::default())
    }

    /// As [`Transaction::begin`], with the merge functions of the application's own types.
    pub fn begin_with(
        view: V,
        log: DeltaLog,
        context: ApplyContext,
        merges: Merges,
    ) -> Result<Self, StorageError> {
        Ok(Self {
            sketch: None,
            sketch_key: SketchKey::default(),
            state: Interface::open_with(view, merges)?,
            above: WriteBatch::default(),
            log,
            context,
            gate: Gate::default(),
            unauthorized: Vec::new(),
            latest: Hlc::ZERO,
        })
    }

    /// The work goes on with this sketch of the state, which was kept from the step before.
    pub fn with_sketch(mut self, sketch: Option<Sketch>) -> Result<Self, StorageError> {
        self.sketch = sketch;
        if self.sketch.is_some() {
            // From here on changes are told.
            self.state.take_changes()?;
        }
        Ok(self)
    }

    /// The sketch of the state as it is now. O(changes), or O(n) the first time.
    pub fn sketch(&mut self) -> Result<&Sketch, StorageError> {
        let changes = self.state.take_changes()?;
        let sketch = match self.sketch.take() {
            Some(mut sketch) => {
                changes.iter().for_each(|change| sketch.take(change));
                Some(sketch).filter(|sketch| !sketch.is_outgrown())
            }
            None => None,
        };
        let sketch = match sketch {
            Some(sketch) => sketch,
            None => Sketch::of(self.sketch_key, &mut self.state)?,
        };
        Ok(self.sketch.insert(sketch))
    }

    /// `count` cells of the state's sketch from `from` on. O(1) each where they are kept, else O(n).
    pub(crate) fn cells(&mut self, from: usize, count: usize) -> Result<Vec<Cell>, StorageError> {
        match self.sketch()?.cells(from, count) {
            Some(cells) => Ok(cells.to_vec()),
            None => cells_of(self.sketch_key, (from, count), &mut self.state),
        }
    }

    /// What keys the sketches of this context.
    pub const fn sketch_key(&self) -> SketchKey {
        self.sketch_key
    }

    /// The step's writes as one batch, and the log and the sketch as they are with them.
    pub fn finish(mut self) -> Result<(WriteBatch, DeltaLog, Option<Sketch>), StorageError> {
        if self.sketch.is_some() {
            self.sketch()?;
        }
        let Self { state, mut above, mut log, sketch, .. } = self;
        let mut batch = state.finish()?;
        log.write_changes(&mut above);
        batch.extend(above);
        Ok((batch, log, sketch))
    }

    /// The same work behind this gate.
    pub fn behind(self, gate: Gate) -> Self {
        let sketch_key = SketchKey::of(gate.context);
        Self { gate, sketch_key, ..self }
    }

    /// Applies a delta; see [`DeltaLog::apply`].
    pub fn apply_delta(&mut self, delta: &Delta) -> Result<Result<(), DeltaRefusal>, StorageError> {
        let applied = self.log.apply(delta, &mut self.state, &mut self.above, &self.context, &self.gate)?;
        match applied {
            Ok(()) => self.latest = self.latest.max(delta.stamp),
            Err(refusal) => self.note(refusal),
        }
        Ok(applied)
    }

    /// Whether a delta that has to wait may: what does not pass the gate takes no place from what does.
    pub fn let_in(&mut self, delta: &Delta) -> Result<(), DeltaRefusal> {
        self.gate.lets_in(delta).inspect_err(|refusal| self.note(*refusal))
    }

    fn note(&mut self, refusal: DeltaRefusal) {
        if refusal.is_unauthorized() {
            self.unauthorized.push(refusal);
        }
    }

    /// Whether a peer that says this of itself may be synced with and believed.
    pub fn vet(&self, theirs: &SyncHandshake) -> Result<(), Rejection> {
        if !self.gate.membership.admits(theirs.replica) {
            return Err(Rejection::NotAMember);
        }
        let plausible = theirs.is_plausible(self.context.moment.wall_ms);
        if plausible { Ok(()) } else { Err(Rejection::Implausible) }
    }

    /// The latest stamp that this step took in: what the local clock must exceed from now on.
    pub fn latest_stamp(&self) -> Hlc {
        self.latest.max(self.state.latest_stamp())
    }

    /// The deltas that a state covering `theirs` lacks; see [`DeltaLog::since`].
    pub fn deltas_since(&self, theirs: &VersionVector, byte_limit: usize) -> Result<Missing, StorageError> {
        self.log.since(self.state.view(), &self.above, theirs, byte_limit)
    }

    /// Takes note that the state covers all that a peer's does.
    pub fn adopt(&mut self, theirs: &SyncHandshake) {
        self.log.adopt(&theirs.covered, &theirs.dag_heads, &mut self.above);
    }

    /// Takes note that the state holds nothing from before what a peer has forgotten.
    pub(crate) fn adopt_stable(&mut self, theirs: &SyncHandshake) {
        self.log.adopt(&theirs.stable, &[], &mut self.above);
    }

    /// Forgets what a peer has forgotten, if this state has seen all that the peer had to see for it.
    /// Gives how many records that were. No clock of a member was behind an honest horizon, so one
    /// that is ahead of ours is not believed.
    pub fn adopt_horizon(&mut self, theirs: &SyncHandshake) -> Result<u64, StorageError> {
        if self.state.root_hash()?.is_zero() {
            // There is nothing to forget, and a fresh state takes a snapshot first.
            return Ok(0);
        }
        let in_time = theirs.horizon.check_drift(self.context.moment, self.context.max_drift_ms).is_ok();
        if theirs.horizon <= self.state.horizon() || !in_time || self.misses_what_is_forgotten(theirs) {
            return Ok(0);
        }
        self.log.note_stable(&theirs.stable);
        self.state.raise_horizon(theirs.horizon)
    }

    /// Whether this state lacks something that the peer had to see before it forgot what it did.
    fn misses_what_is_forgotten(&self, theirs: &SyncHandshake) -> bool {
        !self.log.covered().includes(&theirs.stable)
    }

    /// Whether the two states can only become equal by one of them starting afresh: it lacks something
    /// that every member had seen before the other forgot what was dead by then. Then records of the
    /// one might bring back what the other deleted.
    pub(crate) fn is_left_behind(&self, theirs: &SyncHandshake) -> bool {
        match theirs.horizon.cmp(&self.state.horizon()) {
            Ordering::Greater => self.misses_what_is_forgotten(theirs),
            Ordering::Less => !theirs.covered.includes(self.log.stable()),
            Ordering::Equal => false,
        }
    }

    /// Removes some of what snapshots have left behind, if there is anything. To be called from time to
    /// time: no other step does it.
    pub fn clean_up(&mut self) -> Result<(), StorageError> {
        let view = self.state.view();
        if !staged::is_under_way(view, &self.above)? {
            staged::sweep(view, self.state.slot().other(), &mut self.above)?;
        }
        Ok(())
    }

    /// What this replica says of itself now.
    pub fn describe<'a>(
        &'a mut self,
        context: ContextId,
        replica: ReplicaId,
        supported: &'a [SyncProtocolKind],
    ) -> Result<Description<'a>, StorageError> {
        let stats = self.state.stats()?;
        let has_state = (!stats.root.is_zero() || stats.horizon != Hlc::ZERO)
            && !staged::is_under_way(self.state.view(), &self.above)?;
        Ok(Description { context, replica, stats, has_state, log: &self.log, supported })
    }
}

/// A replica as negotiation sees it.
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
