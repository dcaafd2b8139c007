//! The checks of what a replica remembers, claims and has still to do.

use super::*;
use crate::node::SessionNote;
use std::sync::Arc;
use sync_sim_engine::actor::{Actor, Commit, Context, Effects, Input, Outgoing};
use syncline_sync::{Frame, Gossip, Message};
use syncline_types::Moment;

impl Pair {
    /// Feeds an input to a node. Gives the frames that it sends.
    fn feed(&mut self, node: NodeId, input: Input<'_, Write>) -> Vec<Outgoing> {
        let mut choices = Choices::seeded(u64::from(node.0));
        let entropy = &mut choices.source(Stream::Node(node.0));
        let mut effects = Effects::default();
        let mut context = Context::new(Moment::at(self.now), entropy, Commit::Durable);
        self.nodes[node.index()].step(input, &mut context, &mut effects);
        effects.messages
    }

    /// Both nodes start and reach each other.
    fn link(&mut self) {
        let all: Arc<[NodeId]> = [A, B].into();
        for node in [A, B] {
            self.feed(node, Input::Start);
            self.feed(node, Input::Peers { members: all.clone(), reachable: all.clone() });
        }
    }

    /// A heartbeat of bob with this root.
    fn heartbeat(root: Digest) -> Arc<[u8]> {
        let message =
            Message::Gossip(Gossip::Heartbeat { root, replica: replica_id(B), seq: 0, clock: 0, wall_ms: 0 });
        Frame { incarnation: 1, message }.to_wire(context_id(0)).into()
    }

    /// What the checks say after alice has got this frame of bob.
    fn after_frame(&self, kind: FrameKind, bytes: &[u8], notices: &[Notice]) -> Option<Check> {
        let notices: Vec<_> =
            notices.iter().map(|notice| ContextNotice { context: 0, notice: notice.clone() }).collect();
        let step = CheckedStep {
            frame: Some((B, kind.into())),
            bytes: Some(bytes),
            accepted: true,
            notices: &notices,
            ..quiet(A)
        };
        after_step(&mut CheckMemory::default(), &step, self)
    }
}

/// A disk with other bytes in place of a stored delta.
fn with_delta(disk: &MemoryStore, delta: &Delta) -> MemoryStore {
    let mut disk = disk.clone();
    let mut batch = WriteBatch::default();
    let Dot { author, seq } = delta.dot;
    batch.put(Key::of(&[&[keys::METADATA + 1], author.as_bytes(), &seq.to_be_bytes()]), delta.to_bytes());
    disk.apply(batch).expect("memory takes any batch");
    disk
}

fn stored(disk: &MemoryStore, dot: Dot) -> Delta {
    let bytes = DeltaLog::read(disk, dot).expect("memory is readable").expect("it is stored");
    Delta::from_bytes(&bytes).expect("it is a delta")
}

/// Promises: I8
#[test]
fn write_names_what_its_author_had_applied() {
    let mut pair = Pair::new();
    let mut memory = CheckMemory::default();
    let accepted = [Notice::WriteAccepted { operations: Vec::new(), actions: Vec::new() }];
    pair.write(A);
    assert_eq!(pair.step(&mut memory, A, &accepted), None);
    // Bob has all that alice has.
    pair.nodes[1] = node(B, pair.replica(A).disk().clone());
    let second = pair.write(B);
    assert_eq!(pair.step(&mut memory, B, &accepted), None);
    let delta = Delta { parents: Vec::new(), ..stored(pair.replica(B).disk(), second) };
    pair.nodes[1] = node(B, with_delta(pair.replica(B).disk(), &delta));
    let found = pair.step(&mut memory, B, &accepted).expect("a finding");
    assert!(matches!(found, Check::CausalGap { .. }), "{found}");
}

/// Promises: I8
#[test]
fn applied_delta_needs_the_one_before_it() {
    let mut pair = Pair::new();
    let first = pair.write(A);
    let second = pair.write(A);
    let mut disk = pair.replica(A).disk().clone();
    let mut batch = WriteBatch::default();
    batch.delete(Key::of(&[&[keys::METADATA + 1], first.author.as_bytes(), &first.seq.to_be_bytes()]));
    disk.apply(batch).expect("memory takes any batch");
    pair.nodes[0] = node(A, disk);
    let applied = [Notice::DeltaApplied { delta: second, actions: 1 }];
    let found = pair.step(&mut CheckMemory::default(), A, &applied).expect("a finding");
    assert!(matches!(found, Check::CausalGap { .. }), "{found}");
}

/// Promises: I6
#[test]
fn delta_waits_for_the_session() {
    let mut pair = Pair::new();
    let delta = pair.write(B);
    pair.write(A);
    pair.link();
    let applied = [Notice::DeltaApplied { delta, actions: 1 }];
    let gossip = |pair: &Pair| pair.after_frame(FrameKind::Delta, &[], &applied);
    assert_eq!(gossip(&pair), None);
    // A session up to the first request after its handshake.
    pair.feed(A, Input::Frame { from: B, bytes: &Pair::heartbeat(pair.replica(B).root()) });
    pair.now = SimTime::from_secs(1);
    let asked = pair.feed(A, Input::Timer(crate::node::TimerId::PendingSync.number()));
    let answer = pair.feed(B, Input::Frame { from: A, bytes: &asked[0].bytes });
    pair.feed(A, Input::Frame { from: B, bytes: &answer[0].bytes });
    let found = gossip(&pair).expect("a finding");
    assert!(matches!(found, Check::AppliedDuringSync { .. }), "{found}");
}

/// Promises: B3
#[test]
fn overflow_leaves_a_sync() {
    let mut pair = Pair::new();
    let delta = pair.write(B);
    pair.link();
    let overflowed = [Notice::DeltaOverflowed { delta }];
    let found = pair.after_frame(FrameKind::Delta, &[], &overflowed).expect("a finding");
    assert!(matches!(found, Check::Neglected { .. }), "{found}");
    pair.feed(A, Input::Frame { from: B, bytes: &Pair::heartbeat(pair.replica(B).root()) });
    assert_eq!(pair.after_frame(FrameKind::Delta, &[], &overflowed), None);
}

#[test]
fn heartbeats_are_heeded() {
    let mut pair = Pair::new();
    pair.write(B);
    pair.link();
    let heartbeat = Pair::heartbeat(pair.replica(B).root());
    let found = pair.after_frame(FrameKind::Heartbeat, &heartbeat, &[]).expect("a finding");
    assert!(found.to_string().contains("does not remember"), "{found}");
    pair.feed(A, Input::Frame { from: B, bytes: &heartbeat });
    assert_eq!(pair.after_frame(FrameKind::Heartbeat, &heartbeat, &[]), None);
}

#[test]
fn work_needs_a_timer() {
    let mut pair = Pair::new();
    pair.write(B);
    pair.link();
    pair.has_timers = Some(false);
    let mut memory = CheckMemory::default();
    assert_eq!(pair.step(&mut memory, A, &[]), None, "there is no work");
    pair.feed(A, Input::Frame { from: B, bytes: &Pair::heartbeat(pair.replica(B).root()) });
    let found = pair.step(&mut memory, A, &[]).expect("a finding");
    assert!(matches!(found, Check::Neglected { .. }), "{found}");
    pair.has_timers = Some(true);
    assert_eq!(pair.step(&mut memory, A, &[]), None);
}

#[test]
fn overdue_session_is_found() {
    let mut pair = Pair::new();
    let end = |pair: &mut Pair, asked, holds_deltas| {
        let note = SessionNote { asked, holds_deltas, ..SessionNote::default() };
        pair.nodes[0].first_mut().end_session(B.into(), note);
        let stats = SessionStats { records_received: 100, ..SessionStats::default() };
        let pending = Outcome::SyncPending(RetryReason::NewerWrites);
        pair.step(&mut CheckMemory::default(), A, &[ended(B, pending, stats)])
    };
    // A minute is the deadline, and a hundred records are worth a second.
    assert_eq!(end(&mut pair, SimTime::from_secs(61), true), None);
    let found = end(&mut pair, SimTime::from_secs(62), true).expect("a finding");
    assert!(matches!(found, Check::Neglected { .. }), "{found}");
    // If no delta waits for it, it has 64 minutes more.
    assert_eq!(end(&mut pair, SimTime::from_secs(61 + 64 * 60), false), None);
    let found = end(&mut pair, SimTime::from_secs(62 + 64 * 60), false).expect("a finding");
    assert!(matches!(found, Check::Neglected { .. }), "{found}");
}

#[test]
fn memory_must_be_stored() {
    let mut pair = Pair::new();
    let before = pair.replica(A).disk().clone();
    let delta = pair.write(A);
    let accepted = [Notice::WriteAccepted { operations: Vec::new(), actions: Vec::new() }];
    assert_eq!(pair.step(&mut CheckMemory::default(), A, &accepted), None);
    // The node knows of a write that its disk has never got.
    pair.nodes[0].first_mut().replace_rows(before);
    let found = pair.step(&mut CheckMemory::default(), A, &[Notice::DeltaApplied { delta, actions: 1 }]);
    assert!(matches!(found, Some(Check::NotStored { .. })), "{found:?}");
}

#[test]
fn clock_behind_its_state_is_found() {
    let mut pair = Pair::new();
    pair.link();
    let set = Operation::Set { target: Target::named(b"late"), bytes: b"value".to_vec() };
    pair.feed(A, Input::Op(&Write::from(vec![set])));
    assert_eq!(inspect(&pair.nodes[0]), None);
    let mut disk = pair.replica(A).disk().clone();
    let mut batch = WriteBatch::default();
    batch.delete([keys::METADATA, 3][..].into());
    disk.apply(batch).expect("memory takes any batch");
    let found = inspect(&node(A, disk)).expect("a finding");
    assert!(matches!(found, Check::StampWrong { .. }), "{found}");
}

fn snapshot_ended() -> Notice {
    Notice::SessionEnded {
        peer: B.into(),
        started_at: SimTime::from_millis(5),
        outcome: Outcome::SyncPending(RetryReason::NewerWrites),
        protocol: Some(SyncProtocolKind::Snapshot),
        stats: SessionStats::default(),
    }
}

#[test]
fn snapshot_comes_from_a_peer_with_state() {
    let snapshot = |bob_writes: bool| {
        let mut pair = Pair::new();
        pair.write(A);
        if bob_writes {
            pair.write(B);
        }
        let mut memory = CheckMemory::default();
        assert_eq!(pair.step(&mut memory, A, &[Notice::SessionStarted { peer: B.into() }]), None);
        pair.step(&mut memory, A, &[snapshot_ended()])
    };
    assert_eq!(snapshot(true), None);
    assert!(matches!(snapshot(false), Some(Check::ImpossibleOutcome { .. })));
}

#[test]
fn snapshot_obeys_the_drift_limit() {
    let mut pair = Pair::new();
    let strict = ReplicaConfig { max_drift_ms: 0, ..ReplicaConfig::new(context_id(0), replica_id(A)) };
    pair.nodes[0] = SimNode::new(A, strict, MemoryStore::default());
    // At 2 ms.
    pair.write(A);
    pair.now = SimTime::from_millis(1);
    let found = pair.step(&mut CheckMemory::default(), A, &[snapshot_ended()]).expect("a finding");
    assert!(matches!(found, Check::StampWrong { .. }), "{found}");
    let mut memory = CheckMemory::default();
    pair.now = SimTime::from_millis(2);
    assert_eq!(pair.step(&mut memory, A, &[]), None);
    pair.now = SimTime::from_millis(1);
    assert_eq!(pair.step(&mut memory, A, &[snapshot_ended()]), None, "the clock was set back");
}

#[test]
fn covered_writes_must_be_there() {
    let mut pair = Pair::new();
    pair.write(A);
    let disk = pair.replica(A).disk().clone();
    assert_eq!(of_states(&pair.view(&GiveUps::default())), None);
    // The log of alice without her records.
    let mut log = MemoryStore::default();
    let mut batch = WriteBatch::default();
    let rows = disk.range(&[keys::METADATA], &[0xff], 99).expect("memory is readable");
    let is_of_log = |key: &[u8]| key[0] == keys::METADATA + 1 || matches!(key[1], 1 | 4);
    let of_log = rows.into_iter().filter(|(key, _)| is_of_log(key));
    of_log.for_each(|(key, value)| batch.put(key, value.to_vec()));
    log.apply(batch).expect("memory takes any batch");
    pair.nodes[0] = node(A, log);
    let found = pair.step(&mut CheckMemory::default(), A, &[snapshot_ended()]).expect("a finding");
    assert!(matches!(found, Check::FalseCoverage { .. }), "{found}");
    let found = of_states(&pair.view(&GiveUps::default())).expect("a finding");
    assert!(matches!(found, Check::FalseCoverage { .. }), "{found}");
}

#[test]
fn forged_signature_is_found() {
    let mut roles = HostileRoles::default();
    roles.add(B, true, false);
    let roles = Arc::new(roles);
    let signing = |disk: MemoryStore| {
        let mut node = node(A, disk).with_own_key();
        node.set_roles(&roles);
        node
    };
    let mut pair = Pair::new();
    pair.nodes[0] = signing(MemoryStore::default());
    let dot = pair.write(A);
    assert_eq!(inspect(&pair.nodes[0]), None);
    let mut delta = stored(pair.replica(A).disk(), dot);
    delta.signature.0[9] ^= 1;
    let found = inspect(&signing(with_delta(pair.replica(A).disk(), &delta))).expect("a finding");
    assert!(matches!(found, Check::Unsigned { .. }), "{found}");
}
