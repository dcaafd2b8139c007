//! What each protocol does, case by case.

use crate::side::Side;
use crate::side::*;

use syncline_crdt::{Register, Text, Value};
use syncline_storage::{Action, ApplyContext, Cursor, Interface, Label, Metadata, Record};
use syncline_store::Store;
use syncline_sync::*;
use syncline_types::{Encode, EntityId, Hlc, ReplicaId, limits};

#[test]
fn a_fresh_replica_takes_a_snapshot_of_many_pages() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &many(1, 3_000, 2)));
    let (outcome, stats, protocol) = run(&mut a, &mut b, true, quiet);
    assert_eq!(protocol, Some(SyncProtocolKind::Snapshot));
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert!(stats.round_trips > 4, "it took {} pages", stats.round_trips);
    a.is_tidy();
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

/// Promises: I5, S3
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
fn what_came_of_a_large_state_is_not_given_up_for_the_first_small_peer() {
    let (mut a, mut b) = (Side::new(1, &[]), Side::new(2, &many(1, 4_000, 2)));
    let mut small = Side::new(3, &many(1, 40, 2));
    let begin = |a: &mut Side, b: &mut Side| {
        let (mut session, mut id, mut request) = Session::start(SessionId(1), a.describe());
        for _ in 0..4 {
            let (response, mut work) = (b.respond(&request), a.begin());
            let progress = session.on_response(id, &response, &mut work).unwrap();
            let Progress::Send(next_id, next) = progress else { panic!("{progress:?}") };
            (id, request) = (next_id, next);
            a.commit(work);
        }
    };
    begin(&mut a, &mut b);
    for _ in 0..3 {
        assert_eq!(run(&mut a, &mut small, false, quiet).0, Outcome::Owed(OwedReason::PeerBehind));
    }
    // The one that promised it comes back, and peers are passed over anew.
    begin(&mut a, &mut b);
    assert_eq!(run(&mut a, &mut small, false, quiet).0, Outcome::Owed(OwedReason::PeerBehind));
    let (outcome, stats, _) = run(&mut a, &mut b, false, quiet);
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert!(stats.records_received < 2_000, "the rest alone was sent: {}", stats.records_received);
    // Or it does not.
    let mut a = Side::new(4, &[]);
    begin(&mut a, &mut b);
    for _ in 0..3 {
        assert_eq!(run(&mut a, &mut small, false, quiet).0, Outcome::Owed(OwedReason::PeerBehind));
    }
    assert_eq!(run(&mut a, &mut small, false, quiet).0, Outcome::Converged { root: small.root() });
    a.is_tidy();
}

/// Promises: I7, S1, S2
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
    let page = SnapshotPage { boundary: promised, root: promised, packed, unpacked_len, next: None };
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

/// A forgot a deleted collection; B had written into it by then, and so keeps its tombstone.
///
/// Promises: I4
#[test]
fn what_holds_up_something_written_since_is_taken_though_it_was_forgotten() {
    let horizon = Hlc::new(3, 0, ReplicaId([0xff; 16]));
    let gone = [
        set(9, &[], 1, 1, 4),
        set(2, &[1], 1, 1, 4),
        Action::DeleteRef { id: EntityId::from_u64(1), ancestors: vec![], deleted_at: stamp(2, 1) },
    ];
    for wish in SyncProtocolKind::EXECUTABLE {
        for pushed in [false, true] {
            let (mut a, mut b) = (Side::new(1, &gone), Side::new(2, &gone));
            (a.wish, b.wish) = (Some(wish), Some(wish));
            b.write(&[set(3, &[1], 5, 2, 4)]);
            for side in [&mut a, &mut b] {
                let mut work = side.begin();
                work.state.raise_horizon(horizon).unwrap();
                side.commit(work);
            }
            let records = |side: &Side| Interface::open(side.store.view()).unwrap().stats().unwrap().records;
            assert_eq!((records(&a), records(&b)), (1, 4), "one has forgotten, the other could not");
            let (from, to) = if pushed { (&mut b, &mut a) } else { (&mut a, &mut b) };
            let (outcome, ..) = run(from, to, false, quiet);
            assert_eq!(outcome, Outcome::Converged { root: b.root() }, "{wish}, pushed: {pushed}");
            assert_eq!(a.root(), b.root());
        }
    }
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
        b.write_delta(&[set(300 + n, &[], 10 + n, 2, 16_000)], 10 + n);
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
    let response = b.respond(&Request::Handshake(Box::new(old)));
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

#[test]
fn a_text_that_many_edits_made_larger_than_one_write_may_be_still_syncs() {
    let chars = "x".repeat(1_000);
    let edits: Vec<Action> = (0..1_200)
        .map(|n| {
            let at = stamp(10 + n, 1);
            let value = Value::Rga(Text::default().insert(0, &chars, at).unwrap());
            let metadata = Metadata { created_at: at, updated_at: at, label: Label::None };
            Action::Update { id: EntityId::from_u64(7), ancestors: vec![], value, metadata }
        })
        .collect();
    use SyncProtocolKind::{BloomFilter, HashComparison, LevelWise, Snapshot, SubtreePrefetch};
    for wish in [HashComparison, BloomFilter, SubtreePrefetch, LevelWise, Snapshot] {
        let mut b = Side::new(2, &edits);
        let mut a = Side::new(1, if wish == Snapshot { &[] } else { &edits[..1] });
        a.wish = Some(wish);
        let (outcome, _, selected) = run(&mut a, &mut b, false, quiet);
        assert_eq!(selected, Some(wish));
        assert_eq!(outcome, Outcome::Converged { root: b.root() }, "{wish}");
        let mut state = Interface::open(a.store.view()).unwrap();
        assert_eq!(state.rebuilt_root().unwrap(), state.root_hash().unwrap());
    }
}

#[test]
fn filters_bring_together_states_that_differ_by_more_than_one_answer_may_name() {
    let count = limits::MAX_MISSING as u64 + 2_000;
    let (mut a, mut b) = (Side::new(1, &many(1, count, 1)), Side::new(2, &many(count, 2 * count, 2)));
    a.wish = Some(SyncProtocolKind::BloomFilter);
    let (outcome, stats, _) = run(&mut a, &mut b, false, quiet);
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert_eq!(stats.walks, 1, "the rest is found by a walk");
}

#[test]
fn a_slow_reader_of_a_snapshot_is_not_pushed_out_by_fast_ones() {
    let mut b = Side::new(2, &many(1, 1_000, 2));
    let page = |boundary| Request::SnapshotPage { boundary, after: Cursor::default(), compressed: false };
    let slow = b.root();
    assert!(matches!(b.respond(&page(slow)), Response::SnapshotPage(_)));
    let mut kept = vec![slow];
    for n in 0..3 {
        b.write(&[set(5_000 + n, &[], 2, 2, 9)]);
        kept.push(b.root());
        assert!(matches!(b.respond(&page(kept[1])), Response::SnapshotPage(_)));
    }
    assert!(matches!(b.respond(&page(slow)), Response::SnapshotPage(_)), "its view is still here");
}

#[test]
fn a_peer_that_claims_to_cover_the_end_of_history_is_not_believed() {
    let (mut a, mut b) = (Side::new(1, &many(1, 9, 1)), Side::new(2, &many(1, 9, 1)));
    b.write_delta(&[set(300, &[], 10, 2, 40)], 10);
    let (mut session, id, request) = Session::start(SessionId(1), a.describe());
    let Response::Handshake(mut reply) = b.respond(&request) else { panic!() };
    reply.theirs.covered.cover(Dot { author: a.replica, seq: limits::MAX_DELTA_SEQ });
    let mut work = a.begin();
    let progress = session.on_response(id, &Response::Handshake(reply), &mut work).unwrap();
    assert!(matches!(progress, Progress::Done(Outcome::Failed(FailureReason::Protocol(_)))), "{progress:?}");
    a.commit(work);
    a.write_delta(&[set(301, &[], 11, 1, 40)], 11);
}
