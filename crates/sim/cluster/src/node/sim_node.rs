//! One node: a host and the contexts that it keeps.

use crate::hostile::{Cast, Liar, Manner};
use crate::node::context_header::{self, HeaderError};
use crate::node::disk::DiskView;
use crate::node::sim_replica::{Noticed, SimReplica};
use crate::workload::Write;
use std::sync::Arc;
use sync_sim_engine::actor::{Actor, Context, Effects, Input, TimerChange, Unfinished};
use sync_sim_engine::faults::MOST_CONTEXTS;
use sync_sim_engine::network::DropCause;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::world::HostEffects;
use syncline_replica::{Notice, Operation, OperationError, Replica, ReplicaConfig, StepCost};
use syncline_storage::{Action, Interface, Record, StorageError};
use syncline_store::{Bytes, MemoryStore};
use syncline_sync::{DeltaRef, LocalSyncState, SyncProtocolKind, VersionVector};
use syncline_types::{ContextId, Digest, EntityId, Entropy, ReplicaId, canary};

/// A host and the contexts that it keeps: one or several, each with a [`SimReplica`] of its own, which knows
/// nothing of the others.
///
/// They share the host. One crash takes all down, one clock and one pace are those of all, and so are the
/// links, the inbox and the disk: what is wrong with the disk strikes whatever a step writes, of whichever
/// context, and a node that must begin afresh does so in all of them. Each context has a journal of its own on
/// the disk, so that what one syncs says nothing of what another did.
///
/// Whatever does not name a context speaks of the first.
#[derive(Clone, Debug)]
pub struct SimNode {
    first: SimReplica,
    others: Vec<SimReplica>,
    /// The context that the last input was for.
    latest: u8,
}

/// The context of this number. They differ in the very last byte of what each frame says of its own.
pub fn context_id(number: usize) -> ContextId {
    let mut context = ContextId([0xca; 32]);
    context.0[7] ^= number as u8;
    context
}

/// Where the timers of a context are among those of its node: above all that those of one replica use.
const CONTEXT_SHIFT: u32 = 40;

impl SimNode {
    /// The node `node` with one context, whose disk already holds `disk`.
    pub fn new(node: NodeId, config: ReplicaConfig, disk: MemoryStore) -> Self {
        Self { first: SimReplica::new(node, 0, config, disk), others: Vec::new(), latest: 0 }
    }

    /// Has it keep one more context, up to [`MOST_CONTEXTS`], of which the disk already holds `disk`. All nodes
    /// of a run keep the same contexts in the same order.
    ///
    /// # Panics
    ///
    /// If there are so many already.
    pub fn keeping(mut self, node: NodeId, config: ReplicaConfig, disk: MemoryStore) -> Self {
        let number = self.contexts();
        assert!(number < MOST_CONTEXTS, "a node keeps up to {MOST_CONTEXTS} contexts");
        self.others.push(SimReplica::new(node, number as u8, config, disk));
        self
    }

    /// How many contexts it keeps.
    pub fn contexts(&self) -> usize {
        1 + self.others.len()
    }

    /// What it keeps of each context, in order.
    pub fn replicas(&self) -> impl Iterator<Item = &SimReplica> {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn replicas_mut(&mut self) -> impl Iterator<Item = &mut SimReplica> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    /// What it keeps of the context of this number, from 0.
    ///
    /// # Panics
    ///
    /// If it keeps no such context.
    pub fn in_context(&self, number: usize) -> &SimReplica {
        let kept = self.contexts();
        self.replica_of(number)
            .unwrap_or_else(|| panic!("there is no context {number}; this node keeps {kept}"))
    }

    pub(crate) fn replica_of(&self, number: usize) -> Option<&SimReplica> {
        self.replicas().nth(number)
    }

    /// Sets whether tombstones are forgotten once every node has seen what they delete.
    pub fn forgetting(mut self, forgets: bool) -> Self {
        self.replicas_mut().for_each(|replica| replica.set_forgetting(forgets));
        self
    }

    /// Sets whether it notices when its disk has lost commits, and begins afresh then.
    pub(crate) fn noticing_losses(mut self, notices: bool) -> Self {
        self.replicas_mut().for_each(|replica| replica.set_noticing_losses(notices));
        self
    }

    /// Has it sign with a key that no other node has, from the start.
    pub(crate) fn with_own_key(mut self) -> Self {
        self.replicas_mut().for_each(SimReplica::take_own_key);
        self
    }

    /// Tells who in the run is hostile. The replicas do not hear of it.
    pub(crate) fn meet_cast(&mut self, cast: &Arc<Cast>) {
        self.replicas_mut().for_each(|replica| replica.meet_cast(cast));
    }

    /// Has it lie from now on, in each context by itself; by script in the first.
    pub(crate) fn turn_hostile(&mut self, manner: &Manner) {
        for replica in self.replicas_mut() {
            let script = if replica.number() == 0 { manner.script.clone() } else { Vec::new() };
            replica.turn_hostile(Manner { script, ..manner.clone() });
        }
    }

    /// What bends its frames in each context, if it is hostile.
    pub fn liars(&self) -> impl Iterator<Item = &Liar> {
        self.replicas().filter_map(SimReplica::liar)
    }

    /// Another node has begun afresh under this name.
    pub(crate) fn meet(&mut self, renamed: ReplicaId) {
        self.replicas_mut().for_each(|replica| replica.meet(renamed));
    }

    /// Changes the settings of its replicas, and makes them anew with them.
    pub(crate) fn configure(&mut self, change: &mut dyn FnMut(&mut ReplicaConfig)) {
        self.replicas_mut().for_each(|replica| replica.configure(change));
    }

    /// Has the application write before the node first starts: the write is durable, and nobody else
    /// hears of it. Gives what was accepted, if it was.
    pub fn write_before_start(
        &mut self,
        write: &Write,
        choices: &mut dyn Entropy,
    ) -> Option<(Vec<Operation>, Vec<Action>)> {
        self.replicas_mut().nth(write.context)?.write_before_start(write, choices)
    }

    /// What of a context the disk would hold after a crash now: nothing, if the node would begin afresh then.
    pub(crate) fn durable(&self, context: usize) -> MemoryStore {
        let kept = self.replica_of(context).filter(|_| !self.must_begin_afresh());
        kept.map(|replica| replica.durable().clone()).unwrap_or_default()
    }

    /// Whether it begins afresh when it next starts: it has one disk, so in all contexts or in none.
    fn must_begin_afresh(&self) -> bool {
        self.replicas().any(SimReplica::must_begin_afresh)
    }

    /// The name it writes under, and how often it has begun afresh.
    pub(crate) const fn identity(&self) -> (ReplicaId, u8) {
        self.first.identity()
    }

    /// What was wrong with its disk so far.
    pub(crate) fn disk_effects(&self) -> HostEffects {
        let (_, fresh_starts) = self.identity();
        let mut effects = HostEffects { fresh_starts: u64::from(fresh_starts), ..HostEffects::default() };
        for faults in self.replicas().map(SimReplica::disk_faults) {
            effects.failed_writes += faults.failed_writes;
            effects.lying_syncs += faults.lying_syncs;
            effects.lost_commits += faults.lost_commits;
            effects.torn_writes += faults.torn_writes;
        }
        effects
    }

    /// The replica, while the node is up.
    pub const fn replica(&self) -> Option<&Replica<DiskView>> {
        self.first.replica()
    }

    /// What the disk holds.
    pub const fn disk(&self) -> &MemoryStore {
        self.first.disk()
    }

    /// The state on disk, to look at.
    pub fn state(&self) -> Result<Interface<MemoryStore>, StorageError> {
        self.first.state()
    }

    /// The record of an entity on disk.
    pub fn record(&self, id: EntityId) -> Result<Option<Arc<Record>>, StorageError> {
        self.first.record(id)
    }

    /// What all its steps have cost, in all contexts and over all its lives.
    pub fn cost(&self) -> StepCost {
        self.replicas().map(SimReplica::cost).sum()
    }

    /// Why a replica of it stopped by itself, if one did.
    pub fn stopped(&self) -> Option<&str> {
        self.replicas().find_map(SimReplica::stopped)
    }

    /// How many entities an application sees here, in all contexts. O(n).
    pub fn visible_entities(&self) -> Result<usize, StorageError> {
        self.replicas().map(SimReplica::visible_entities).sum()
    }
}

impl SimNode {
    /// Has the replica of one context take an input, and addresses what it does to that context.
    fn step_one(
        &mut self,
        number: u8,
        input: Input<'_, Write>,
        context: &mut Context<'_>,
    ) -> Effects<Noticed> {
        self.latest = number;
        let replica = self.replicas_mut().nth(usize::from(number));
        let mut effects = replica.map_or_else(Effects::default, |replica| replica.step(input, context));
        if !self.others.is_empty() {
            address(number, &mut effects);
        }
        effects
    }

    /// Has the replica of each context take an input, in order. What fails one fails the node.
    fn step_all<'a>(
        &mut self,
        input: impl Fn() -> Input<'a, Write>,
        context: &mut Context<'_>,
    ) -> Effects<Noticed> {
        let mut all = self.step_one(0, input(), context);
        for number in (1u8..).take(self.others.len()) {
            if all.failed {
                break;
            }
            let Effects { messages, timers, notices, failed, .. } = self.step_one(number, input(), context);
            all.messages.extend(messages);
            all.timers.extend(timers);
            all.notices.extend(notices);
            all.failed = failed;
        }
        all
    }

    /// Hands a frame to the replica that it is for.
    fn take_frame(&mut self, from: NodeId, bytes: &Bytes, context: &mut Context<'_>) -> Effects<Noticed> {
        if self.others.is_empty() {
            return self.step_one(0, Input::Frame { from, bytes }, context);
        }
        match context_header::read(bytes, self.contexts()) {
            Ok((number, frame)) => {
                let to = if canary!(ContextsMixed) { (number + 1) % self.contexts() as u8 } else { number };
                self.step_one(to, Input::Frame { from, bytes: &frame }, context)
            }
            Err(error) => Effects { refusal: Some(cause_of(error)), ..Effects::default() },
        }
    }

    /// Has an application write to the context that it names.
    fn take_write(&mut self, write: &Write, context: &mut Context<'_>) -> Effects<Noticed> {
        let Ok(number) = u8::try_from(write.context) else { return refused(u8::MAX) };
        if write.context >= self.contexts() {
            return refused(number);
        }
        if canary!(WriteToLatestContext) {
            let mut effects = self.step_one(self.latest, Input::Op(write), context);
            effects.notices.iter_mut().for_each(|noticed| noticed.context = number);
            return effects;
        }
        self.step_one(number, Input::Op(write), context)
    }
}

/// A write to a context that the node does not keep.
fn refused(context: u8) -> Effects<Noticed> {
    let notice = Notice::WriteRefused { error: OperationError::NoSuchContext };
    Effects { notices: vec![Noticed { context, notice }], ..Effects::default() }
}

const fn cause_of(error: HeaderError) -> DropCause {
    match error {
        HeaderError::Short { .. } | HeaderError::Damaged => DropCause::Corrupt,
        HeaderError::Unknown { .. } => DropCause::OtherContext,
    }
}

/// Says of frames and timers which context they are of. A frame that goes to many is written once.
fn address(number: u8, effects: &mut Effects<Noticed>) {
    let mut last: Option<(Bytes, Bytes)> = None;
    for message in &mut effects.messages {
        let written = match &last {
            Some((frame, written)) if Arc::ptr_eq(frame, &message.bytes) => written.clone(),
            _ => context_header::write(number, &message.bytes),
        };
        last = Some((std::mem::replace(&mut message.bytes, written.clone()), written));
    }
    for timer in &mut effects.timers {
        let (TimerChange::Set { id, .. } | TimerChange::Cancel { id }) = timer;
        *id |= u64::from(number) << CONTEXT_SHIFT;
    }
}

impl Actor for SimNode {
    type Op = Write;
    type Notice = Noticed;

    fn step(&mut self, input: Input<'_, Write>, context: &mut Context<'_>, effects: &mut Effects<Noticed>) {
        *effects = match input {
            Input::Start => self.step_all(|| Input::Start, context),
            Input::Peers { members, reachable } => self.step_all(
                || Input::Peers { members: members.clone(), reachable: reachable.clone() },
                context,
            ),
            Input::Frame { from, bytes } => self.take_frame(from, bytes, context),
            Input::Timer(id) => {
                let (number, own) = (id >> CONTEXT_SHIFT, id & ((1 << CONTEXT_SHIFT) - 1));
                self.step_one(number as u8, Input::Timer(own), context)
            }
            Input::Op(write) => self.take_write(write, context),
        };
    }

    fn crash(&mut self) {
        self.replicas_mut().for_each(SimReplica::crash);
    }

    fn restart(&mut self) {
        let afresh = self.must_begin_afresh();
        self.replicas_mut().for_each(|replica| replica.restart(afresh));
    }

    fn rot(&mut self, place: u64) -> bool {
        // The row may be of any context; where the first that is tried has none, it is of the next.
        let kept = self.contexts() as u64;
        let (from, place) = ((place % kept) as usize, place / kept);
        let rots = |replica: &mut SimReplica| replica.rot(place);
        self.replicas_mut().skip(from).any(rots) || self.replicas_mut().take(from).any(rots)
    }

    fn scrub(&mut self) -> bool {
        self.replicas().any(SimReplica::is_rotten)
    }

    fn digest(&self) -> Digest {
        if self.others.is_empty() {
            return self.first.root();
        }
        let roots: Vec<u8> = self.replicas().flat_map(|replica| replica.root().0).collect();
        // All empty is as good as nothing.
        if roots.iter().all(|byte| *byte == 0) { Digest::ZERO } else { Digest::of(13, &roots) }
    }

    fn unfinished(&self) -> Unfinished {
        let mut all = self.first.unfinished();
        for other in self.others.iter().map(SimReplica::unfinished) {
            all.sessions += other.sessions;
            all.waiting += other.waiting;
        }
        all
    }

    fn lane(&self) -> u8 {
        self.latest
    }
}

/// What a node would say of itself in a handshake of its first context, from what is on its disk.
impl LocalSyncState for SimNode {
    fn context(&self) -> ContextId {
        self.first.context()
    }
    fn replica(&self) -> ReplicaId {
        LocalSyncState::replica(&self.first)
    }
    fn root_hash(&self) -> Digest {
        self.first.root_hash()
    }
    fn entity_count(&self) -> u64 {
        self.first.entity_count()
    }
    fn max_depth(&self) -> u32 {
        self.first.max_depth()
    }
    fn dag_heads(&self) -> Vec<DeltaRef> {
        self.first.dag_heads()
    }
    fn covered(&self) -> VersionVector {
        self.first.covered()
    }
    fn log_floor(&self) -> VersionVector {
        self.first.log_floor()
    }
    fn supported_protocols(&self) -> Vec<SyncProtocolKind> {
        self.first.supported_protocols()
    }
}
