//! Two states and one session between them, without a network: every request is answered at once,
//! now and then twice or late.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use syncline_crdt::{GCounter, Register, Value};
use syncline_storage::{Action, ApplyContext, Interface, Label, Metadata, Prefix, Record};
use syncline_store::{MemoryStore, ReadView, Store};
use syncline_sync::*;
use syncline_types::{ContextId, Digest, Encode, EntityId, Hlc, Moment, ReplicaId, SimTime, limits};

const CONTEXT: ApplyContext = ApplyContext::new(Moment::at(SimTime::from_millis(1_000)));

struct Side {
    store: MemoryStore,
    log: DeltaLog,
    views: ViewCache<MemoryStore>,
    replica: ReplicaId,
    supported: Vec<SyncProtocolKind>,
    wish: Option<SyncProtocolKind>,
}

impl Side {
    fn new(replica: u64, actions: &[Action]) -> Self {
        let mut side = Self {
            store: MemoryStore::default(),
            log: DeltaLog::default(),
            views: ViewCache::new(4),
            replica: ReplicaId::from_u64(replica),
            supported: SyncProtocolKind::EXECUTABLE.to_vec(),
            wish: None,
        };
        side.write(actions);
        side
    }

    fn begin(&self) -> Transaction<MemoryStore> {
        Transaction::begin(self.store.view(), self.log.clone(), CONTEXT).unwrap()
    }

    fn commit(&mut self, work: Transaction<MemoryStore>) {
        let (batch, log) = work.finish().unwrap();
        self.store.apply(&batch).unwrap();
        self.log = log;
        assert_eq!(
            DeltaLog::load(&self.store, DeltaLog::DEFAULT_RETENTION).unwrap().covered(),
            self.log.covered()
        );
    }

    fn write(&mut self, actions: &[Action]) {
        let mut work = self.begin();
        for action in actions {
            work.state.apply_action(action, &CONTEXT).unwrap();
        }
        self.commit(work);
    }

    /// Writes actions as a delta of its own.
    fn write_delta(&mut self, actions: &[Action], at: u64) {
        let mut work = self.begin();
        let dot = Dot { author: self.replica, seq: work.log.covered().of(self.replica) + 1 };
        let stamp = Hlc::new(at, 0, self.replica);
        let delta = Delta { dot, parents: work.log.heads(), stamp, actions: actions.to_vec() };
        assert_eq!(work.apply_delta(&delta).unwrap(), Ok(()));
        self.commit(work);
    }

    fn describe(&self) -> SyncHandshake {
        let mut work = self.begin();
        let described = work.describe(ContextId::default(), self.replica, &self.supported);
        SyncHandshake { wish: self.wish, ..build_handshake(&described.unwrap()) }
    }

    fn respond(&mut self, request: &Request) -> Response {
        let ours = self.describe();
        let mut work = self.begin();
        let response = respond(&mut work, &mut self.views, &ours, request).unwrap();
        self.commit(work);
        response
    }

    fn root(&self) -> Digest {
        Interface::open(self.store.view()).unwrap().root_hash().unwrap()
    }
}

/// Sends a message through its bytes, as a link would.
fn through_the_wire(message: Message) -> Message {
    let context = ContextId::default();
    let wire = Frame { incarnation: 3, message }.to_wire(context);
    assert!(wire.len() <= limits::MAX_FRAME_BYTES);
    Frame::from_wire(&wire, context).unwrap().message
}

/// Runs a session to its end. `disturb` may write to either side between rounds; with `doubled`,
/// every request is answered twice and the first answer is lost.
fn run(
    a: &mut Side,
    b: &mut Side,
    doubled: bool,
    mut disturb: impl FnMut(u64, &mut Side, &mut Side),
) -> (Outcome, SessionStats, Option<SyncProtocolKind>) {
    let (mut session, mut id, mut request) = Session::start(SessionId(1), a.describe());
    loop {
        let asked = Message::Request { session: SessionId(1), id, request: request.clone() };
        let Message::Request { request: asked, .. } = through_the_wire(asked) else { panic!() };
        let mut response = b.respond(&asked);
        disturb(session.stats().round_trips, a, b);
        if doubled {
            assert!(matches!(session.on_timeout(), Progress::Send(..)));
            response = b.respond(&asked);
        }
        let answer = Message::Response { session: SessionId(1), id, response };
        let Message::Response { response, .. } = through_the_wire(answer) else { panic!() };
        let mut work = a.begin();
        let progress = session.on_response(id, &response, &mut work).unwrap();
        assert_eq!(session.on_response(id, &response, &mut a.begin()).unwrap(), Progress::Ignored);
        match progress {
            Progress::Send(next_id, next) => (id, request) = (next_id, next),
            Progress::Ignored => panic!("an answer to the current request was ignored"),
            Progress::Done(outcome) => {
                // A snapshot that fails verification must leave no trace in the state.
                a.commit(work);
                return (outcome, session.stats(), session.selected().map(|(kind, _)| kind));
            }
        }
        a.commit(work);
    }
}

fn quiet(_: u64, _: &mut Side, _: &mut Side) {}

fn stamp(ms: u64, replica: u64) -> Hlc {
    Hlc::new(ms, 0, ReplicaId::from_u64(replica))
}

fn set(id: u64, ancestors: &[u64], ms: u64, replica: u64, bytes: usize) -> Action {
    let stamp = stamp(ms, replica);
    Action::Add {
        id: EntityId::from_u64(id),
        ancestors: ancestors.iter().map(|id| EntityId::from_u64(*id)).collect(),
        value: Value::Lww(Register::new(stamp, vec![replica as u8; bytes])),
        metadata: Metadata { created_at: stamp, updated_at: stamp, label: Label::None },
    }
}

fn action() -> impl Strategy<Value = Action> {
    let path = prop_oneof![3 => Just(vec![]), 1 => vec(1u64..6, 1..4)];
    (1u64..200, path, 1u64..5, 0u64..3, 0u8..6).prop_map(|(id, path, ms, replica, kind)| {
        let path: Vec<u64> = path.into_iter().filter(|p| *p != id).collect();
        let mut unique = path;
        unique.dedup();
        unique.sort_unstable();
        unique.dedup();
        let Action::Add { id, ancestors, value, metadata } = set(id, &unique, ms, replica, 3) else {
            panic!()
        };
        match kind {
            0 => Action::DeleteRef { id, ancestors, deleted_at: stamp(ms, replica) },
            1 => {
                let value = Value::GCounter(GCounter::of(ReplicaId::from_u64(replica), ms));
                Action::Update { id, ancestors, value, metadata }
            }
            _ => Action::Add { id, ancestors, value, metadata },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn one_session_makes_both_sides_equal_to_the_join(
        shared in vec(action(), 0..150),
        ours in vec(action(), 0..60),
        theirs in vec(action(), 0..60),
        doubled: bool,
    ) {
        let whole = Side::new(9, &[shared.clone(), ours.clone(), theirs.clone()].concat());
        let mut a = Side::new(1, &[shared.clone(), ours].concat());
        let mut b = Side::new(2, &[shared, theirs].concat());
        let (outcome, ..) = run(&mut a, &mut b, doubled, quiet);
        prop_assert_eq!(outcome, Outcome::Converged { root: whole.root() });
        prop_assert_eq!((a.root(), b.root()), (whole.root(), whole.root()));
    }

    /// **I4**: whatever protocol compares the states, the result is the join of both.
    #[test]
    fn every_protocol_ends_in_the_same_state(
        shared in vec(action(), 0..150),
        ours in vec(action(), 0..60),
        theirs in vec(action(), 0..60),
        doubled: bool,
        // Enough of one kind that answers are paged and subtrees are too large to send.
        crowd in prop_oneof![24 => Just(0u64), 1 => Just(5_000u64)],
    ) {
        let shared = [shared, many(1_000, 1_000 + crowd, 3)].concat();
        let whole = Side::new(9, &[shared.clone(), ours.clone(), theirs.clone()].concat());
        for protocol in SyncProtocolKind::EXECUTABLE {
            let mut a = Side::new(1, &[shared.clone(), ours.clone()].concat());
            let mut b = Side::new(2, &[shared.clone(), theirs.clone()].concat());
            a.wish = Some(protocol);
            let (outcome, _, selected) = run(&mut a, &mut b, doubled, quiet);
            prop_assert_eq!(outcome, Outcome::Converged { root: whole.root() }, "{} {:?}", protocol, selected);
            prop_assert_eq!((a.root(), b.root()), (whole.root(), whole.root()), "{}", protocol);
        }
    }

    #[test]
    fn a_session_under_writes_never_claims_more_than_it_compared(
        ours in vec(action(), 0..80),
        theirs in vec(action(), 0..80),
        late in vec((0u64..6, any::<bool>(), action()), 0..20),
        protocol in select(SyncProtocolKind::EXECUTABLE.to_vec()),
    ) {
        let (mut a, mut b) = (Side::new(1, &ours), Side::new(2, &theirs));
        a.wish = Some(protocol);
        let mut roots_of_b = vec![b.root()];
        let (outcome, ..) = run(&mut a, &mut b, false, |round, a, b| {
            roots_of_b.push(b.root());
            for (at, to_a, action) in &late {
                if *at == round {
                    if *to_a { a.write(std::slice::from_ref(action)) } else { b.write(std::slice::from_ref(action)) }
                }
            }
            roots_of_b.push(b.root());
        });
        roots_of_b.push(b.root());
        match outcome {
            Outcome::Converged { root } => prop_assert!(roots_of_b.contains(&root)),
            Outcome::Owed(reason) => prop_assert_eq!(reason, OwedReason::NewerWrites),
            Outcome::Failed(reason) => prop_assert!(false, "{}", reason),
        }
        let (outcome, ..) = run(&mut a, &mut b, false, quiet);
        prop_assert!(matches!(outcome, Outcome::Converged { .. }), "{:?}", outcome);
        prop_assert_eq!(a.root(), b.root());
    }

    #[test]
    fn bytes_that_are_no_frame_are_refused_with_an_error(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(Frame::from_wire(&bytes, ContextId::default()).is_err());
        // Behind a good checksum, too: the decoder itself must hold.
        let mut sealed = crc(&bytes).to_le_bytes().to_vec();
        sealed.extend(&bytes);
        if let Ok(frame) = Frame::from_wire(&sealed, ContextId::default()) {
            prop_assert_eq!(frame.to_wire(ContextId::default()), sealed);
        }
    }

    #[test]
    fn a_frame_with_any_byte_changed_is_refused(action in action(), at: usize, flip in 1u8..=255) {
        let dot = Dot { author: ReplicaId::from_u64(1), seq: 1 };
        let delta = Delta { dot, parents: vec![], stamp: stamp(1, 1), actions: vec![action] };
        let frame = Frame { incarnation: 1, message: Message::Gossip(Gossip::Delta(delta)) };
        let mut wire = frame.to_wire(ContextId::default());
        let at = at % wire.len();
        wire[at] ^= flip;
        prop_assert!(Frame::from_wire(&wire, ContextId::default()).is_err());
    }

    #[test]
    fn damaged_messages_behind_a_good_checksum_decode_canonically_or_not_at_all(
        actions in vec(action(), 1..40),
        at: usize,
        byte: u8,
    ) {
        let mut b = Side::new(2, &actions);
        let (entity, prefix) = (EntityId::ROOT, Prefix::EMPTY);
        let questions = vec![
            Question::Node(Probe { entity, prefix, levels: 1 }),
            Question::Children { entity, after: None },
            Question::Subtree { entity, prefix, after: None },
            Question::Missing(Filter::new(64, 1)),
        ];
        let wants = vec![EntityId::ROOT, actions[0].id()];
        let asked = ExchangeRequest { questions, wants, ..ExchangeRequest::default() };
        for request in [Request::Exchange(asked), Request::Handshake(b.describe())] {
            let response = b.respond(&request);
            let message = Message::Response { session: SessionId(1), id: RequestId(1), response };
            let wire = Frame { incarnation: 1, message }.to_wire(ContextId::default());
            let mut body = wire[4..].to_vec();
            let at = at % body.len();
            body[at] = byte;
            let mut sealed = crc(&body).to_le_bytes().to_vec();
            sealed.extend(&body);
            if let Ok(frame) = Frame::from_wire(&sealed, ContextId::default()) {
                prop_assert_eq!(frame.to_wire(ContextId::default()), sealed);
            }
        }
    }
}

fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

fn many(from: u64, to: u64, replica: u64) -> Vec<Action> {
    (from..to).map(|id| set(id, &[], 1, replica, 100)).collect()
}

#[test]
fn a_fresh_replica_takes_a_snapshot_of_many_pages() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &many(1, 3_000, 2)));
    let (outcome, stats, protocol) = run(&mut a, &mut b, true, quiet);
    assert_eq!(protocol, Some(SyncProtocolKind::Snapshot));
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert!(stats.round_trips > 4, "it took {} pages", stats.round_trips);
    assert_eq!(a.store.range(&[0x12], &[0x13], 9).unwrap().len(), 0, "nothing stays staged");
}

#[test]
fn a_snapshot_is_not_disturbed_by_writes_at_the_responder() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &many(1, 2_000, 2)));
    let boundary = b.root();
    let (outcome, ..) =
        run(&mut a, &mut b, false, |round, _, b| b.write(&[set(9_000 + round, &[], 2, 2, 9)]));
    assert_eq!(outcome, Outcome::Owed(OwedReason::NewerWrites), "the peer has moved on");
    assert_eq!(a.root(), boundary, "what was promised is what was taken");
}

#[test]
fn a_snapshot_merges_into_what_was_written_meanwhile() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &many(1, 2_000, 2)));
    let (outcome, ..) = run(&mut a, &mut b, false, |round, a, _| {
        if round == 2 {
            a.write(&[set(5, &[], 7, 1, 9), set(9_000, &[], 7, 1, 9)]);
        }
    });
    assert_eq!(outcome, Outcome::Owed(OwedReason::NewerWrites));
    let mut state = Interface::open(a.store.view()).unwrap();
    assert_eq!(state.entity_count(), 2_000);
    let kept = state.record(EntityId::from_u64(5)).unwrap().unwrap();
    assert_eq!(kept.updated_at, stamp(7, 1), "the newer local write survives");
}

#[test]
fn an_interrupted_snapshot_goes_on_from_its_cursor() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &many(1, 3_000, 2)));
    let (mut session, id, request) = Session::start(SessionId(1), a.describe());
    let mut next = (id, request);
    for _ in 0..3 {
        let response = b.respond(&next.1);
        let mut work = a.begin();
        let Progress::Send(id, request) = session.on_response(next.0, &response, &mut work).unwrap() else {
            panic!()
        };
        a.commit(work);
        next = (id, request);
    }
    // The session is lost with its replica's memory; what was staged is not.
    drop(session);
    let boundary = b.root();
    b.write(&[set(9_999, &[], 2, 2, 9)]);
    let (outcome, stats, _) = run(&mut a, &mut b, false, quiet);
    assert_eq!((outcome, a.root()), (Outcome::Owed(OwedReason::NewerWrites), boundary));
    assert!(stats.records_received < 2_999, "only the rest was sent again: {}", stats.records_received);
}

#[test]
fn a_tampered_snapshot_changes_nothing() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &many(1, 20, 2)));
    let promised = b.root();
    let (mut session, id, request) = Session::start(SessionId(1), a.describe());
    let response = b.respond(&request);
    let mut work = a.begin();
    let Progress::Send(id, _) = session.on_response(id, &response, &mut work).unwrap() else { panic!() };
    a.commit(work);
    let forged = Record {
        ..(*Side::new(3, &[set(5, &[], 1, 3, 9)])
            .begin()
            .state
            .record(EntityId::from_u64(5))
            .unwrap()
            .unwrap())
        .clone()
    };
    let records = vec![(EntityId::from_u64(5), forged.to_bytes().into())];
    let (packed, unpacked_len) = SnapshotPage::pack(&records, false);
    let page =
        SnapshotPage { boundary: promised, root: promised, after: None, packed, unpacked_len, is_last: true };
    let mut work = a.begin();
    let progress = session.on_response(id, &Response::SnapshotPage(page), &mut work).unwrap();
    assert!(matches!(progress, Progress::Done(Outcome::Failed(FailureReason::SnapshotMismatch { .. }))));
    a.commit(work);
    assert!(a.root().is_zero());
    assert!(a.store.is_empty(), "no row of it is left");
}

#[test]
fn a_large_divergence_is_paged_and_still_ends_equal() {
    use SyncProtocolKind::{BloomFilter, HashComparison, LevelWise, SubtreePrefetch};
    for wish in [HashComparison, BloomFilter, SubtreePrefetch, LevelWise] {
        let (mut a, mut b) = (Side::new(1, &many(1, 2_500, 1)), Side::new(2, &many(2_000, 6_000, 2)));
        a.wish = Some(wish);
        let (outcome, stats, protocol) = run(&mut a, &mut b, false, quiet);
        assert_eq!(protocol, Some(wish));
        assert!(matches!(outcome, Outcome::Converged { .. }), "{wish}: {outcome:?}");
        assert_eq!(a.root(), b.root());
        assert!(stats.records_pushed >= 1_999 && stats.records_received >= 3_500, "{wish}: {stats:?}");
    }
}

#[test]
fn a_small_difference_moves_little() {
    let mut shared = many(1, 5_000, 1);
    let (mut b, extra) = (Side::new(2, &shared), set(9_999, &[], 3, 1, 100));
    shared.push(extra);
    let mut a = Side::new(1, &shared);
    a.wish = Some(SyncProtocolKind::HashComparison);
    let (outcome, stats, _) = run(&mut a, &mut b, false, quiet);
    assert!(matches!(outcome, Outcome::Converged { .. }));
    assert!(stats.round_trips <= 5 && stats.entities_compared <= 64, "{stats:?}");
}

#[test]
fn a_delete_reaches_the_side_that_has_the_entity() {
    let mut a = Side::new(1, &[set(1, &[], 1, 1, 3), set(2, &[1], 1, 1, 3)]);
    let mut b = Side::new(2, &[set(1, &[], 1, 1, 3), set(2, &[1], 1, 1, 3)]);
    a.write(&[Action::DeleteRef { id: EntityId::from_u64(1), ancestors: vec![], deleted_at: stamp(9, 1) }]);
    let (outcome, ..) = run(&mut b, &mut a, false, quiet);
    assert!(matches!(outcome, Outcome::Converged { .. }));
    assert!(Interface::open(b.store.view()).unwrap().visible().unwrap().is_empty());
}

#[test]
fn a_state_of_nothing_but_a_root_record_is_pushed() {
    let stamp = stamp(1, 1);
    let root_state = Action::Update {
        id: EntityId::ROOT,
        ancestors: vec![],
        value: Value::Lww(Register::new(stamp, b"application state".to_vec())),
        metadata: Metadata { created_at: stamp, updated_at: stamp, label: Label::None },
    };
    let (mut a, mut b) = (Side::new(1, &[root_state]), Side::new(2, &[]));
    let (outcome, ..) = run(&mut a, &mut b, false, quiet);
    assert_eq!(outcome, Outcome::Converged { root: a.root() });
    assert_eq!(a.root(), b.root());
}

#[test]
fn a_snapshot_from_a_faster_clock_brings_what_our_clock_allows() {
    let mut actions = many(1, 20, 2);
    actions.push(set(99, &[], 8_000, 2, 9));
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &[]));
    let mut work = b.begin();
    let any_time = ApplyContext { max_drift_ms: u64::MAX, ..CONTEXT };
    for action in &actions {
        work.state.apply_action(action, &any_time).unwrap();
    }
    b.commit(work);
    let (outcome, ..) = run(&mut a, &mut b, false, quiet);
    assert_eq!(outcome, Outcome::Owed(OwedReason::ClockDrift));
    assert_eq!(Interface::open(a.store.view()).unwrap().entity_count(), 19);
}

#[test]
fn a_gap_of_a_hundred_deltas_is_closed_in_one_round_trip_both_ways() {
    let (mut a, mut b) = (Side::new(1, &many(1, 50, 1)), Side::new(2, &many(1, 50, 1)));
    let mut bytes = 0;
    for n in 0..60 {
        a.write_delta(&[set(100 + n, &[], 10 + n, 1, 40)], 10 + n);
        b.write_delta(&[set(300 + n, &[], 10 + n, 2, 40)], 10 + n);
        bytes += 2 * DeltaLog::read(&a.store, Dot { author: a.replica, seq: n + 1 }).unwrap().unwrap().len();
    }
    let request = Session::start(SessionId(1), a.describe()).2;
    let handshakes = request.to_bytes().len() + b.respond(&request).to_bytes().len();
    let (outcome, stats, protocol) = run(&mut a, &mut b, false, quiet);
    assert_eq!(protocol, Some(SyncProtocolKind::DeltaSync));
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert_eq!((stats.round_trips, stats.deltas_received, stats.deltas_pushed, stats.walks), (2, 60, 60, 0));
    assert_eq!(a.log.covered(), b.log.covered());
    assert!(handshakes < bytes / 10, "the handshake is small beside the deltas: {handshakes} of {bytes}");
}

#[test]
fn deltas_that_refer_to_each_other_apply_in_causal_order() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &many(1, 3, 1)));
    a.write(&many(1, 3, 1));
    for round in 0..20 {
        a.write_delta(&[set(50 + round, &[], 10 + round, 1, 900)], 10 + 2 * round);
        let mut copy = Side::new(1, &[]);
        std::mem::swap(&mut copy, &mut a);
        let (outcome, ..) = run(&mut copy, &mut b, false, quiet);
        assert!(matches!(outcome, Outcome::Converged { .. }), "{outcome:?}");
        std::mem::swap(&mut copy, &mut a);
        b.write_delta(&[set(90 + round, &[], 10 + round, 2, 900)], 11 + 2 * round);
        // Each of these names the other side's last as its parent.
        assert_eq!(b.log.heads().len(), 1);
        run(&mut b, &mut a, false, quiet);
    }
    assert_eq!(a.root(), b.root());
    let mut late = Side::new(3, &many(1, 3, 1));
    let (outcome, stats, protocol) = run(&mut late, &mut b, false, quiet);
    assert_eq!(
        (outcome, protocol),
        (Outcome::Converged { root: b.root() }, Some(SyncProtocolKind::DeltaSync))
    );
    assert_eq!((stats.deltas_received, stats.walks), (40, 0));
}

#[test]
fn a_peer_below_the_floor_of_the_log_is_served_by_its_state() {
    let (mut a, mut b) = (Side::new(1, &many(1, 50, 1)), Side::new(2, &many(1, 50, 1)));
    b.log = DeltaLog::load(&b.store, 5).unwrap();
    for n in 0..20 {
        b.write_delta(&[set(300 + n, &[], 10 + n, 2, 40)], 10 + n);
    }
    let dot = |seq| Dot { author: ReplicaId::from_u64(2), seq };
    assert!(DeltaLog::read(&b.store, dot(15)).unwrap().is_none(), "pruned");
    assert!(DeltaLog::read(&b.store, dot(16)).unwrap().is_some(), "kept");
    let (outcome, stats, protocol) = run(&mut a, &mut b, false, quiet);
    assert_ne!(protocol, Some(SyncProtocolKind::DeltaSync));
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert_eq!(stats.deltas_received, 0);
}

#[test]
fn deltas_that_do_not_explain_the_difference_are_followed_by_a_walk() {
    let (mut a, mut b) = (Side::new(1, &many(1, 50, 1)), Side::new(2, &many(30, 80, 2)));
    b.write_delta(&[set(300, &[], 10, 2, 40)], 10);
    let (outcome, stats, protocol) = run(&mut a, &mut b, false, quiet);
    assert_eq!(protocol, Some(SyncProtocolKind::DeltaSync));
    assert_eq!((outcome, stats.walks), (Outcome::Converged { root: b.root() }, 1));
}

#[test]
fn many_deltas_come_in_pages() {
    let (mut a, mut b) = (Side::new(1, &many(1, 5, 1)), Side::new(2, &many(1, 5, 1)));
    for n in 0..100 {
        b.write_delta(&[set(300 + n, &[], 10 + n, 2, 4_000)], 10 + n);
    }
    let (outcome, stats, _) = run(&mut a, &mut b, true, quiet);
    assert_eq!(
        (outcome, stats.deltas_received, stats.walks),
        (Outcome::Converged { root: b.root() }, 100, 0)
    );
    assert!(stats.round_trips >= 7, "{stats:?}");
}

#[test]
fn another_version_is_rejected_clearly() {
    let (a, mut b) = (Side::new(1, &[set(1, &[], 1, 1, 3)]), Side::new(2, &[]));
    let (mut session, id, _) = Session::start(SessionId(1), a.describe());
    let old = SyncHandshake { version: 0, ..a.describe() };
    let response = b.respond(&Request::Handshake(old));
    let progress = session.on_response(id, &response, &mut a.begin()).unwrap();
    let Progress::Done(Outcome::Failed(FailureReason::Rejected(rejection))) = progress else { panic!() };
    assert_eq!(rejection, Rejection::Version { theirs: SYNC_PROTOCOL_VERSION });
}

#[test]
fn equal_roots_end_in_none_without_a_transfer() {
    let (mut a, mut b) = (Side::new(1, &many(1, 50, 1)), Side::new(2, &many(1, 50, 1)));
    let (outcome, stats, protocol) = run(&mut a, &mut b, false, quiet);
    assert_eq!((outcome, protocol), (Outcome::Converged { root: b.root() }, Some(SyncProtocolKind::None)));
    assert_eq!((stats.round_trips, stats.records_received, stats.records_pushed), (1, 0, 0));
}
