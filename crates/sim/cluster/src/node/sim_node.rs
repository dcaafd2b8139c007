//! A node: a host with one or more contexts.

use crate::disk_view::CheckedDiskView;
use crate::hostile::{Adversary, AttackPlan, HostileRoles};
use crate::node::context_header::{self, HeaderError};
use crate::node::sim_replica::{ContextNotice, SimReplica};
use crate::node::timer_id::{self, TimerId};
use crate::wording::write_words;
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

/// A host with one or more contexts, each with its own [`SimReplica`] that knows nothing of the others.
///
/// The contexts share the host. A crash takes all of them down; they share the clock, the pace, the links, the inbox
/// and the disk. A disk fault affects whatever a step writes, in whichever context, and a node that must make a fresh
/// start makes it in all contexts. Each context has its own journal on the disk, so a sync of one says nothing about
/// the commits of another.
///
/// Methods that name no context are about the first one.
#[derive(Clone, Debug)]
pub struct SimNode {
    first: SimReplica,
    others: Vec<SimReplica>,
    /// The context of the last input.
    latest: u8,
}

/// The id of the context of this number. Ids differ in byte 7 only, the last of the bytes that a frame carries.
pub fn context_id(number: usize) -> ContextId {
    let mut context = ContextId([0xca; 32]);
    context.0[7] ^= number as u8;
    context
}

impl SimNode {
    /// The node `node` with one context and the contents of its disk.
    pub fn new(node: NodeId, config: ReplicaConfig, disk: MemoryStore) -> Self {
        Self { first: SimReplica::new(node, 0, config, disk), others: Vec::new(), latest: 0 }
    }

    /// Adds one more context, up to [`MOST_CONTEXTS`], with the contents of its disk. All nodes of a run have the same
    /// contexts in the same order.
    ///
    /// # Panics
    ///
    /// If the node has that many contexts already.
    pub fn with_context(mut self, node: NodeId, config: ReplicaConfig, disk: MemoryStore) -> Self {
        let number = self.contexts();
        assert!(number < MOST_CONTEXTS, "a node keeps up to {MOST_CONTEXTS} contexts");
        self.others.push(SimReplica::new(node, number as u8, config, disk));
        self
    }

    /// The replica of the first context, to imitate one with a bug.
    #[cfg(test)]
    pub(crate) const fn first_mut(&mut self) -> &mut SimReplica {
        &mut self.first
    }

    /// The number of contexts.
    pub fn contexts(&self) -> usize {
        1 + self.others.len()
    }

    /// The replica of each context, in order.
    pub fn replicas(&self) -> impl Iterator<Item = &SimReplica> {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn replicas_mut(&mut self) -> impl Iterator<Item = &mut SimReplica> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }

    /// The replica of the context of this number, from 0.
    ///
    /// # Panics
    ///
    /// If the node has no such context.
    pub fn in_context(&self, number: usize) -> &SimReplica {
        let contexts = self.contexts();
        self.replica_of(number)
            .unwrap_or_else(|| panic!("there is no context {number}; this node keeps {contexts}"))
    }

    pub(crate) fn replica_of(&self, number: usize) -> Option<&SimReplica> {
        self.replicas().nth(number)
    }

    /// Sets whether tombstones are collected once every member has seen the delete.
    pub fn with_tombstone_collection(mut self, collects: bool) -> Self {
        self.replicas_mut().for_each(|replica| replica.set_tombstone_collection(collects));
        self
    }

    /// Sets whether the node detects that its disk has lost commits and makes a fresh start then.
    pub(crate) fn with_loss_detection(mut self, notices: bool) -> Self {
        self.replicas_mut().for_each(|replica| replica.set_loss_detection(notices));
        self
    }

    /// Makes the node sign with its own key instead of the group key.
    pub(crate) fn with_own_key(mut self) -> Self {
        self.replicas_mut().for_each(SimReplica::use_own_key);
        self
    }

    /// Makes the node, which is hostile, sign with another key than the one that all others share.
    pub(crate) fn forget_group_key(&mut self) {
        self.replicas_mut().for_each(SimReplica::forget_group_key);
    }

    /// Sets which nodes of the run are hostile. The real replicas do not learn it.
    pub(crate) fn set_roles(&mut self, roles: &Arc<HostileRoles>) {
        self.replicas_mut().for_each(|replica| replica.set_roles(roles));
    }

    /// Makes the node hostile: it lies in each context independently, and follows the script in the first.
    pub(crate) fn turn_hostile(&mut self, plan: &AttackPlan) {
        for replica in self.replicas_mut() {
            // A script counts frames, so only one replica follows it.
            let script = if replica.number() == 0 { plan.script.clone() } else { Vec::new() };
            replica.turn_hostile(AttackPlan { script, ..plan.clone() });
        }
    }

    /// The adversary of each context, if the node is hostile.
    pub fn adversaries(&self) -> impl Iterator<Item = &Adversary> {
        self.replicas().filter_map(SimReplica::adversary)
    }

    /// Adds the replica id under which another node has made a fresh start to the membership.
    pub fn add_member(&mut self, replica: ReplicaId) {
        self.replicas_mut().for_each(|sim_replica| sim_replica.add_member(replica));
    }

    /// The node does not know yet that another one is a member.
    pub(crate) fn set_unnamed(&mut self, node: NodeId) {
        self.replicas_mut().for_each(|replica| replica.set_unnamed(node));
    }

    /// The node learns that another one is a member.
    pub(crate) fn name_member(&mut self, node: NodeId) {
        self.replicas_mut().for_each(|replica| replica.name_member(node));
    }

    /// Changes the settings of the replicas and recovers them with the new ones.
    pub(crate) fn configure(&mut self, change: &mut dyn FnMut(&mut ReplicaConfig)) {
        self.replicas_mut().for_each(|replica| replica.configure(change));
    }

    /// Has the application write before the node first starts, when its wall clock shows `wall_ms`: the write is
    /// durable, and no other node knows it. Returns the operations and actions if the write was accepted.
    pub fn write_before_start(
        &mut self,
        write: &Write,
        wall_ms: u64,
        choices: &mut dyn Entropy,
    ) -> Option<(Vec<Operation>, Vec<Action>)> {
        self.replicas_mut().nth(write.context)?.write_before_start(write, wall_ms, choices)
    }

    /// The rows of a context that survive a crash now: none, if the node would make a fresh start then.
    pub(crate) fn durable(&self, context: usize) -> MemoryStore {
        let surviving = self.replica_of(context).filter(|_| !self.must_start_fresh());
        surviving.map(|replica| replica.durable().clone()).unwrap_or_default()
    }

    /// Whether the node makes a fresh start when it next restarts. Its contexts share one disk, so they all do or none.
    fn must_start_fresh(&self) -> bool {
        self.replicas().any(SimReplica::must_start_fresh)
    }

    /// The replica id of the node, and the number of its fresh starts.
    pub const fn identity(&self) -> (ReplicaId, u16) {
        self.first.identity()
    }

    /// How often the node was brought back under a new replica id.
    pub(crate) const fn returns(&self) -> u16 {
        self.first.returns()
    }

    /// The effects of disk faults so far.
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
    pub const fn replica(&self) -> Option<&Replica<CheckedDiskView>> {
        self.first.replica()
    }

    /// The rows of the first context on disk.
    pub const fn disk(&self) -> &MemoryStore {
        self.first.disk()
    }

    /// The state on disk, for reading.
    pub fn state(&self) -> Result<Interface<CheckedDiskView>, StorageError> {
        self.first.state()
    }

    /// The record of an entity on disk.
    pub fn record(&self, id: EntityId) -> Result<Option<Arc<Record>>, StorageError> {
        self.first.record(id)
    }

    /// The cost of all steps, in all contexts and over all restarts.
    pub fn cost(&self) -> StepCost {
        self.replicas().map(SimReplica::cost).sum()
    }

    /// The error with which a replica stopped by itself, if one did.
    pub fn stopped(&self) -> Option<&str> {
        self.replicas().find_map(SimReplica::stopped)
    }

    /// The number of entities that an application sees, in all contexts. O(n).
    pub fn visible_entities(&self) -> Result<usize, StorageError> {
        self.replicas().map(SimReplica::visible_entities).sum()
    }
}

impl SimNode {
    /// Feeds an input to the replica of one context, and marks the effects with that context.
    fn step_one(
        &mut self,
        number: u8,
        input: Input<'_, Write>,
        context: &mut Context<'_>,
    ) -> Effects<ContextNotice> {
        self.latest = number;
        let Some(replica) = self.replicas_mut().nth(usize::from(number)) else {
            unreachable!("inputs are routed to contexts of the node, not to {number}")
        };
        let mut effects = replica.step(input, context);
        if !self.others.is_empty() {
            address(number, &mut effects);
        }
        effects
    }

    /// Feeds an input to the replica of each context, in order, until one fails: that fails the node.
    fn step_all<'a>(
        &mut self,
        input: impl Fn() -> Input<'a, Write>,
        context: &mut Context<'_>,
    ) -> Effects<ContextNotice> {
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

    /// Routes a frame to the replica of its context.
    fn take_frame(
        &mut self,
        from: NodeId,
        bytes: &Bytes,
        context: &mut Context<'_>,
    ) -> Effects<ContextNotice> {
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

    /// Routes a write of the application to the replica of its context.
    fn take_write(&mut self, write: &Write, context: &mut Context<'_>) -> Effects<ContextNotice> {
        // Only a runtime checks the number beforehand; the engine runs nodes without one, too.
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

/// The effects of a write to a context that the node does not have.
fn refused(context: u8) -> Effects<ContextNotice> {
    let notice = Notice::WriteRefused { error: OperationError::NoSuchContext };
    Effects { notices: vec![ContextNotice { context, notice }], ..Effects::default() }
}

const fn cause_of(error: HeaderError) -> DropCause {
    match error {
        HeaderError::Short { .. } | HeaderError::Damaged => DropCause::Corrupt,
        HeaderError::Unknown { .. } => DropCause::OtherContext,
    }
}

/// Marks frames and timers with their context. A frame that goes to many peers is copied once.
fn address(number: u8, effects: &mut Effects<ContextNotice>) {
    // Frames of one broadcast share their bytes and follow each other.
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
        *id = timer_id::in_context(*id, number);
    }
}

impl Actor for SimNode {
    type Op = Write;
    type Notice = ContextNotice;

    fn step(
        &mut self,
        input: Input<'_, Write>,
        context: &mut Context<'_>,
        effects: &mut Effects<ContextNotice>,
    ) {
        *effects = match input {
            Input::Start => self.step_all(|| Input::Start, context),
            Input::Peers { members, reachable } => self.step_all(
                || Input::Peers { members: members.clone(), reachable: reachable.clone() },
                context,
            ),
            Input::Frame { from, bytes } => self.take_frame(from, bytes, context),
            Input::Timer(id) => {
                let (number, within) = timer_id::split(id);
                self.step_one(number, Input::Timer(within), context)
            }
            Input::Op(write) => self.take_write(write, context),
        };
    }

    fn crash(&mut self) {
        self.replicas_mut().for_each(SimReplica::crash);
    }

    fn restart(&mut self) {
        // Decided before any replica restarts, since the contexts share one disk.
        let fresh = self.must_start_fresh();
        let returns = self.replicas().any(SimReplica::must_return);
        self.replicas_mut().for_each(|replica| replica.restart(fresh, returns));
    }

    fn rot(&mut self, place: u64) -> bool {
        // `place` chooses the first context to try; where a context has no row, the next is tried.
        let contexts = self.contexts() as u64;
        let from = (place % contexts) as usize;
        let place = place / contexts;
        let rots = |replica: &mut SimReplica| replica.rot(place);
        self.replicas_mut().skip(from).any(rots) || self.replicas_mut().take(from).any(rots)
    }

    fn scrub(&mut self) -> bool {
        self.replicas().any(SimReplica::is_corrupt)
    }

    fn restore_disk(&mut self, from: &Self) {
        self.replicas_mut().zip(from.replicas()).for_each(|(replica, from)| replica.restore_disk(from));
    }

    fn lose_disk(&mut self, counted: bool) {
        self.replicas_mut().for_each(|replica| replica.lose_disk(counted));
    }

    fn digest(&self) -> Digest {
        if self.others.is_empty() {
            return self.first.root();
        }
        let roots: Vec<u8> = self.replicas().flat_map(|replica| replica.root().0).collect();
        // A node that is empty in all contexts has the digest of an empty node with one context.
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

    fn op_in_words(op: &Write) -> Option<String> {
        Some(write_words(op))
    }

    fn timer_in_words(timer: u64) -> Option<String> {
        let (context, within) = timer_id::split(timer);
        let what = TimerId::from_number(within).words();
        Some(if context == 0 { what } else { format!("{what}, in context {context},") })
    }
}

/// The claims of the node in a handshake of its first context, read from disk.
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
