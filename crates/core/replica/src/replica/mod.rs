//! The state machine itself: its sub-machines, and the step that calls them in turn.

mod clocks;
mod deltas;
mod frames;
mod heartbeats;
mod history;
mod membership;
mod recovering;
mod rejoining;
mod requests;
mod sizes;
mod state_hash;
mod step;
mod syncing;

use crate::anti_entropy::AntiEntropy;
use crate::clock_guard::ClockGuard;
use crate::config::ReplicaConfig;
use crate::delta_fetch::DeltaFetch;
use crate::effects::{ReplicaError, StepCost, SyncActions};
use crate::event::{Event, Timer};
use crate::horizon::HorizonTracker;
use crate::peers::PeerTable;
use crate::persisted;
use crate::recovery::{OpenClaims, RecoveryProgress};
use crate::sessions::SessionTable;
use crate::sync_queue::{PendingReason, SyncQueue};
pub use sizes::ReplicaSizes;
use step::StepContext;
use syncline_storage::{ApplyContext, StorageError};
use syncline_store::ReadView;
use syncline_sync::{
    BufferLedger, CollectionInProgress, DeltaLog, Dot, Gate, Membership, Sketch, Transaction, ViewCache,
    staged,
};
use syncline_types::{Digest, Entropy, HlcClock, Moment, PeerId, ReplicaId, canary};

/// One copy of a context, and the state machine that keeps it equal to the copies of its peers. The
/// documentation of the crate lists the parts that survive a crash.
#[derive(Clone, Debug)]
pub struct Replica<V> {
    config: ReplicaConfig,
    incarnation: u64,
    /// Whether the next stale answer that belongs to no session may change the incarnation.
    heeds_stale_answer: bool,
    clock: HlcClock,
    clock_guard: ClockGuard,
    log: DeltaLog,
    /// The root of the stored state.
    root: Digest,
    /// The sketch of the stored state, once a session has used it.
    sketch: Option<Sketch>,
    /// Whether a snapshot transfer is in progress, in a session or between two sessions.
    takes_snapshot: bool,
    /// The number of the last own write that the state of some peer is known to have had.
    shared: u64,
    /// The number of lookups in the delta log and the delta buffer over all steps.
    lookups: u64,
    /// The error that stopped the replica; no further step is taken.
    stopped: Option<ReplicaError>,
    /// The views from which peers receive snapshots.
    views: ViewCache<V>,
    peers: PeerTable,
    sync_queue: SyncQueue,
    sessions: SessionTable,
    delta_fetch: DeltaFetch,
    anti_entropy: AntiEntropy,
    horizon: HorizonTracker,
    claims: OpenClaims,
    recovery: RecoveryProgress,
    /// The collection of tombstones that is under way, if it takes more than one step.
    collection: Option<CollectionInProgress>,
}

/// The pending work of a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pending {
    /// Sessions in progress (**C2**).
    pub sessions: usize,
    /// Deltas in the buffer (**C3**).
    pub buffered: usize,
    /// Peers with which a sync is pending (**C3**).
    pub pending_syncs: usize,
    /// 1 while writes of a former id may have to be written again, otherwise 0 (**C3**).
    pub recoveries: usize,
    /// 1 while tombstones are collected in several steps, otherwise 0 (**C3**).
    pub collections: usize,
}

impl Pending {
    /// Whether no work is pending.
    pub const fn is_none(&self) -> bool {
        self.sessions == 0
            && self.buffered == 0
            && self.pending_syncs == 0
            && self.recoveries == 0
            && self.collections == 0
    }
}

/// The sender of the frame that an event is about; for other events, no peer.
const fn sender_of(event: &Event) -> Option<PeerId> {
    match event {
        Event::Frame { from, .. } => Some(*from),
        _ => None,
    }
}

impl<V: ReadView> Replica<V> {
    /// Starts a replica from the content of the store, for the first time or after a crash. The host must
    /// execute the returned actions before the first step.
    ///
    /// # Errors
    /// [`ReplicaError::History`] if the replica of this store has stopped because its id has another life.
    pub fn recover(config: ReplicaConfig, view: &V) -> Result<(Self, SyncActions), ReplicaError> {
        if let Some(conflict) = persisted::conflict(view)? {
            return Err(conflict.into());
        }
        let state = persisted::load(&config, view)?;
        let mut out = SyncActions::default();
        persisted::write(state.incarnation, &state.clock, state.wall_ms, &mut out.storage);
        let replica = Self {
            incarnation: state.incarnation,
            heeds_stale_answer: true,
            recovery: RecoveryProgress::load(view, state.clock.last())?,
            clock: state.clock,
            clock_guard: ClockGuard::new(config.max_drift_ms, config.max_absence_ms, state.wall_ms),
            log: state.log,
            root: state.root,
            sketch: None,
            takes_snapshot: state.takes_snapshot,
            shared: state.shared,
            lookups: 0,
            stopped: None,
            views: ViewCache::with(config.view_bounds()),
            peers: PeerTable::new(&config),
            sync_queue: SyncQueue::default(),
            sessions: SessionTable::default(),
            delta_fetch: DeltaFetch::new(config.buffer_limits(), config.limits.deltas_per_frame()),
            anti_entropy: AntiEntropy::new(config.heartbeat_min, config.heartbeat_max),
            horizon: HorizonTracker::default(),
            claims: OpenClaims::default(),
            collection: CollectionInProgress::load(view)?,
            config,
        };
        Ok((replica, out))
    }

    /// Handles an event and returns its effects. `view` must show the store with the batch of every earlier
    /// step applied. After an error the replica must be stopped: each further step returns the same error.
    pub fn step(
        &mut self,
        view: V,
        event: Event,
        moment: Moment,
        entropy: &mut dyn Entropy,
    ) -> Result<SyncActions, ReplicaError> {
        if let Some(error) = &self.stopped {
            return Err(error.clone());
        }
        let stepped = self.try_step(view, event, moment, entropy);
        if let Err(error) = &stepped {
            // The state in memory may not match the store any more.
            self.stopped = Some(error.clone());
        }
        stepped
    }

    fn try_step(
        &mut self,
        view: V,
        event: Event,
        moment: Moment,
        entropy: &mut dyn Entropy,
    ) -> Result<SyncActions, ReplicaError> {
        let wall_ms = moment.wall_ms;
        let moment = self.plausible_moment(moment, &event);
        let context = ApplyContext { moment, max_drift_ms: self.config.max_drift_ms };
        let log = std::mem::take(&mut self.log);
        let merges = self.config.merges.clone();
        let work = Transaction::begin_with(view, log, context, merges)?
            .with_gate(self.gate())
            .with_own(self.config.replica, sender_of(&event).and_then(|from| self.claims.unproven(from)))
            .with_limits(self.config.limits)
            .with_sketch(self.sketch.take())?;
        let mut step = StepContext { work, moment, wall_ms, entropy, out: SyncActions::default() };
        self.on_correction(&mut step);
        let from = sender_of(&event);
        match event {
            Event::Start => self.on_start(&mut step),
            Event::Peers(peers) => self.on_peers(peers, &mut step),
            Event::Write(operations) => self.on_write(operations, &mut step)?,
            Event::Frame { .. } if self.is_restoring() => {}
            Event::Frame { from, bytes } => self.on_frame(from, &bytes, &mut step)?,
            Event::Timer(Timer::Heartbeat) => {
                self.on_heartbeat_due(&mut step);
                self.judge_own_history(&mut step);
                self.views.expire(moment.now);
                step.work.clean_up()?;
            }
            Event::Timer(Timer::Session(peer)) => self.on_session_timeout(peer, &mut step)?,
            Event::Timer(Timer::PendingSync) => self.start_due_sessions(&mut step)?,
            Event::Timer(Timer::Fetch) => self.on_fetch_timeout(&mut step)?,
            // The clock guard has taken note of it.
            Event::TrustClock => {}
            Event::Timer(Timer::Recovery) => self.on_recovery_due(&mut step)?,
            Event::Timer(Timer::Collection) => self.on_collection_due(&mut step)?,
        }
        self.suspend_sessions(&mut step)?;
        self.note_outpacing(from, &mut step);
        if let Some(conflict) = step.work.conflict() {
            return self.stop_for(conflict, &step);
        }
        self.finish(step)
    }

    /// Ends a step: updates the root and the clock, and builds the batch.
    fn finish(&mut self, mut step: StepContext<'_, V>) -> Result<SyncActions, ReplicaError> {
        let last_before = self.clock.last();
        self.clock.observe(step.work.latest_stamp());
        let horizon = step.work.state.horizon();
        if horizon.check_drift(step.moment, self.config.max_drift_ms).is_ok() {
            // A replica that joins late has adopted the horizon of the others, and its own clock may be
            // behind that horizon. No other replica would accept a write with a stamp before the horizon.
            self.clock.observe(horizon);
        }
        debug_assert!(self.clock.last() >= last_before, "the clock never goes back");
        self.note_own_history(&mut step);
        let root = step.work.state.root_hash()?;
        if root != self.root {
            self.root = root;
            if canary!(RootForced) {
                self.root = self.peers.roots().next().unwrap_or(root);
            }
            self.on_change(&mut step);
        }
        if !step.work.metadata_batch.is_empty() {
            self.takes_snapshot = staged::is_under_way(step.work.state.view(), &step.work.metadata_batch)?;
        }
        if step.work.state.is_changed() || step.work.log.is_changed() || !step.work.metadata_batch.is_empty()
        {
            let wall_ms = self.clock_guard.to_store(step.moment);
            persisted::write(self.incarnation, &self.clock, wall_ms, &mut step.work.metadata_batch);
        }
        debug_assert!(
            self.sync_queue.is_timer_current(),
            "a step that changes the sync queue updates its timer"
        );
        let mut out = step.out;
        if self.is_restoring() {
            out.messages.clear();
        }
        out.probes = step.work.probes();
        let work = step.work.state.work();
        let lookups_before = self.lookups;
        let (batch, log, sketch) = step.work.finish()?;
        if !self.views.is_empty() {
            self.views.on_commit(batch.approximate_bytes());
        }
        out.storage = batch;
        self.log = log;
        self.sketch = sketch;
        self.lookups = self.log.lookups() + self.delta_fetch.lookups();
        debug_assert!(self.lookups >= lookups_before, "the count of lookups only grows");
        out.cost = StepCost {
            storage_reads: work.storage_reads,
            storage_writes: out.storage.len() as u64,
            hash_computations: work.hash_computations,
            dag_lookups: self.lookups - lookups_before,
        };
        Ok(out)
    }

    /// Sets the replicas that may write and be synced with from now on, this replica included. Deltas that
    /// were accepted before stay. Tombstones are collected only if the membership is restricted: a tombstone
    /// that a member has not seen is retained for as long as the member is away.
    pub fn set_membership(&mut self, membership: Membership) {
        self.config.membership = membership;
        self.horizon.keep_members(&self.config.membership);
        let gate = self.gate();
        if let Err(error) = self.delta_fetch.dismiss(&gate) {
            self.stopped = Some(StorageError::from(error).into());
        }
    }

    /// The checks that deltas must pass now.
    fn gate(&self) -> Gate {
        let authority = self.config.authority.clone();
        let membership = self.config.membership.clone();
        Gate { context: self.config.context, authority, membership }
    }

    /// The error with which the replica has stopped: each further step returns it.
    pub const fn stopped(&self) -> Option<&ReplicaError> {
        self.stopped.as_ref()
    }

    /// The settings of the replica.
    pub const fn config(&self) -> &ReplicaConfig {
        &self.config
    }

    /// The Merkle root of the replica's state.
    pub const fn digest(&self) -> Digest {
        self.root
    }

    /// The last time of the clock, in packed HLC units: the stamps of all later writes are greater.
    pub const fn clock(&self) -> u64 {
        self.clock.last()
    }

    /// The sketch of the stored state, once a session has used it.
    pub const fn sketch(&self) -> Option<&Sketch> {
        self.sketch.as_ref()
    }

    /// The incarnation: the number of this start among the starts on this store, from 1.
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The pending work of the replica.
    pub fn pending(&self) -> Pending {
        Pending {
            sessions: self.sessions.len(),
            buffered: self.delta_fetch.len(),
            pending_syncs: self.sync_queue.len(),
            recoveries: usize::from(self.is_recovering()),
            collections: usize::from(self.is_collecting()),
        }
    }

    /// Like [`Replica::pending`], without the work that concerns some peers: sessions and pending syncs with
    /// the peers that `left_out` selects, and buffered deltas of the authors that `by_them` selects, which
    /// may wait for deltas that never existed. O(what is pending).
    pub fn pending_but_for(
        &self,
        left_out: impl Fn(PeerId) -> bool,
        by_them: impl Fn(ReplicaId) -> bool,
    ) -> Pending {
        let counted = |peer: &PeerId| !left_out(*peer);
        Pending {
            sessions: self.sessions.peers().filter(counted).count(),
            buffered: self.delta_fetch.dots().filter(|dot| !by_them(dot.author)).count(),
            pending_syncs: self.sync_queue.entries().keys().filter(|peer| counted(peer)).count(),
            recoveries: usize::from(self.is_recovering()),
            collections: usize::from(self.is_collecting()),
        }
    }

    /// The peers with which a sync is pending, and the reasons, in the order of the peers.
    pub fn pending_syncs(&self) -> impl Iterator<Item = (PeerId, PendingReason)> {
        self.sync_queue.reasons()
    }

    /// The peers with which a session is in progress, in ascending order.
    pub fn syncing_with(&self) -> impl Iterator<Item = PeerId> {
        self.sessions.peers()
    }

    /// Whether a session is past its handshake and may change the state. Deltas that arrive meanwhile are buffered.
    pub fn is_transferring(&self) -> bool {
        self.sessions.is_any_transferring()
    }

    /// The peers that can be reached, as the host has last said.
    pub fn reachable(&self) -> &[PeerId] {
        self.peers.reachable()
    }

    /// The root that a peer last announced, if it has announced one since this replica has started.
    pub fn announced_root(&self, peer: PeerId) -> Option<Digest> {
        self.peers.root_of(peer)
    }

    /// The summary of the deltas that the state covers.
    pub const fn log(&self) -> &DeltaLog {
        &self.log
    }

    /// Whether a snapshot transfer is in progress, in a session or between two sessions.
    pub const fn is_receiving_snapshot(&self) -> bool {
        self.takes_snapshot
    }

    /// Counts of the ways in which deltas entered and left the buffer.
    pub const fn buffer_ledger(&self) -> BufferLedger {
        self.delta_fetch.ledger()
    }

    /// The deltas that wait in the buffer, ascending.
    pub fn waiting_deltas(&self) -> impl Iterator<Item = Dot> {
        self.delta_fetch.dots()
    }

    /// Whether every buffered delta is accounted for.
    pub fn is_buffer_balanced(&self) -> bool {
        self.delta_fetch.is_balanced()
    }
}
