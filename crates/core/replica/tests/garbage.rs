//! Whatever comes off the wire ends in a typed refusal and leaves the state unchanged.

use proptest::collection::vec;
use proptest::prelude::*;
use syncline_crdt::{Register, Value};
use syncline_replica::{Event, Operation, Refusal, Replica, ReplicaConfig, SyncActions, Target};
use syncline_storage::{Action, Interface, Record};
use syncline_store::{MemoryStore, Store};
use syncline_sync::{
    Delta, DeltaRef, DeltaRefusal, Dot, ExchangeReply, ExchangeRequest, Frame, FrameError, Gossip, Link,
    Message, Request, RequestId, Response, SYNC_PROTOCOL_VERSION, SessionId, SnapshotPage, SyncHandshake,
    SyncProtocolKind, VersionVector, WireRecord,
};
use syncline_types::{
    Choice, ContextId, DeltaId, Digest, Encode, EntityId, Entropy, Hlc, Moment, PeerId, ReplicaId, SimTime,
    limits,
};

struct Fixed;

impl Entropy for Fixed {
    fn below(&mut self, _: Choice, bound: u64) -> u64 {
        bound / 2
    }
}

struct Host {
    replica: Replica<MemoryStore>,
    store: MemoryStore,
    now: u64,
}

const PEER: PeerId = PeerId(7);

impl Host {
    fn new() -> Self {
        let config = ReplicaConfig::new(ContextId::default(), ReplicaId::from_u64(1));
        let mut store = MemoryStore::default();
        let (replica, actions) = Replica::recover(config, &store).unwrap();
        store.apply(actions.storage).unwrap();
        let mut host = Self { replica, store, now: 1_000 };
        host.step(Event::Peers([PEER].into()));
        host.step(Event::Start);
        let target = Target::top(EntityId::from_u64(5));
        host.step(Event::Write(vec![Operation::Set { target, bytes: b"precious".to_vec() }]));
        host
    }

    fn step(&mut self, event: Event) -> SyncActions {
        self.now += 1;
        let moment = Moment::at(SimTime::from_millis(self.now));
        let mut actions = self.replica.step(self.store.view(), event, moment, &mut Fixed).unwrap();
        self.store.apply(std::mem::take(&mut actions.storage)).unwrap();
        actions
    }

    fn frame(&mut self, bytes: &[u8]) -> SyncActions {
        self.step(Event::Frame { from: PEER, bytes: bytes.into() })
    }

    fn message(&mut self, message: Message) -> SyncActions {
        let wire = Frame { incarnation: 1, message }.to_wire(ContextId::default());
        self.frame(&wire)
    }
}

fn sealed(body: &[u8]) -> Vec<u8> {
    let mut wire = crc32fast::hash(body).to_le_bytes().to_vec();
    wire.extend(body);
    wire
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn refuses_random_bytes(bytes in vec(any::<u8>(), 0..200)) {
        let mut host = Host::new();
        let before = host.replica.digest();
        prop_assert!(matches!(host.frame(&bytes).refusal, Some(Refusal::Frame(_))));
        // The same bytes behind a valid checksum, version and context: now the decoders refuse them.
        let mut body = vec![1];
        body.extend(ContextId::default().tag());
        body.extend(&bytes);
        host.frame(&sealed(&body));
        prop_assert_eq!(host.replica.digest(), before);
    }

    #[test]
    fn refuses_truncated_frames(cut in 0usize..60) {
        let mut host = Host::new();
        let message = Message::Gossip(Gossip::Heartbeat { root: Digest([1; 32]), replica: ReplicaId::default(), seq: 0, clock: 0, wall_ms: 0 });
        let wire = Frame { incarnation: 1, message }.to_wire(ContextId::default());
        let cut = cut % wire.len();
        prop_assert!(matches!(host.frame(&wire[..cut]).refusal, Some(Refusal::Frame(_))));
        prop_assert!(matches!(host.frame(&sealed(&wire[4..cut.max(4)])).refusal, Some(Refusal::Frame(_))));
    }
}

#[test]
fn refuses_oversized_frame_unread() {
    let mut host = Host::new();
    let refusal = host.frame(&vec![0; limits::MAX_FRAME_BYTES + 1]).refusal;
    assert!(matches!(refusal, Some(Refusal::Frame(FrameError::TooLarge { .. }))));
}

#[test]
fn refuses_other_context_or_version() {
    let mut host = Host::new();
    let message = Message::Gossip(Gossip::Heartbeat {
        root: Digest([1; 32]),
        replica: ReplicaId::default(),
        seq: 0,
        clock: 0,
        wall_ms: 0,
    });
    let wire = Frame { incarnation: 1, message }.to_wire(ContextId([9; 32]));
    assert_eq!(host.frame(&wire).refusal, Some(Refusal::Frame(FrameError::Context)));
    let mut body = wire[4..].to_vec();
    body[0] = 77;
    assert_eq!(host.frame(&sealed(&body)).refusal, Some(Refusal::Frame(FrameError::Version { found: 77 })));
}

#[test]
fn ignores_unrequested_responses() {
    let mut host = Host::new();
    let before = host.replica.digest();
    let session = SessionId(3);
    let id = RequestId(1);
    let page = SnapshotPage {
        boundary: Digest::ZERO,
        root: Digest::ZERO,
        packed: vec![0],
        unpacked_len: 0,
        next: None,
    };
    let exchange = ExchangeReply {
        whole: false,
        root: Digest::ZERO,
        horizon: Hlc::ZERO,
        generation_before: 0,
        generation_after: 0,
        answers: vec![],
        records: vec![],
        deferred: 0,
        refused: 0,
    };
    for response in [Response::SnapshotPage(page), Response::Exchange(exchange)] {
        let actions = host.message(Message::Response { session, id, response });
        assert_eq!(actions.refusal, Some(Refusal::Duplicate));
    }
    assert_eq!(host.replica.digest(), before);
}

#[test]
fn counts_undecodable_pushed_records() {
    let mut host = Host::new();
    let before = host.replica.digest();
    let pushes = [vec![], vec![1, 2, 3], vec![0xff; 90]]
        .map(|bytes| WireRecord { id: EntityId::from_u64(9), bytes: bytes.into() });
    let request =
        Request::Exchange(ExchangeRequest { pushes: pushes.to_vec(), ..ExchangeRequest::default() });
    let actions = host.message(Message::Request { session: SessionId(1), id: RequestId(1), request });
    let answer = Frame::from_wire(&actions.messages[0].bytes, ContextId::default()).unwrap();
    let Message::Response { response: Response::Exchange(reply), .. } = answer.message else {
        panic!("{answer:?}")
    };
    assert_eq!((reply.refused, reply.deferred), (3, 0));
    assert_eq!(host.replica.digest(), before);
}

#[test]
fn refuses_delta_that_is_own_ancestor() {
    let mut host = Host::new();
    let dot = Dot { author: ReplicaId::from_u64(2), seq: 1 };
    let parents = vec![DeltaRef { dot, id: DeltaId::default() }];
    let delta = Delta::new(dot, parents, Hlc::ZERO, vec![]);
    assert_eq!(
        host.message(Message::Gossip(Gossip::Delta(delta))).refusal,
        Some(Refusal::Delta(DeltaRefusal::Malformed))
    );
}

#[test]
fn delta_from_future_leaves_pending_sync() {
    let mut host = Host::new();
    let dot = Dot { author: ReplicaId::from_u64(2), seq: 1 };
    let delta = Delta::new(dot, vec![], Hlc::new(999_999, 0, dot.author), vec![]);
    assert_eq!(
        host.message(Message::Gossip(Gossip::Delta(delta))).refusal,
        Some(Refusal::Delta(DeltaRefusal::Drift))
    );
    assert_eq!(host.replica.pending().pending_syncs, 1);
}

#[test]
fn refuses_delta_with_maximal_stamp() {
    let mut host = Host::new();
    let before = host.replica.digest();
    let dot = Dot { author: ReplicaId::from_u64(2), seq: 1 };
    let kill = Action::DeleteRef { id: EntityId::from_u64(5), ancestors: vec![], deleted_at: Hlc::MAX };
    let delta = Delta::new(dot, vec![], Hlc::new(1_000, 0, dot.author), vec![kill]);
    assert_eq!(
        host.message(Message::Gossip(Gossip::Delta(delta))).refusal,
        Some(Refusal::Delta(DeltaRefusal::Drift))
    );
    assert_eq!(host.replica.digest(), before);
}

#[test]
fn write_replaces_record_of_faster_clock() {
    let mut host = Host::new();
    let id = EntityId::from_u64(5);
    let ahead = Hlc::new(4_500, 0, ReplicaId::from_u64(2));
    let value = Value::Lww(Register::new(ahead, b"from a clock that is ahead".to_vec()));
    let record =
        Record { created_at: ahead, updated_at: ahead, value, ..Record::placeholder(1, EntityId::ROOT) };
    let pushes = vec![WireRecord { id, bytes: record.to_bytes().into() }];
    let request = Request::Exchange(ExchangeRequest { pushes, ..ExchangeRequest::default() });
    host.message(Message::Request { session: SessionId(1), id: RequestId(1), request });
    host.step(Event::Write(vec![Operation::Set { target: Target::top(id), bytes: b"mine".to_vec() }]));
    let own = Interface::open(host.store.view()).unwrap().record(id).unwrap().unwrap();
    assert!(matches!(&own.value, Value::Lww(register) if register.bytes() == b"mine"), "{own:?}");
}

/// Promises: G2
#[test]
fn refuses_write_too_large_for_frame() {
    let mut host = Host::new();
    let set = |key| {
        let target = Target::top(EntityId::from_u64(key));
        Operation::Set { target, bytes: vec![0; limits::MAX_VALUE_BYTES] }
    };
    let before = host.replica.digest();
    let actions = host.step(Event::Write((10..13).map(set).collect()));
    assert!(format!("{:?}", actions.notices).contains("TooLarge"));
    assert!(actions.messages.is_empty() && host.replica.digest() == before);
    assert!(!host.step(Event::Write(vec![set(10)])).messages.is_empty(), "one such value does fit");
}

#[test]
fn refuses_frame_from_before_restart() {
    let mut host = Host::new();
    let heartbeat = |incarnation| {
        let message = Message::Gossip(Gossip::Heartbeat {
            root: Digest([1; 32]),
            replica: ReplicaId::default(),
            seq: 0,
            clock: 0,
            wall_ms: 0,
        });
        Frame { incarnation, message }.to_wire(ContextId::default())
    };
    assert_eq!(host.frame(&heartbeat(5)).refusal, None);
    assert_eq!(host.frame(&heartbeat(4)).refusal, Some(Refusal::StaleIncarnation));
}

#[test]
fn impossible_operation_undoes_whole_write() {
    let mut host = Host::new();
    let before = host.replica.digest();
    let good = Operation::Increment { target: Target::top(EntityId::from_u64(6)), by: 1 };
    let bad = Operation::Increment { target: Target::top(EntityId::from_u64(5)), by: 1 };
    let actions = host.step(Event::Write(vec![good, bad]));
    let said = format!("{:?}", actions.notices);
    assert!(said.contains("WrongType"), "{said}");
    assert!(actions.messages.is_empty() && host.replica.digest() == before);
}

#[test]
fn claimed_coverage_cannot_end_our_history() {
    let mut host = Host::new();
    let ours = host.replica.digest();
    let mut covered = VersionVector::default();
    covered.cover(Dot { author: ReplicaId::from_u64(1), seq: limits::MAX_DELTA_SEQ });
    let theirs = SyncHandshake {
        version: SYNC_PROTOCOL_VERSION,
        context: ContextId::default(),
        replica: ReplicaId::from_u64(2),
        root_hash: ours,
        entity_count: 1,
        max_depth: 1,
        has_state: true,
        dag_heads: vec![],
        covered,
        log_floor: VersionVector::default(),
        supported_protocols: SyncProtocolKind::EXECUTABLE.to_vec(),
        requested_protocol: None,
        sketch: None,
        link: Link::default(),
        clock: 0,
        wall_ms: 0,
        horizon: Hlc::ZERO,
        stable: VersionVector::default(),
        known: None,
    };
    let session = SessionId(1);
    let id = RequestId(1);
    let request = Request::Handshake(Box::new(theirs));
    host.message(Message::Request { session, id, request });
    let operation = Operation::Set { target: Target::top(EntityId::from_u64(9)), bytes: b"on".to_vec() };
    let actions = host.step(Event::Write(vec![operation]));
    assert!(!format!("{:?}", actions.notices).contains("Exhausted"), "{:?}", actions.notices);
    assert_ne!(host.replica.digest(), ours);
}
