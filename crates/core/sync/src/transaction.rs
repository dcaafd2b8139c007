//! The work of one step: the state with its changes, and the rows above it.

use crate::delta::{Delta, DeltaRef, VersionVector};
use crate::handshake::{LocalSyncState, SyncHandshake, SyncProtocolKind};
use crate::log::{DeltaLog, DeltaRefusal, Missing};
use crate::staged;
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
    /// The latest stamp of a delta applied in this step.
    latest: Hlc,
}

impl<V: ReadView> Transaction<V> {
    /// Begins on `view`, which the log must agree with.
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
            state: Interface::open_with(view, merges)?,
            above: WriteBatch::default(),
            log,
            context,
            latest: Hlc::ZERO,
        })
    }

    /// The step's writes as one batch, and the log as it is with them.
    pub fn finish(self) -> Result<(WriteBatch, DeltaLog), StorageError> {
        let Self { state, mut above, mut log, .. } = self;
        let mut batch = state.finish()?;
        log.write_changes(&mut above);
        batch.extend(above);
        Ok((batch, log))
    }

    /// Applies a delta; see [`DeltaLog::apply`].
    pub fn apply_delta(&mut self, delta: &Delta) -> Result<Result<(), DeltaRefusal>, StorageError> {
        let applied = self.log.apply(delta, &mut self.state, &mut self.above, &self.context)?;
        if applied.is_ok() {
            self.latest = self.latest.max(delta.stamp);
        }
        Ok(applied)
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

    /// Forgets what a peer has forgotten, if this state has seen all that the peer had to see for it.
    /// Gives how many records that were.
    pub fn adopt_horizon(&mut self, theirs: &SyncHandshake) -> Result<u64, StorageError> {
        if theirs.horizon <= self.state.horizon() || !self.log.covered().includes(&theirs.stable) {
            return Ok(0);
        }
        self.log.note_stable(&theirs.stable);
        self.state.raise_horizon(theirs.horizon)
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
        let has_state = !stats.root.is_zero() && !staged::is_under_way(self.state.view(), &self.above)?;
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
