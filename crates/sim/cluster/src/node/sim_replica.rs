//! One context on one node.

use crate::hostile::{self, Cast, Identity, Liar, Manner};
use crate::node::disk::{DiskFaults, DiskView, SimDisk};
use crate::workload::Write;
use std::collections::BTreeSet;
use std::sync::Arc;
use sync_sim_engine::actor::{Commit, Context, Effects, Input, Outgoing, TimerChange, Unfinished};
use sync_sim_engine::network::DropCause;
use sync_sim_engine::node_id::NodeId;
use syncline_replica::{
    Event, FrameKind, Notice, Operation, OperationError, Pending, Refusal, Replica, ReplicaConfig, StepCost,
    SyncActions, Timer, TimerKind, TimerOp,
};
use syncline_storage::{Action, Interface, Record, Stats, StorageError};
use syncline_store::{MemoryStore, Store, StoreError};
use syncline_sync::{
    DeltaLog, DeltaRef, DeltaRefusal, FrameError, Gate, LocalSyncState, Membership, SyncProtocolKind,
    VersionVector,
};
use syncline_types::{ContextId, Digest, EntityId, Entropy, Moment, PeerId, ReplicaId, SimTime};

/// The real replica, a simulated disk, and nothing in between: what the replica asks to be stored
/// is on the disk when its frames are sent, and a crash loses the replica and keeps the disk.
///
/// It keeps one context of a [`SimNode`](super::SimNode), and goes down and comes back with it.
#[derive(Clone, Debug)]
pub struct SimReplica {
    peer: PeerId,
    /// Which of the contexts of its node it keeps.
    number: u8,
    config: ReplicaConfig,
    disk: SimDisk,
    replica: Option<Replica<DiskView>>,
    /// The root on disk while the node is down.
    resting_root: Digest,
    /// The root that it had when the node last went down.
    root_before_crash: Digest,
    stopped: Option<String>,
    /// How often it was started, whichever disk it was started on.
    starts: u64,
    cost: StepCost,
    /// Whether its replica knows who takes part, and so refuses others and forgets what is dead.
    forgets: bool,
    /// What it was last told of who takes part.
    members: Arc<[NodeId]>,
    /// The names of those that have begun afresh. The old ones are kept, for what they wrote.
    renamed: BTreeSet<ReplicaId>,
    /// How often it has begun afresh.
    fresh_starts: u8,
    /// Whether it does when it starts on a disk that has lost commits.
    notices_losses: bool,
    /// Its disk was found damaged.
    is_ruined: bool,
    /// Whether it signs with a key of its own.
    has_own_key: bool,
    /// Who in the run is hostile, if anybody is.
    cast: Option<Arc<Cast>>,
    /// What bends its frames, if it is hostile.
    liar: Option<Box<Liar>>,
}

/// What a replica has to say, and which of the contexts of its node it is of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Noticed {
    /// The number of the context.
    pub context: u8,
    /// What it has to say.
    pub notice: Notice,
}

/// The name under which the replicas of a node write.
pub fn replica_id(node: NodeId) -> ReplicaId {
    named_anew(node, 0)
}

/// The name of a node that has begun afresh so often.
fn named_anew(node: NodeId, fresh_starts: u8) -> ReplicaId {
    let mut replica = ReplicaId::from_u64(u64::from(node.0) + 1);
    (replica.0[14], replica.0[15]) = (fresh_starts, 0x51);
    replica
}

/// Whether a node writes under this name, or did, or will.
fn is_name_of(mut replica: ReplicaId, node: NodeId) -> bool {
    replica.0[14] = 0;
    replica == replica_id(node)
}

impl SimReplica {
    /// The replica of `node` that keeps its context of this number, whose disk already holds `disk`.
    pub fn new(node: NodeId, number: u8, config: ReplicaConfig, disk: MemoryStore) -> Self {
        let mut replica = Self {
            peer: node.into(),
            number,
            config,
            disk: SimDisk::holding(disk),
            replica: None,
            resting_root: Digest::ZERO,
            root_before_crash: Digest::ZERO,
            stopped: None,
            starts: 0,
            cost: StepCost::default(),
            forgets: true,
            members: Arc::from([]),
            renamed: BTreeSet::new(),
            fresh_starts: 0,
            notices_losses: true,
            is_ruined: false,
            has_own_key: false,
            cast: None,
            liar: None,
        };
        replica.recover();
        replica
    }

    /// As [`SimNode::forgetting`](super::SimNode::forgetting).
    pub(super) const fn set_forgetting(&mut self, forgets: bool) {
        self.forgets = forgets;
    }

    /// As [`SimNode::noticing_losses`](super::SimNode::noticing_losses).
    pub(super) const fn set_noticing_losses(&mut self, notices: bool) {
        self.notices_losses = notices;
    }

    /// As [`SimNode::with_own_key`](super::SimNode::with_own_key).
    pub(super) fn take_own_key(&mut self) {
        self.has_own_key = true;
        self.config.authority = hostile::authority(self.config.replica);
        self.recover();
    }

    /// What it has not finished, but for what has to do with hostile nodes.
    pub(crate) fn pending(&self) -> Pending {
        match (&self.replica, &self.cast) {
            (None, _) => Pending::default(),
            (Some(replica), None) => replica.pending(),
            (Some(replica), Some(cast)) => replica.pending_but_for(
                |peer| cast.is_hostile(peer.into()),
                |author| cast.hostile().any(|node| is_name_of(author, node)),
            ),
        }
    }

    /// Tells who in the run is hostile. The replica does not hear of it.
    pub(super) fn meet_cast(&mut self, cast: &Arc<Cast>) {
        self.cast = Some(cast.clone());
    }

    /// Has it lie from now on.
    pub(super) fn turn_hostile(&mut self, manner: Manner) {
        self.liar = Some(Box::new(Liar::new(manner)));
    }

    /// What bends its frames, if it is hostile.
    pub(super) fn liar(&self) -> Option<&Liar> {
        self.liar.as_deref()
    }

    /// Another node has begun afresh under this name.
    pub(super) fn meet(&mut self, renamed: ReplicaId) {
        self.renamed.insert(renamed);
        self.tell_membership();
    }

    fn tell_membership(&mut self) {
        if let Some(replica) = &mut self.replica
            && self.forgets
        {
            let knows = |node: &NodeId| match &self.cast {
                // Nobody but an outsider takes it for a member.
                Some(cast) => PeerId::from(*node) == self.peer || !cast.is_outsider(*node),
                None => true,
            };
            let named = self.members.iter().filter(|node| knows(node)).map(|node| replica_id(*node));
            let named = named.chain(self.renamed.iter().copied());
            replica.set_membership(if self.has_own_key {
                hostile::membership(named)
            } else {
                Membership::named(named)
            });
        }
    }

    /// Throws away what is on disk and goes on as another replica: what its old one had promised is not
    /// known any more. What others have of it they keep.
    fn begin_afresh(&mut self) {
        self.fresh_starts = self.fresh_starts.saturating_add(1);
        self.config.replica = named_anew(self.peer.into(), self.fresh_starts);
        if self.has_own_key {
            self.config.authority = hostile::authority(self.config.replica);
        }
        self.renamed.insert(self.config.replica);
        self.disk = self.disk.replaced();
        self.is_ruined = false;
    }

    /// Whether its disk is such that its node begins afresh when it next starts.
    pub(super) const fn must_begin_afresh(&self) -> bool {
        self.is_ruined || self.disk.is_rotten() || (self.disk.has_lost() && self.notices_losses)
    }

    /// A step could not read or write. If the disk has failed as disks do, that is no fault of the replica.
    fn fail(&mut self, error: &StorageError) -> Effects<Noticed> {
        match error {
            StorageError::Store(StoreError::Io { .. }) => {}
            StorageError::Store(StoreError::Corrupt { .. }) if self.disk.is_rotten() => self.is_ruined = true,
            error => self.stopped = Some(error.to_string()),
        }
        Effects { failed: self.stopped.is_none(), ..Effects::default() }
    }

    /// Changes its settings, and makes its replica anew with them.
    pub(super) fn configure(&mut self, change: &mut dyn FnMut(&mut ReplicaConfig)) {
        change(&mut self.config);
        self.recover();
    }

    fn recover(&mut self) {
        self.starts += 1;
        match Replica::recover(self.config.clone(), &self.disk.view()) {
            Ok((replica, actions)) => {
                self.resting_root = replica.digest();
                match self.disk.commit(actions.storage, Commit::Durable) {
                    Ok(()) => self.replica = Some(replica),
                    Err(error) => self.stopped = Some(error.to_string()),
                }
            }
            Err(error) => self.stopped = Some(error.to_string()),
        }
    }

    /// Has the application write before the node first starts: the write is durable, and nobody else
    /// hears of it. Gives what was accepted, if it was.
    pub fn write_before_start(
        &mut self,
        write: &Write,
        choices: &mut dyn Entropy,
    ) -> Option<(Vec<Operation>, Vec<Action>)> {
        let operations = write.fitted(|| self.state()).unwrap_or_default();
        let replica = self.replica.as_mut()?;
        let moment = Moment::at(SimTime::from_millis(2));
        let stepped = replica.step(self.disk.view(), Event::Write(operations), moment, choices);
        let stepped = stepped.map_err(|error| error.to_string()).and_then(|actions| {
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

    /// Which of the contexts of its node it keeps, from 0.
    pub fn number(&self) -> usize {
        usize::from(self.number)
    }

    /// The replica, while the node is up.
    pub const fn replica(&self) -> Option<&Replica<DiskView>> {
        self.replica.as_ref()
    }

    /// What the disk holds.
    pub const fn disk(&self) -> &MemoryStore {
        self.disk.rows()
    }

    /// What the disk would hold after a crash now.
    pub(super) fn durable(&self) -> &MemoryStore {
        self.disk.durable()
    }

    /// The name it writes under, and how often it has begun afresh.
    pub(super) const fn identity(&self) -> (ReplicaId, u8) {
        (self.config.replica, self.fresh_starts)
    }

    /// What was wrong with its disk so far.
    pub(super) const fn disk_faults(&self) -> DiskFaults {
        self.disk.faults()
    }

    /// Whether a row on its disk is not what was written.
    pub(super) const fn is_rotten(&self) -> bool {
        self.disk.is_rotten()
    }

    /// What all its steps have cost, over all its lives.
    pub const fn cost(&self) -> StepCost {
        self.cost
    }

    /// Why the replica stopped by itself, if it did.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// The state on disk, to look at.
    pub fn state(&self) -> Result<Interface<MemoryStore>, StorageError> {
        Interface::open_with(self.disk().view(), self.config.merges.clone())
    }

    /// The record of an entity on disk.
    pub fn record(&self, id: EntityId) -> Result<Option<Arc<Record>>, StorageError> {
        self.state()?.record(id)
    }

    /// The figures of the state on disk; those of an empty state if it cannot be read.
    fn stats(&self) -> Stats {
        self.state().and_then(|mut state| state.stats()).unwrap_or_default()
    }

    fn log(&self) -> DeltaLog {
        DeltaLog::load(self.disk(), self.config.delta_retention).unwrap_or_default()
    }

    /// How many entities an application sees here. O(n).
    pub fn visible_entities(&self) -> Result<usize, StorageError> {
        Ok(self.state()?.visible()?.len())
    }
}

/// The timer of frames that a hostile node holds back.
const HELD: u64 = 3;

/// A timer of a replica as a number of the engine.
fn timer_id(timer: Timer) -> u64 {
    match timer {
        Timer::Heartbeat => 0,
        Timer::PendingSync => 1,
        Timer::Fetch => 2,
        Timer::Session(peer) => 1 << 32 | u64::from(peer.0),
    }
}

const fn timer_of(id: u64) -> Timer {
    match id {
        0 => Timer::Heartbeat,
        1 => Timer::PendingSync,
        2 => Timer::Fetch,
        _ => Timer::Session(PeerId(id as u32)),
    }
}

const fn cause_of(refusal: &Refusal) -> DropCause {
    match refusal {
        Refusal::Frame(FrameError::Context) => DropCause::OtherContext,
        Refusal::Frame(_) => DropCause::Corrupt,
        Refusal::StaleIncarnation => DropCause::StaleIncarnation,
        Refusal::Duplicate | Refusal::Delta(DeltaRefusal::Covered | DeltaRefusal::NotReady) => {
            DropCause::DuplicateSuppressed
        }
        Refusal::BufferFull => DropCause::BufferFull,
        Refusal::Delta(DeltaRefusal::Drift) => DropCause::ClockDrift,
        Refusal::Delta(DeltaRefusal::NoMerge) => DropCause::NoMerge,
        Refusal::Malformed | Refusal::Delta(DeltaRefusal::Malformed) => DropCause::Malformed,
        Refusal::NotAMember | Refusal::Delta(DeltaRefusal::NotAMember) => DropCause::NotAMember,
        Refusal::Delta(DeltaRefusal::BadSignature) => DropCause::BadSignature,
        Refusal::Delta(DeltaRefusal::LeftBehind) => DropCause::LeftBehind,
    }
}

impl SimReplica {
    /// What its replica does.
    fn step_truly(&mut self, input: Input<'_, Write>, context: &mut Context<'_>) -> Effects<Noticed> {
        let event = match input {
            Input::Start => Event::Start,
            Input::Peers { members, reachable } => {
                self.members = members;
                self.tell_membership();
                let others = reachable.iter().map(|&node| PeerId::from(node));
                Event::Peers(others.filter(|peer| *peer != self.peer).collect())
            }
            Input::Frame { from, bytes } => Event::Frame { from: from.into(), bytes: bytes.clone() },
            Input::Timer(id) => Event::Timer(timer_of(id)),
            Input::Op(write) => {
                let open = || Interface::open_with(self.disk.view(), self.config.merges.clone());
                match write.fitted(open) {
                    Ok(operations) => Event::Write(operations),
                    Err(error) => return self.fail(&error),
                }
            }
        };
        let Some(replica) = &mut self.replica else { return Effects::default() };
        if self.fresh_starts > 0 && matches!(event, Event::Write(_)) && replica.digest().is_zero() {
            // What it wrote before it has heard how things stand might come too late for the others. Its
            // operator keeps the application away until then.
            let notice = Notice::WriteRefused { error: OperationError::CatchingUp };
            let notices = vec![Noticed { context: self.number, notice }];
            return Effects { notices, ..Effects::default() };
        }
        let stepped = replica.step(self.disk.view(), event, context.moment, context.entropy);
        let SyncActions { storage, messages, timers, refusal, notices, cost } = match stepped {
            Ok(actions) => actions,
            Err(error) => return self.fail(&error.0),
        };
        self.cost += cost;
        if let Err(error) = self.disk.commit(storage, context.commit) {
            return self.fail(&error.into());
        }
        let outgoing = messages.into_iter().map(|message| Outgoing {
            to: message.to.into(),
            bytes: message.bytes,
            kind: message.kind as u8,
            housekeeping: message.kind == FrameKind::Heartbeat,
        });
        let changes = timers.into_iter().map(|op| match op {
            TimerOp::Set { timer, at } => {
                TimerChange::Set { id: timer_id(timer), at, housekeeping: !self.is_awaited(timer) }
            }
            TimerOp::Cancel { timer } => TimerChange::Cancel { id: timer_id(timer) },
        });
        let context = self.number;
        Effects {
            messages: outgoing.collect(),
            timers: changes.collect(),
            refusal: refusal.as_ref().map(cause_of),
            notices: notices.into_iter().map(|notice| Noticed { context, notice }).collect(),
            failed: false,
        }
    }

    /// What leaves a hostile node: what its replica does, bent.
    fn step_lying(&mut self, input: Input<'_, Write>, context: &mut Context<'_>) -> Effects<Noticed> {
        let now = context.moment.now;
        let heard = match &input {
            Input::Frame { from, bytes } => Some((*from, (*bytes).clone())),
            _ => None,
        };
        let mut effects = match input {
            Input::Timer(HELD) => Effects::default(),
            input => self.step_truly(input, context),
        };
        let Some(liar) = &mut self.liar else { return effects };
        let gate = Gate {
            context: self.config.context,
            authority: self.config.authority.clone(),
            membership: Membership::Open,
        };
        let identity = Identity { replica: self.config.replica, gate: &gate };
        if let Some((from, bytes)) = heard {
            liar.hear(from, &bytes, &identity);
        }
        if matches!(context.commit, Commit::Lost | Commit::Torn { .. } | Commit::Fails) {
            // Nothing of this step leaves, and what it would have written nobody may ever hear of.
            return effects;
        }
        let mut messages = liar.due(now);
        messages.extend(liar.bend(effects.messages, &identity, now, context.entropy));
        effects.messages = messages;
        if let Some(at) = liar.next_due() {
            effects.timers.push(TimerChange::Set { id: HELD, at, housekeeping: true });
        }
        effects
    }

    /// Whether a run waits for this timer. Beside hostile nodes the timers that serve all peers say nothing:
    /// whether anything is owed to an honest one, or waits, is counted as such.
    fn is_awaited(&self, timer: Timer) -> bool {
        timer.kind() == TimerKind::Sync
            && match (&self.cast, timer) {
                (None, _) => true,
                (Some(cast), Timer::Session(peer)) => !cast.is_hostile(peer.into()),
                (Some(_), _) => false,
            }
    }
}

impl SimReplica {
    /// Takes one input.
    pub(super) fn step(&mut self, input: Input<'_, Write>, context: &mut Context<'_>) -> Effects<Noticed> {
        if self.liar.is_some() {
            return self.step_lying(input, context);
        }
        self.step_truly(input, context)
    }

    pub(super) fn crash(&mut self) {
        if let Some(liar) = &mut self.liar {
            liar.crash();
        }
        self.root_before_crash = self.root();
        self.disk.crash();
        // What the replica had in memory may be ahead of the disk; only the disk counts.
        if let Ok(mut state) = Interface::open(self.disk().view())
            && let Ok(root) = state.root_hash()
        {
            self.resting_root = root;
        }
        self.replica = None;
    }

    /// Comes back from what is durable, or `afresh`.
    pub(super) fn restart(&mut self, afresh: bool) {
        if afresh || self.disk.has_lost() {
            // The disk may have lost the count; the host has it too. A sound disk must know by itself.
            self.config.least_incarnation = self.starts + 1;
        }
        if afresh {
            self.begin_afresh();
        }
        self.disk.forget_the_loss();
        self.recover();
    }

    /// A bit of some row flips. Says whether there is a row.
    pub(super) fn rot(&mut self, place: u64) -> bool {
        self.disk.rot(place)
    }

    /// The root of its state; while the node is down, of what is on disk.
    pub fn root(&self) -> Digest {
        self.replica.as_ref().map_or(self.resting_root, Replica::digest)
    }

    /// The root that it had when the node last went down, which is not on disk if that had lied.
    pub(crate) const fn root_before_crash(&self) -> Digest {
        self.root_before_crash
    }

    pub(super) fn unfinished(&self) -> Unfinished {
        if self.replica.is_none() {
            return Unfinished::default();
        }
        let pending = self.pending();
        // A damaged row will be noticed, and the run is not over before.
        let waiting = pending.buffered + pending.pending_syncs + usize::from(self.disk.is_rotten());
        Unfinished { sessions: pending.sessions as u32, waiting: waiting as u32 }
    }
}

/// What it would say of itself in a handshake, from what is on its disk.
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
