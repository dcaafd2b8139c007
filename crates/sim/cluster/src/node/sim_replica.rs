//! One context on one node: the real replica on a simulated disk.

mod collection;
mod costs;
mod identity;
mod readings;
mod remembered;
mod sessions;
mod waiting;

#[cfg(test)]
pub(crate) use sessions::SessionNote;

use self::waiting::WaitingDeltas;
use crate::disk_view::CheckedDiskView;
use crate::hostile::{self, Adversary, AdversaryIdentity, AttackPlan, HostileRoles};
use crate::node::disk::{DiskFaults, SimDisk};
use crate::node::drop_cause::drop_cause;
use crate::node::replica_ids::{replica_id, replica_id_after};
use crate::node::spending::{BegunStep, Spending};
use crate::node::timer_id::TimerId;
use crate::workload::Write;
use sessions::SessionNotes;
use std::collections::BTreeSet;
use std::sync::Arc;
use sync_sim_engine::actor::{Commit, Context, Effects, Input, Outgoing, TimerChange, Unfinished};
use sync_sim_engine::node_id::NodeId;
use syncline_replica::{
    Event, FrameKind, Notice, Operation, OperationError, OutgoingMessage, Replica, ReplicaConfig,
    ReplicaError, StepCost, SyncActions, Timer, TimerKind, TimerOp,
};
use syncline_storage::{Action, Interface, Stats, StorageError};
use syncline_store::{MemoryStore, StoreError};
use syncline_sync::{DeltaRef, Gate, LocalSyncState, Membership, SyncProtocolKind, VersionVector};
use syncline_types::{ContextId, Digest, Entropy, Moment, PeerId, Probes, ReplicaId, SimTime};

/// The real replica of one context of a [`SimNode`](super::SimNode), on a simulated disk. The batch of a step is on the
/// disk before the frames of the step are sent. A crash loses the replica and leaves the disk.
#[derive(Clone, Debug)]
pub struct SimReplica {
    peer: PeerId,
    /// The number of its context on the node.
    number: u8,
    config: ReplicaConfig,
    disk: SimDisk,
    /// The replica while the node is up.
    replica: Option<Replica<CheckedDiskView>>,
    /// The root on disk while the node is down.
    resting_root: Digest,
    /// The root in memory when the node last went down.
    root_before_crash: Digest,
    /// The error with which the replica stopped by itself.
    stopped: Option<String>,
    /// Number of starts, on whichever disk.
    starts: u64,
    /// The cost of all steps so far.
    cost: StepCost,
    /// The rare branches that its steps took so far.
    probes: Probes,
    spending: Spending,
    /// The rows from before the last step, if that step raised the horizon.
    before_collection: Option<MemoryStore>,
    session_notes: SessionNotes,
    /// Whether the replica knows the membership, which lets it refuse strangers and collect tombstones.
    collects_tombstones: bool,
    /// The members that the engine last announced.
    members: Arc<[NodeId]>,
    /// The replica ids of nodes after fresh starts. The former ids stay members because of their writes.
    renamed: BTreeSet<ReplicaId>,
    /// Members of the run of which this replica has not learned yet.
    unnamed: BTreeSet<NodeId>,
    /// Number of fresh starts and returns of this node: each has a replica id of its own.
    fresh_starts: u16,
    /// How often it was brought back under a new id, with all that it had written.
    returns: u16,
    /// Whether it makes a fresh start on a disk that has lost commits.
    detects_losses: bool,
    /// Whether a read has found a corrupt row.
    is_damaged: bool,
    /// Whether every edit of the last write lay within the texts and lists that the replica showed.
    was_fitted: bool,
    /// The deltas that wait in its buffer.
    waiting: WaitingDeltas,
    /// Whether it signs with its own key instead of the group key.
    has_own_key: bool,
    /// The hostile nodes of the run, if there are any.
    roles: Option<Arc<HostileRoles>>,
    /// Alters its frames, if the node is hostile.
    adversary: Option<Box<Adversary>>,
}

/// A notice of a replica with the context that it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContextNotice {
    /// The number of the context on its node, from 0.
    pub context: u8,
    /// The notice of the replica.
    pub notice: Notice,
}

impl SimReplica {
    /// The replica of one context of `node`, with the contents of its disk.
    pub fn new(node: NodeId, number: u8, config: ReplicaConfig, disk: MemoryStore) -> Self {
        let mut replica = Self {
            peer: node.into(),
            number,
            config,
            disk: SimDisk::with_rows(disk),
            replica: None,
            resting_root: Digest::ZERO,
            root_before_crash: Digest::ZERO,
            stopped: None,
            starts: 0,
            cost: StepCost::default(),
            probes: Probes::default(),
            spending: Spending::default(),
            before_collection: None,
            session_notes: SessionNotes::default(),
            collects_tombstones: true,
            members: Arc::from([]),
            renamed: BTreeSet::new(),
            unnamed: BTreeSet::new(),
            fresh_starts: 0,
            returns: 0,
            detects_losses: true,
            is_damaged: false,
            was_fitted: false,
            waiting: WaitingDeltas::default(),
            has_own_key: false,
            roles: None,
            adversary: None,
        };
        replica.recover();
        replica.spending = Spending::of_initial(replica.stats().records);
        replica
    }

    /// As [`SimNode::with_tombstone_collection`](super::SimNode::with_tombstone_collection).
    pub(super) const fn set_tombstone_collection(&mut self, collects: bool) {
        self.collects_tombstones = collects;
    }

    /// As [`SimNode::with_loss_detection`](super::SimNode::with_loss_detection).
    pub(super) const fn set_loss_detection(&mut self, notices: bool) {
        self.detects_losses = notices;
    }

    /// As [`SimNode::with_own_key`](super::SimNode::with_own_key).
    pub(super) fn use_own_key(&mut self) {
        self.has_own_key = true;
        self.config.authority = hostile::authority(self.config.replica);
        self.recover();
    }

    /// Sets which nodes of the run are hostile. The real replica does not learn it.
    pub(super) fn set_roles(&mut self, roles: &Arc<HostileRoles>) {
        self.roles = Some(roles.clone());
    }

    /// Makes the replica lie from now on.
    pub(super) fn turn_hostile(&mut self, plan: AttackPlan) {
        self.adversary = Some(Box::new(Adversary::new(plan)));
    }

    /// The adversary that alters its frames, if the node is hostile.
    pub(super) fn adversary(&self) -> Option<&Adversary> {
        self.adversary.as_deref()
    }

    /// Adds the replica id under which another node has made a fresh start to the membership.
    pub(super) fn add_member(&mut self, replica: ReplicaId) {
        self.renamed.insert(replica);
        self.update_membership();
    }

    /// Hands the present membership to the replica.
    fn update_membership(&mut self) {
        if let Some(replica) = &mut self.replica
            && self.collects_tombstones
        {
            let is_member = |node: &NodeId| match &self.roles {
                // Only the outsider itself counts an outsider as a member.
                Some(roles) => PeerId::from(*node) == self.peer || !roles.is_outsider(*node),
                None => true,
            };
            let named = self.members.iter().filter(|node| !self.unnamed.contains(node));
            let ids = named.filter(|node| is_member(node)).map(|node| replica_id(*node));
            let ids = ids.chain(self.renamed.iter().copied());
            replica.set_membership(if self.has_own_key {
                hostile::membership(ids)
            } else {
                Membership::named(ids)
            });
        }
    }

    /// Erases the disk and continues under a new replica id, since the promises of the old one are lost. The writes of
    /// the old id stay on other nodes.
    fn start_fresh(&mut self) {
        self.change_id();
        self.disk = self.disk.erased();
        self.is_damaged = false;
    }

    /// Takes the next replica id of the node.
    pub(super) fn change_id(&mut self) {
        assert!(self.fresh_starts < u16::MAX, "each fresh start has a replica id of its own");
        self.fresh_starts += 1;
        self.config.replica = replica_id_after(self.peer.into(), self.fresh_starts);
        if self.has_own_key {
            self.config.authority = hostile::authority(self.config.replica);
        }
        self.renamed.insert(self.config.replica);
    }

    /// Whether the state of the disk forces a fresh start at the next restart.
    pub(super) const fn must_start_fresh(&self) -> bool {
        self.is_damaged || self.disk.is_corrupt() || (self.disk.has_lost_commits() && self.detects_losses)
    }

    /// Handles a step that has failed. A replica whose id has another life is brought back at the restart.
    fn fail_with(&mut self, error: ReplicaError) -> Effects<ContextNotice> {
        match error {
            ReplicaError::Storage(error) => self.fail(&error),
            ReplicaError::History(_) => Effects { failed: true, ..Effects::default() },
            ReplicaError::SameId { .. } => unreachable!("every return is under an id of its own"),
        }
    }

    /// Handles a step that could not read or write. After a simulated disk fault the node fails and restarts; any
    /// other error is a bug of the replica and stops it.
    fn fail(&mut self, error: &StorageError) -> Effects<ContextNotice> {
        match error {
            // A simulated write error.
            StorageError::Store(StoreError::Io { .. }) => {}
            // A simulated bit flip: the disk is erased at the restart.
            StorageError::Store(StoreError::Corrupt { .. }) if self.disk.is_corrupt() => {
                self.is_damaged = true;
            }
            error => self.stopped = Some(error.to_string()),
        }
        Effects { failed: self.stopped.is_none(), ..Effects::default() }
    }

    /// Changes the settings and recovers the replica with the new ones.
    pub(super) fn configure(&mut self, change: &mut dyn FnMut(&mut ReplicaConfig)) {
        change(&mut self.config);
        self.recover();
    }

    /// Recovers the replica from the disk, or stops.
    fn recover(&mut self) {
        self.starts += 1;
        self.waiting.restart();
        self.session_notes = SessionNotes::default();
        match Replica::recover(self.config.clone(), &self.disk.view()) {
            Ok((replica, actions)) => {
                self.resting_root = replica.digest();
                // Recovery writes the new incarnation; a fault of that write is not simulated.
                match self.disk.commit(actions.storage, Commit::Durable) {
                    Ok(()) => self.replica = Some(replica),
                    Err(error) => self.stopped = Some(error.to_string()),
                }
            }
            Err(error) => self.stopped = Some(error.to_string()),
        }
    }

    /// Has the application write before the node first starts, when its wall clock shows `wall_ms`: the write is
    /// durable, and no other node knows it. Returns the operations and actions if the write was accepted.
    pub fn write_before_start(
        &mut self,
        write: &Write,
        wall_ms: u64,
        choices: &mut dyn Entropy,
    ) -> Option<(Vec<Operation>, Vec<Action>)> {
        let (operations, fits) = write.fitted(|| self.state()).unwrap_or_default();
        self.was_fitted = fits;
        let replica = self.replica.as_mut()?;
        let moment = Moment { now: SimTime::from_millis(2), wall_ms: wall_ms + 2 };
        let event = Event::Write(operations);
        let begun = BegunStep::of(&event);
        let stepped = replica.step(self.disk.view(), event, moment, choices);
        let stepped = stepped.map_err(|error| error.to_string()).and_then(|actions| {
            self.spending.on_step(&begun, &actions);
            let committed = self.disk.commit(actions.storage, Commit::Durable);
            committed.map_err(|error| error.to_string())?;
            Ok(actions.notices)
        });
        match stepped {
            Ok(notices) => notices.into_iter().find_map(|notice| match notice {
                Notice::WriteAccepted { operations, actions } => Some((operations, actions)),
                _ => None,
            }),
            Err(error) => {
                self.stopped = Some(error);
                None
            }
        }
    }

    /// The node of the replica.
    pub fn node(&self) -> NodeId {
        self.peer.into()
    }

    /// The number of its context on the node, from 0.
    pub fn number(&self) -> usize {
        usize::from(self.number)
    }

    /// The replica, while the node is up.
    pub const fn replica(&self) -> Option<&Replica<CheckedDiskView>> {
        self.replica.as_ref()
    }

    /// The rows on disk.
    pub const fn disk(&self) -> &MemoryStore {
        self.disk.rows()
    }

    /// The rows that survive a crash now.
    pub(super) fn durable(&self) -> &MemoryStore {
        self.disk.durable()
    }

    /// The present replica id, and the number of fresh starts.
    pub(super) const fn identity(&self) -> (ReplicaId, u16) {
        (self.config.replica, self.fresh_starts - self.returns)
    }

    /// How often the node was brought back under a new id.
    pub(super) const fn returns(&self) -> u16 {
        self.returns
    }

    /// Counts of the disk faults so far.
    pub(super) const fn disk_faults(&self) -> DiskFaults {
        self.disk.faults()
    }

    /// Whether some row on the disk is corrupt.
    pub(crate) const fn is_corrupt(&self) -> bool {
        self.disk.is_corrupt()
    }

    /// Whether the disk has corrupt rows, or has ever lost commits.
    pub(crate) const fn has_damaged_disk(&self) -> bool {
        self.disk.is_corrupt() || self.disk.faults().lost_commits > 0
    }

    /// The cost of all steps over all restarts.
    pub const fn cost(&self) -> StepCost {
        self.cost
    }

    /// The error with which the replica stopped by itself, if it did.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// The state on disk, for reading.
    pub fn state(&self) -> Result<Interface<CheckedDiskView>, StorageError> {
        Interface::open_with(CheckedDiskView::from(self.disk()), self.config.merges.clone())
    }

    /// The statistics of the state on disk; those of an empty state if it cannot be read.
    fn stats(&self) -> Stats {
        self.state().and_then(|mut state| state.stats()).unwrap_or_default()
    }
}

/// The frame of a message.
fn outgoing(message: OutgoingMessage) -> Outgoing {
    Outgoing {
        to: message.to.into(),
        bytes: message.bytes,
        kind: message.kind as u8,
        housekeeping: message.kind == FrameKind::Heartbeat,
    }
}

impl SimReplica {
    /// A step of the real replica.
    fn step_honestly(
        &mut self,
        input: Input<'_, Write>,
        context: &mut Context<'_>,
    ) -> Effects<ContextNotice> {
        self.forget_last_step();
        let event = match input {
            Input::Start => Event::Start,
            Input::Peers { members, reachable } => {
                self.members = members;
                self.update_membership();
                let others = reachable.iter().map(|&node| PeerId::from(node));
                Event::Peers(others.filter(|peer| *peer != self.peer).collect())
            }
            Input::Frame { from, bytes } => Event::Frame { from: from.into(), bytes: bytes.clone() },
            Input::Timer(id) => match TimerId::from_number(id).timer() {
                Some(timer) => Event::Timer(timer),
                None => unreachable!("an honest step has no delayed frames"),
            },
            Input::Op(write) => {
                let open = || Interface::open_with(self.disk.view(), self.config.merges.clone());
                match write.fitted(open) {
                    Ok((operations, fits)) => {
                        self.was_fitted = fits;
                        Event::Write(operations)
                    }
                    Err(error) => return self.fail(&error),
                }
            }
        };
        // A replica that could not recover takes no input; the run has reported that it stopped.
        let Some(replica) = &mut self.replica else { return Effects::default() };
        if self.fresh_starts > 0 && matches!(event, Event::Write(_)) && replica.digest().is_zero() {
            // After a fresh start the node does not know the horizon: peers might refuse its first writes as left
            // behind. An operator keeps applications away until the node has caught up.
            let notice = Notice::WriteRefused { error: OperationError::CatchingUp };
            let notices = vec![ContextNotice { context: self.number, notice }];
            return Effects { notices, ..Effects::default() };
        }
        let begun = BegunStep::of(&event);
        let sender = SessionNotes::sender(&event);
        let stepped = replica.step(self.disk.view(), event, context.moment, context.entropy);
        let actions = match stepped {
            Ok(actions) => actions,
            Err(error) => return self.fail_with(error),
        };
        self.spending.on_step(&begun, &actions);
        let holds_deltas = replica.is_transferring() && !replica.is_receiving_snapshot();
        self.session_notes.on_step(sender, &actions, holds_deltas, context.moment.now);
        let SyncActions { storage, messages, timers, refusal, notices, cost, probes } = actions;
        self.cost += cost;
        self.probes |= probes;
        self.remember_collected(&notices);
        // Commit before send: frames and notices of a step leave only after its batch is on disk.
        if let Err(error) = self.disk.commit(storage, context.commit) {
            return self.fail(&error.into());
        }
        if notices.iter().any(|notice| matches!(notice, Notice::HistoryConflict { .. })) {
            // The host takes the node down at once, and brings it back. Nothing else of the step counts.
            return Effects { failed: true, ..Effects::default() };
        }
        self.watch_buffer(&notices, matches!(context.commit, Commit::Durable));
        let outgoing = messages.into_iter().map(outgoing);
        let changes = timers.into_iter().map(|op| match op {
            TimerOp::Set { timer, at } => TimerChange::Set {
                id: TimerId::from(timer).number(),
                at,
                housekeeping: !self.is_awaited(timer),
            },
            TimerOp::Cancel { timer } => TimerChange::Cancel { id: TimerId::from(timer).number() },
        });
        let context = self.number;
        Effects {
            messages: outgoing.collect(),
            timers: changes.collect(),
            refusal: refusal.as_ref().map(drop_cause),
            notices: notices.into_iter().map(|notice| ContextNotice { context, notice }).collect(),
            failed: false,
        }
    }

    /// A step of a hostile node: a step of the real replica whose frames the adversary alters.
    fn step_as_adversary(
        &mut self,
        input: Input<'_, Write>,
        context: &mut Context<'_>,
    ) -> Effects<ContextNotice> {
        let now = context.moment.now;
        // Taken before the step, which consumes the input.
        let received = match &input {
            Input::Frame { from, bytes } => Some((*from, (*bytes).clone())),
            _ => None,
        };
        let mut effects = match input {
            Input::Timer(id) if TimerId::from_number(id) == TimerId::DelayedFrame => Effects::default(),
            input => self.step_honestly(input, context),
        };
        let Some(adversary) = &mut self.adversary else {
            unreachable!("only hostile nodes step as adversaries")
        };
        let gate = Gate {
            context: self.config.context,
            authority: self.config.authority.clone(),
            // The adversary itself accepts frames of all replicas.
            membership: Membership::Open,
        };
        let identity = AdversaryIdentity { replica: self.config.replica, gate: &gate };
        if let Some((from, bytes)) = received {
            adversary.observe(from, &bytes, &identity);
        }
        if matches!(context.commit, Commit::Lost | Commit::Torn { .. } | Commit::Fails) {
            // The commit fails, so no frame of this step leaves; a lie must not reveal an uncommitted write either.
            return effects;
        }
        let mut messages = adversary.take_due(now);
        messages.extend(adversary.alter(effects.messages, &identity, now, context.entropy));
        messages.extend(adversary.relay(&identity, context.entropy));
        effects.messages = messages;
        if let Some(at) = adversary.next_due() {
            effects.timers.push(TimerChange::Set {
                id: TimerId::DelayedFrame.number(),
                at,
                housekeeping: true,
            });
        }
        effects
    }

    /// Whether the run waits for this timer. Beside hostile nodes it does not wait for timers that serve all peers:
    /// pending syncs with honest peers and buffered deltas are counted separately.
    fn is_awaited(&self, timer: Timer) -> bool {
        timer.kind() == TimerKind::Sync
            && match (&self.roles, timer) {
                (None, _) => true,
                (Some(roles), Timer::Session(peer)) => !roles.is_hostile(peer.into()),
                (Some(_), _) => false,
            }
    }
}

impl SimReplica {
    /// Takes one input and returns its effects.
    pub(super) fn step(
        &mut self,
        input: Input<'_, Write>,
        context: &mut Context<'_>,
    ) -> Effects<ContextNotice> {
        if self.adversary.is_some() {
            return self.step_as_adversary(input, context);
        }
        self.step_honestly(input, context)
    }

    /// Flips a bit in a row that `place` chooses. Returns whether there is a row.
    pub(super) fn rot(&mut self, place: u64) -> bool {
        self.disk.rot(place)
    }

    /// The root of the state; while the node is down, of the state on disk.
    pub fn root(&self) -> Digest {
        self.replica.as_ref().map_or(self.resting_root, Replica::digest)
    }

    /// The root in memory when the node last went down. The disk may have lost it.
    pub(crate) const fn root_before_crash(&self) -> Digest {
        self.root_before_crash
    }

    /// The number of sessions under way, and of buffered deltas and pending syncs.
    pub(super) fn unfinished(&self) -> Unfinished {
        if self.replica.is_none() {
            return Unfinished::default();
        }
        let pending = self.pending();
        // A corrupt row will be detected sooner or later, and the run is not over before.
        let waiting = pending.buffered
            + pending.pending_syncs
            + pending.recoveries
            + pending.collections
            + usize::from(self.disk.is_corrupt());
        Unfinished { sessions: pending.sessions as u32, waiting: waiting as u32 }
    }
}

/// The claims of the replica in a handshake, read from disk.
impl LocalSyncState for SimReplica {
    fn context(&self) -> ContextId {
        self.config.context
    }
    fn replica(&self) -> ReplicaId {
        self.config.replica
    }
    fn root_hash(&self) -> Digest {
        self.stats().root
    }
    fn entity_count(&self) -> u64 {
        self.stats().records
    }
    fn max_depth(&self) -> u32 {
        self.stats().max_depth()
    }
    fn dag_heads(&self) -> Vec<DeltaRef> {
        self.log().heads()
    }
    fn covered(&self) -> VersionVector {
        self.log().covered().clone()
    }
    fn log_floor(&self) -> VersionVector {
        self.log().floor().clone()
    }
    fn supported_protocols(&self) -> Vec<SyncProtocolKind> {
        self.config.protocols.clone()
    }
}
