//! Each check reports what it is there for. A replica with a bug is imitated by its disk, its notices or its steps.

mod edits;
mod promises;
mod walks;

use super::*;
use crate::budgets::IdlePauses;
use crate::node::{SimNode, SimReplica, context_id, replica_id};
use crate::oracle::{Acknowledgement, Oracle};
use crate::workload::Write;
use sync_sim_engine::network::{DropCause, Fates};
use sync_sim_engine::random::{Choices, Stream};
use sync_sim_engine::world::{FrameSize, ProgressCount};
use syncline_replica::{FrameKind, Item, Notice, Operation, ReplicaConfig, Target, Timer};
use syncline_storage::{Action, Slot, keys};
use syncline_store::{Key, MemoryStore, ReadView, Store, WriteBatch};
use syncline_sync::{
    Delta, DeltaLog, Dot, FailureReason, LocalSyncState, Outcome, RetryReason, SessionStats,
    SyncProtocolKind, VersionVector,
};
use syncline_types::{Decode, Digest, Encode, EntityId, Hlc, SimDuration, SimTime};

pub(super) const A: NodeId = NodeId(0);
pub(super) const B: NodeId = NodeId(1);

/// Two nodes, and what a test wants the checks to see of them.
pub(super) struct Pair {
    pub(super) nodes: [SimNode; 2],
    now: SimTime,
    progress: ProgressCount,
    frame_limit: usize,
    roles: HostileRoles,
    fates: Fates,
    /// The bytes that both have sent.
    sent: u64,
    pub(super) oracle: Oracle,
    /// Whether the timers of replicas are set, if checks may know it.
    has_timers: Option<bool>,
}

pub(super) fn node(node: NodeId, disk: MemoryStore) -> SimNode {
    SimNode::new(node, ReplicaConfig::new(context_id(0), replica_id(node)), disk)
}

impl Pair {
    pub(super) fn new() -> Self {
        Self {
            nodes: [A, B].map(|id| node(id, MemoryStore::default())),
            now: SimTime::from_millis(10),
            progress: ProgressCount::default(),
            frame_limit: 1_000,
            roles: HostileRoles::default(),
            fates: Fates::default(),
            sent: 0,
            oracle: Oracle::default(),
            has_timers: None,
        }
    }

    /// A node writes a value of its own. Gives the delta.
    pub(super) fn write(&mut self, author: NodeId) -> Dot {
        let target = Target::named(format!("by {author}").as_bytes());
        self.acknowledge(author, Operation::Set { target, bytes: b"value".to_vec() });
        let author = replica_id(author);
        Dot { author, seq: self.nodes[0].covered().of(author).max(self.nodes[1].covered().of(author)) }
    }

    /// A node accepts an operation, and the oracle hears of it.
    pub(super) fn acknowledge(&mut self, author: NodeId, operation: Operation) {
        let (operations, actions) = self.accept(author, operation);
        let seen = self.nodes[author.index()].in_context(0).covered();
        let acknowledgement =
            Acknowledgement { node: author, author: replica_id(author), at: SimTime::ZERO, seen };
        self.oracle.acknowledge(acknowledgement, operations, actions);
    }

    /// A node accepts an operation. Gives what it reports.
    pub(super) fn accept(&mut self, author: NodeId, operation: Operation) -> (Vec<Operation>, Vec<Action>) {
        let write = Write::from(vec![operation]);
        let mut choices = Choices::seeded(u64::from(author.0));
        let entropy = &mut choices.source(Stream::Scenario);
        let actor = &mut self.nodes[author.index()];
        actor.write_before_start(&write, 0, entropy).expect("it is accepted")
    }

    pub(super) fn replica(&self, id: NodeId) -> &SimReplica {
        self.nodes[id.index()].in_context(0)
    }

    pub(super) fn step(&self, memory: &mut CheckMemory, node: NodeId, notices: &[Notice]) -> Option<Check> {
        let notices: Vec<_> =
            notices.iter().map(|notice| ContextNotice { context: 0, notice: notice.clone() }).collect();
        after_step(memory, &CheckedStep { notices: &notices, ..quiet(node) }, self)
    }

    pub(super) fn view<'a>(&'a self, give_ups: &'a GiveUps) -> ContextView<'a> {
        let inspect = |id| InspectedReplica::of(self.name(id), self.replica(id));
        ContextView {
            context: 0,
            contexts: 1,
            nodes: [A, B].map(inspect).into(),
            seed: 0,
            turn: 0,
            oracle: &self.oracle,
            joined: None,
            certain: None,
            has_collected: false,
            roles: &self.roles,
            is_complete: true,
            is_undisturbed: true,
            give_ups,
            hazards: Hazards::NONE,
        }
    }
}

/// A step in which nothing happens.
const fn quiet(node: NodeId) -> CheckedStep<'static> {
    CheckedStep {
        node: Some(node),
        notices: &[],
        frame: None,
        bytes: None,
        accepted: false,
        refused: None,
        corrupt: false,
        stale_accepted: false,
        went_down: false,
        undone: false,
        largest_sent: None,
    }
}

impl Watched for Pair {
    fn now(&self) -> SimTime {
        self.now
    }

    fn wall_ms(&self, _: NodeId) -> u64 {
        self.now.as_millis()
    }

    fn name(&self, node: NodeId) -> String {
        ["alice", "bob"][node.index()].to_owned()
    }

    fn name_in(&self, _: usize, node: NodeId) -> String {
        self.name(node)
    }

    fn nodes(&self) -> usize {
        self.nodes.len()
    }

    fn actor(&self, node: NodeId) -> Option<&SimNode> {
        self.nodes.get(node.index())
    }

    fn root_in(&self, _: usize, node: NodeId) -> Digest {
        self.replica(node).root()
    }

    fn had_root(&self, context: usize, (_, peer): (NodeId, NodeId), root: Digest, _: SimTime) -> bool {
        self.root_in(context, peer) == root
    }

    fn roles(&self) -> &HostileRoles {
        &self.roles
    }

    fn is_catching_up(&self, _: usize, _: NodeId) -> bool {
        false
    }

    fn has_losses(&self, _: usize) -> bool {
        false
    }

    fn joined_root(&self, _: usize, node: NodeId, covered: &VersionVector, horizon: Hlc) -> Option<Digest> {
        self.oracle.joined_root(node, covered, horizon).ok()
    }

    fn honest_replicas(&self) -> u64 {
        2
    }

    fn records(&self) -> u64 {
        self.nodes.iter().map(LocalSyncState::entity_count).sum()
    }

    fn progress(&self) -> ProgressCount {
        self.progress
    }

    fn last_arrival(&self) -> SimTime {
        SimTime::ZERO
    }

    fn is_undisturbed(&self) -> bool {
        true
    }

    fn is_quiet(&self) -> bool {
        false
    }

    fn frame_limit(&self) -> usize {
        self.frame_limit
    }

    fn bytes_sent(&self) -> Option<u64> {
        Some(self.sent)
    }

    fn bytes_put(&self) -> u64 {
        0
    }

    fn idle_pauses(&self) -> IdlePauses {
        IdlePauses { heartbeat: SimDuration::from_secs(30), backoff: SimDuration::from_secs(30) }
    }

    fn fates(&self) -> Option<&Fates> {
        Some(&self.fates)
    }

    fn has_collected(&self, _: usize) -> bool {
        false
    }

    fn has_timer(&self, _: &SimReplica, _: Timer) -> Option<bool> {
        self.has_timers
    }

    fn oracle(&self, _: usize) -> Option<&Oracle> {
        Some(&self.oracle)
    }
}

fn ended(peer: NodeId, outcome: Outcome, stats: SessionStats) -> Notice {
    let protocol = Some(SyncProtocolKind::DeltaSync);
    Notice::SessionEnded { peer: peer.into(), started_at: SimTime::from_millis(5), outcome, protocol, stats }
}

/// The disk of a node that has written, after a change.
fn changed_disk(change: impl FnOnce(&MemoryStore, &mut WriteBatch)) -> SimNode {
    let mut pair = Pair::new();
    pair.write(A);
    let mut disk = pair.replica(A).disk().clone();
    let mut batch = WriteBatch::default();
    change(&disk, &mut batch);
    disk.apply(batch).expect("memory takes any batch");
    node(A, disk)
}

fn inspect(node: &SimNode) -> Option<Check> {
    of_replica(&InspectedReplica::of("alice".to_owned(), node.in_context(0)), &mut RowScratch::default())
}

#[test]
fn sound_replica_passes() {
    assert_eq!(inspect(&changed_disk(|_, _| {})), None);
}

/// Promises: L4
#[test]
fn outlived_order_row_is_found() {
    let id = EntityId::from_u64(9);
    let node = changed_disk(|_, batch| batch.put(keys::order(Slot::First, EntityId::ROOT, b"key", id), []));
    let found = inspect(&node).expect("a finding");
    assert!(matches!(found, Check::RowDrifted { .. }), "{found}");
    assert!(found.to_string().contains(&format!("the order row of {id} below")), "{found}");
}

#[test]
fn scratch_reports_own_rows_only() {
    let sound = changed_disk(|_, _| {});
    let id = EntityId::from_u64(9);
    let wrong = changed_disk(|_, batch| batch.put(keys::order(Slot::First, EntityId::ROOT, b"key", id), []));
    let mut scratch = RowScratch::default();
    let mut of = |node: &SimNode| {
        of_replica(&InspectedReplica::of("alice".to_owned(), node.in_context(0)), &mut scratch)
    };
    assert_eq!(of(&sound), None);
    assert!(of(&wrong).is_some());
    assert_eq!(of(&sound), None);
    assert_eq!(of(&node(A, MemoryStore::default())), None);
}

/// Promises: I8
#[test]
fn missing_delta_is_a_gap() {
    let node = changed_disk(|disk, batch| {
        let deltas = disk.range(&[keys::METADATA + 1], &[keys::METADATA + 2], 9).expect("memory");
        deltas.into_iter().filter(|(key, _)| key.len() > 16).for_each(|(key, _)| batch.delete(key));
    });
    let found = inspect(&node).expect("a finding");
    assert!(matches!(found, Check::CausalGap { .. }), "{found}");
}

/// Removes what a disk says about the deltas that its state covers.
pub(super) fn without_log(disk: &MemoryStore) -> WriteBatch {
    let mut batch = WriteBatch::default();
    batch.delete([keys::METADATA, 1][..].into());
    let authors = disk.range(&[keys::METADATA, 4], &[keys::METADATA, 5], 99).expect("memory is readable");
    authors.into_iter().for_each(|(key, _)| batch.delete(key));
    batch
}

/// Promises: I8
#[test]
fn applied_delta_needs_its_parents() {
    let mut pair = Pair::new();
    let first = pair.write(A);
    let second = pair.write(A);
    let applied = |delta| Notice::DeltaApplied { delta, actions: 1 };
    let mut memory = CheckMemory::default();
    assert_eq!(pair.step(&mut memory, A, &[applied(second)]), None);
    // The deltas of A on a disk whose log covers nothing.
    let mut disk = pair.replica(A).disk().clone();
    disk.apply(without_log(&disk)).expect("memory takes any batch");
    pair.nodes[1] = node(B, disk);
    assert_eq!(pair.step(&mut memory, B, &[applied(first)]), None);
    let found = pair.step(&mut memory, B, &[applied(second)]).expect("a finding");
    assert!(matches!(found, Check::CausalGap { .. }), "{found}");
}

#[test]
fn wrong_stamps_are_found() {
    let mut pair = Pair::new();
    let first = pair.write(A);
    let second = pair.write(A);
    let applied = |delta| [Notice::DeltaApplied { delta, actions: 1 }];
    let mut memory = CheckMemory::default();
    assert_eq!(pair.step(&mut memory, A, &applied(second)), None);
    // The first delta gets a stamp ahead of the clocks, and of the second delta.
    let mut disk = pair.replica(A).disk().clone();
    let bytes = DeltaLog::read(&disk, first).expect("memory is readable").expect("it is stored");
    let mut delta = Delta::from_bytes(&bytes).expect("it is a delta");
    delta.stamp = Hlc::new(50_000, 0, first.author);
    let mut batch = WriteBatch::default();
    let key = Key::of(&[&[keys::METADATA + 1], first.author.as_bytes(), &first.seq.to_be_bytes()]);
    batch.put(key, delta.to_bytes());
    disk.apply(batch).expect("memory takes any batch");
    pair.nodes[0] = node(A, disk);
    for (delta, seconds) in [(first, 1), (second, 60)] {
        pair.now = SimTime::from_secs(seconds);
        let found = pair.step(&mut memory, A, &applied(delta)).expect("a finding");
        assert!(matches!(found, Check::StampWrong { .. }), "{found}");
    }
    assert_eq!(pair.step(&mut memory, A, &applied(first)), None, "its time has come");
}

/// Promises: C6
#[test]
fn misplaced_edits_are_found() {
    let mut pair = Pair::new();
    let text = |at| Operation::InsertText { target: Target::named(b"text"), at, text: "ab".to_owned() };
    let item = |at| {
        let item = Item::Bytes(b"item".to_vec());
        Operation::InsertItem { list: Target::named(b"list"), at, item }
    };
    let mut memory = CheckMemory::default();
    for operation in [&text as &dyn Fn(usize) -> Operation, &item] {
        pair.accept(A, operation(0));
        let (operations, actions) = pair.accept(A, operation(1));
        let accepted = |operations| [Notice::WriteAccepted { operations, actions: actions.clone() }];
        assert_eq!(pair.step(&mut memory, A, &accepted(operations)), None);
        let found = pair.step(&mut memory, A, &accepted(vec![operation(0)])).expect("a finding");
        assert!(matches!(found, Check::EditMisplaced { .. }), "{found}");
    }
}

/// Promises: G2
#[test]
fn frame_above_the_limit_is_found() {
    let pair = Pair::new();
    let sent = |bytes| {
        let frame = FrameSize { to: B, kind: FrameKind::Exchange.into(), bytes };
        let step = CheckedStep { largest_sent: Some(frame), ..quiet(A) };
        after_step(&mut CheckMemory::default(), &step, &pair)
    };
    assert_eq!(sent(1_000), None);
    assert!(matches!(sent(1_001), Some(Check::FrameTooLarge { bytes: 1_001, limit: 1_000, .. })));
}

#[test]
fn refused_and_taken_frames_are_found() {
    let pair = Pair::new();
    let find = |step| after_step(&mut CheckMemory::default(), &step, &pair);
    let refused = |cause| find(CheckedStep { refused: Some(cause), frame: Some((B, 0)), ..quiet(A) });
    assert_eq!(refused(DropCause::DuplicateSuppressed), None);
    assert!(matches!(refused(DropCause::Malformed), Some(Check::HonestFrameRefused { .. })));
    let corrupt = find(CheckedStep { corrupt: true, accepted: true, ..quiet(A) });
    assert!(matches!(corrupt, Some(Check::CorruptFrameAccepted { .. })));
    let stale = find(CheckedStep { stale_accepted: true, accepted: true, ..quiet(A) });
    assert!(matches!(stale, Some(Check::StaleFrameAccepted { .. })));
}

#[test]
fn sessions_end_in_known_ways() {
    let pair = Pair::new();
    let find =
        |outcome| pair.step(&mut CheckMemory::default(), A, &[ended(B, outcome, SessionStats::default())]);
    assert_eq!(find(Outcome::Converged { root: Digest::ZERO }), None);
    let other = Outcome::Converged { root: Digest::of(0, b"another") };
    assert!(matches!(find(other), Some(Check::FalseSuccess { .. })));
    assert_eq!(find(Outcome::Failed(FailureReason::Timeout)), None);
    assert!(matches!(find(Outcome::Failed(FailureReason::TooLong)), Some(Check::ImpossibleOutcome { .. })));
}

/// Promises: I2
#[test]
fn pending_syncs_come_to_an_end() {
    let mut pair = Pair::new();
    let mut watch = ProgressWatch::default();
    let pending = ended(B, Outcome::SyncPending(RetryReason::NewerWrites), SessionStats::default());
    let converged = ended(B, Outcome::Converged { root: Digest::ZERO }, SessionStats::default());
    let mut end = |pair: &Pair, notice: &Notice| {
        let notices = [ContextNotice { context: 0, notice: notice.clone() }];
        after_progress(&mut watch, &CheckedStep { notices: &notices, ..quiet(A) }, pair)
    };
    // The states move all the time, so that no sticky loop is seen.
    let mut repeat = |pair: &mut Pair, times: u32| {
        (0..times).find_map(|_| {
            pair.progress.changes += 1;
            end(pair, &pending)
        })
    };
    assert_eq!(repeat(&mut pair, 31), None);
    pair.progress.outside += 1;
    assert_eq!(repeat(&mut pair, 31), None, "a write or a fault explains it");
    let found = repeat(&mut pair, 1).expect("a finding");
    assert!(matches!(found, Check::EndlessPending { times: 32, .. }), "{found}");
    assert_eq!(end(&pair, &converged), None);
}

/// Promises: I2
#[test]
fn long_session_is_yielded_to_once() {
    let pair = Pair::new();
    let mut watch = ProgressWatch::default();
    let mut take = |node, notice| {
        let notices = [ContextNotice { context: 0, notice }];
        after_progress(&mut watch, &CheckedStep { notices: &notices, ..quiet(node) }, &pair)
    };
    let pending = |peer, reason| ended(peer, Outcome::SyncPending(reason), SessionStats::default());
    let mut repeat = |times, notice: &Notice, node| (0..times).find_map(|_| take(node, notice.clone()));
    let yielded = pending(B, RetryReason::Yielded);
    assert_eq!(repeat(1, &Notice::SessionStarted { peer: A.into() }, B), None);
    assert_eq!(repeat(40, &yielded, A), None, "bob's session goes on");
    assert_eq!(repeat(1, &pending(A, RetryReason::NewerWrites), B), None);
    assert_eq!(repeat(30, &yielded, A), None);
    let found = repeat(1, &yielded, A).expect("a finding");
    assert!(matches!(found, Check::EndlessPending { times: 32, .. }), "{found}");
}

/// Promises: B3
#[test]
fn dropped_delta_must_come_back() {
    let mut pair = Pair::new();
    let dot = pair.write(B);
    let mut memory = CheckMemory::default();
    let dropped = Notice::PendingDeltasDropped { deltas: vec![dot] };
    assert_eq!(pair.step(&mut memory, A, &[dropped]), None);
    let found = at_stop(&pair.view(&memory.give_ups), false);
    assert!(matches!(found, Some(Check::GaveUp { .. })), "{found:?}");
    // Alice has got the state in another way.
    pair.nodes[0] = node(A, pair.replica(B).disk().clone());
    assert_eq!(at_stop(&pair.view(&memory.give_ups), false), None);
}

#[test]
fn dropped_sync_must_be_made_up() {
    let mut pair = Pair::new();
    pair.write(B);
    let mut memory = CheckMemory::default();
    let failed = ended(B, Outcome::Failed(FailureReason::LeftBehind), SessionStats::default());
    assert!(pair.step(&mut memory, A, &[failed]).is_some());
    let found = at_stop(&pair.view(&memory.give_ups), false);
    assert!(matches!(found, Some(Check::GaveUp { .. })), "{found:?}");
    let root = pair.replica(B).root();
    let converged = ended(B, Outcome::Converged { root }, SessionStats::default());
    assert_eq!(pair.step(&mut memory, A, &[converged]), None);
    assert_eq!(at_stop(&pair.view(&memory.give_ups), false), None);
}

/// Promises: C6
#[test]
fn lost_write_is_not_durable() {
    let mut pair = Pair::new();
    pair.write(B);
    let give_ups = GiveUps::default();
    assert_eq!(of_states(&pair.view(&give_ups)), None);
    pair.write(A);
    assert_eq!(of_states(&pair.view(&give_ups)), None, "the union has both");
    pair.nodes[1] = node(B, MemoryStore::default());
    let found = of_states(&pair.view(&give_ups));
    assert!(matches!(found, Some(Check::NotDurable { .. })), "{found:?}");
}

/// Promises: C6
#[test]
fn wrong_value_is_found() {
    let mut pair = Pair::new();
    pair.write(A);
    pair.nodes[1] = node(B, pair.replica(A).disk().clone());
    let give_ups = GiveUps::default();
    assert_eq!(at_stop(&pair.view(&give_ups), true), None);
    pair.nodes = [A, B].map(|id| node(id, MemoryStore::default()));
    let found = at_stop(&pair.view(&give_ups), true);
    assert!(matches!(found, Some(Check::Lost { .. } | Check::WrongValue { .. })), "{found:?}");
}

#[test]
fn costs_above_budgets_are_found() {
    let mut node = node(A, MemoryStore::default());
    let mut choices = Choices::seeded(1);
    let mut insert = |text: String| {
        let target = Target::named(b"document");
        let write = Write::from(vec![Operation::InsertText { target, at: 0, text }]);
        node.write_before_start(&write, 0, &mut choices.source(Stream::Scenario)).expect("it is accepted");
        inspect(&node)
    };
    assert_eq!(insert("a".repeat(20_000)), None, "a paste costs in proportion to its length");
    let found = insert("b".to_owned());
    assert!(matches!(found, Some(Check::OverBudget { .. })), "{found:?}");
    assert_eq!(found.map(|found| found.name()), Some("OverBudget(write bytes)"));
}

/// Promises: G4
#[test]
fn idle_traffic_is_found() {
    let mut pair = Pair::new();
    let mut watch = ProgressWatch::default();
    assert_eq!(after_progress(&mut watch, &quiet(A), &pair), None);
    pair.sent = 1 << 20;
    let found = after_progress(&mut watch, &quiet(A), &pair).expect("a finding");
    assert_eq!(found.name(), "OverBudget(idle bytes)");
    pair.progress.outside += 1;
    assert_eq!(after_progress(&mut watch, &quiet(A), &pair), None, "a write explains traffic");
    let mut since = IdleTraffic::default();
    since.on_progress(pair.now, pair.sent);
    assert_eq!(of_silence(&since, &pair), None);
    pair.sent += 64 << 10;
    assert!(matches!(of_silence(&since, &pair), Some(Check::OverBudget { .. })));
}

/// Promises: G5
#[test]
fn disk_without_content_is_found() {
    let mut pair = Pair::new();
    pair.write(A);
    pair.nodes[1] = node(B, pair.replica(A).disk().clone());
    let give_ups = GiveUps::default();
    assert_eq!(at_stop(&pair.view(&give_ups), true), None);
    let mut disk = pair.replica(A).disk().clone();
    let mut batch = WriteBatch::default();
    batch.put([keys::METADATA + 2][..].into(), vec![0; 1 << 20]);
    disk.apply(batch).expect("memory takes any batch");
    pair.nodes[0] = node(A, disk);
    assert_eq!(at_stop(&pair.view(&give_ups), false), None);
    let found = at_stop(&pair.view(&give_ups), true).expect("a finding");
    assert_eq!(found.name(), "OverBudget(disk bytes)");
}
