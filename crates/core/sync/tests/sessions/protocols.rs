//! The behavior of each protocol in single cases.

use super::side::Side;
use super::side::*;

use syncline_crdt::{Register, Text, Value};
use syncline_storage::{Action, ApplyContext, Cursor, Interface, Label, Metadata, Record};
use syncline_store::Store;
use syncline_sync::*;
use syncline_types::{Decode, Encode, EntityId, Hlc, ReplicaId, limits};

#[test]
fn fresh_replica_receives_paged_snapshot() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &many(1, 3_000, 2));
    let (outcome, stats, protocol) = run(&mut a, &mut b, true, undisturbed);
    assert_eq!(protocol, Some(SyncProtocolKind::Snapshot));
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert!(stats.round_trips > 4, "it took {} pages", stats.round_trips);
    a.is_tidy();
}

#[test]
fn responder_writes_do_not_disturb_snapshot() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &many(1, 2_000, 2));
    let boundary = b.root();
    let (outcome, ..) =
        run(&mut a, &mut b, false, |round, _, b| b.write(&[set(9_000 + round, &[], 2, 2, 9)]));
    assert_eq!(outcome, Outcome::SyncPending(RetryReason::NewerWrites), "the peer has newer writes");
    assert_eq!(a.root(), boundary, "the promised state was received");
}

/// Promises: I5, S3
#[test]
fn snapshot_merges_concurrent_local_writes() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &many(1, 2_000, 2));
    let (outcome, ..) = run(&mut a, &mut b, false, |round, a, _| {
        if round == 2 {
            a.write(&[set(5, &[], 7, 1, 9), set(9_000, &[], 7, 1, 9)]);
        }
    });
    assert_eq!(outcome, Outcome::SyncPending(RetryReason::NewerWrites));
    let mut state = Interface::open(a.store.view()).unwrap();
    assert_eq!(state.entity_count(), 2_000);
    let record = state.record(EntityId::from_u64(5)).unwrap().unwrap();
    assert_eq!(record.updated_at, stamp(7, 1), "the newer local write survives");
}

#[test]
fn interrupted_snapshot_resumes_from_cursor() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &many(1, 3_000, 2));
    let (mut session, id, request) = Session::start(SessionId(1), a.describe());
    let mut next = (id, request);
    for _ in 0..3 {
        let response = b.respond(&next.1);
        let mut work = a.begin();
        let SessionProgress::Send(id, request) = session.on_response(next.0, &response, &mut work).unwrap()
        else {
            panic!()
        };
        a.commit(work);
        next = (id, request);
    }
    // The session is lost with the memory of its replica; the staged records are in the store.
    drop(session);
    let boundary = b.root();
    b.write(&[set(9_999, &[], 2, 2, 9)]);
    let (outcome, stats, _) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!((outcome, a.root()), (Outcome::SyncPending(RetryReason::NewerWrites), boundary));
    assert!(stats.records_received < 2_999, "only the rest was sent: {}", stats.records_received);
}

#[test]
fn skips_small_peers_before_abandoning_transfer() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &many(1, 4_000, 2));
    let mut small = Side::new(3, &many(1, 40, 2));
    let begin = |a: &mut Side, b: &mut Side| {
        let (mut session, mut id, mut request) = Session::start(SessionId(1), a.describe());
        for _ in 0..4 {
            let response = b.respond(&request);
            let mut work = a.begin();
            let progress = session.on_response(id, &response, &mut work).unwrap();
            let SessionProgress::Send(next_id, next) = progress else { panic!("{progress:?}") };
            (id, request) = (next_id, next);
            a.commit(work);
        }
    };
    begin(&mut a, &mut b);
    for _ in 0..3 {
        assert_eq!(
            run(&mut a, &mut small, false, undisturbed).0,
            Outcome::SyncPending(RetryReason::PeerBehind)
        );
    }
    // The peer that promised the state comes back, and the count of skipped peers restarts.
    begin(&mut a, &mut b);
    assert_eq!(run(&mut a, &mut small, false, undisturbed).0, Outcome::SyncPending(RetryReason::PeerBehind));
    let (outcome, stats, _) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert!(stats.records_received < 2_000, "the rest pure_symbols was sent: {}", stats.records_received);
    // The peer does not come back.
    let mut a = Side::new(4, &[]);
    begin(&mut a, &mut b);
    for _ in 0..3 {
        assert_eq!(
            run(&mut a, &mut small, false, undisturbed).0,
            Outcome::SyncPending(RetryReason::PeerBehind)
        );
    }
    assert_eq!(run(&mut a, &mut small, false, undisturbed).0, Outcome::Converged { root: small.root() });
    a.is_tidy();
}

/// Promises: I7, S1, S2
#[test]
fn tampered_snapshot_changes_nothing() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &many(1, 20, 2));
    let promised = b.root();
    let (mut session, id, request) = Session::start(SessionId(1), a.describe());
    let response = b.respond(&request);
    let mut work = a.begin();
    let SessionProgress::Send(id, _) = session.on_response(id, &response, &mut work).unwrap() else {
        panic!()
    };
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
    assert!(matches!(
        progress,
        SessionProgress::Done(Outcome::Failed(FailureReason::SnapshotMismatch { .. }))
    ));
    a.commit(work);
    assert!(a.root().is_zero());
    assert!(a.store.is_empty(), "no row of it is left");
}

#[test]
fn large_divergence_is_paged() {
    use SyncProtocolKind::{BloomFilter, HashComparison, LevelWise, SubtreePrefetch};
    for kind in [HashComparison, BloomFilter, SubtreePrefetch, LevelWise] {
        let mut a = Side::new(1, &many(1, 2_500, 1));
        let mut b = Side::new(2, &many(2_000, 6_000, 2));
        a.requested_protocol = Some(kind);
        let (outcome, stats, protocol) = run(&mut a, &mut b, false, undisturbed);
        assert_eq!(protocol, Some(kind));
        assert!(matches!(outcome, Outcome::Converged { .. }), "{kind}: {outcome:?}");
        assert_eq!(a.root(), b.root());
        assert!(stats.records_pushed >= 1_999 && stats.records_received >= 3_500, "{kind}: {stats:?}");
    }
}

#[test]
fn small_difference_moves_little() {
    let mut shared = many(1, 5_000, 1);
    let mut b = Side::new(2, &shared);
    let extra = set(9_999, &[], 3, 1, 100);
    shared.push(extra);
    let mut a = Side::new(1, &shared);
    a.requested_protocol = Some(SyncProtocolKind::HashComparison);
    let (outcome, stats, _) = run(&mut a, &mut b, false, undisturbed);
    assert!(matches!(outcome, Outcome::Converged { .. }));
    assert!(stats.round_trips <= 5 && stats.entities_compared <= 64, "{stats:?}");
}

#[test]
fn delete_reaches_other_side() {
    let mut a = Side::new(1, &[set(1, &[], 1, 1, 3), set(2, &[1], 1, 1, 3)]);
    let mut b = Side::new(2, &[set(1, &[], 1, 1, 3), set(2, &[1], 1, 1, 3)]);
    a.write(&[Action::DeleteRef { id: EntityId::from_u64(1), ancestors: vec![], deleted_at: stamp(9, 1) }]);
    let (outcome, ..) = run(&mut b, &mut a, false, undisturbed);
    assert!(matches!(outcome, Outcome::Converged { .. }));
    assert!(Interface::open(b.store.view()).unwrap().visible().unwrap().is_empty());
}

#[test]
fn pushes_state_of_root_record_only() {
    let stamp = stamp(1, 1);
    let root_state = Action::Update {
        id: EntityId::ROOT,
        ancestors: vec![],
        value: Value::Lww(Register::new(stamp, b"application state".to_vec())),
        metadata: Metadata { created_at: stamp, updated_at: stamp, label: Label::None },
    };
    let mut a = Side::new(1, &[root_state]);
    let mut b = Side::new(2, &[]);
    let (outcome, ..) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!(outcome, Outcome::Converged { root: a.root() });
    assert_eq!(a.root(), b.root());
}

#[test]
fn snapshot_excludes_stamps_beyond_drift() {
    let mut actions = many(1, 20, 2);
    actions.push(set(99, &[], 8_000, 2, 9));
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &[]);
    let mut work = b.begin();
    let any_time = ApplyContext { max_drift_ms: u64::MAX, ..CONTEXT };
    for action in &actions {
        work.state.apply_action(action, &any_time).unwrap();
    }
    b.commit(work);
    let (outcome, ..) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!(outcome, Outcome::SyncPending(RetryReason::ClockDrift));
    assert_eq!(Interface::open(a.store.view()).unwrap().entity_count(), 19);
}

/// Two sides that ask for a protocol and have raised their horizons to 3 ms. The first one has collected what `gone` deletes. The
/// second one could not, since it has made the change `later` in it.
fn collected_and_kept(kind: SyncProtocolKind, gone: &[Action], later: &Action) -> (Side, Side) {
    let mut a = Side::new(1, gone);
    let mut b = Side::new(2, gone);
    b.write(std::slice::from_ref(later));
    for side in [&mut a, &mut b] {
        side.requested_protocol = Some(kind);
        let mut work = side.begin();
        work.state.raise_horizon(Hlc::new(3, 0, ReplicaId([0xff; 16]))).unwrap();
        side.commit(work);
    }
    (a, b)
}

/// A has collected the tombstone of a deleted collection. B has written into the collection since, and so
/// still has the tombstone.
///
/// Promises: I4
#[test]
fn collected_parent_of_newer_write_returns() {
    let gone = [
        set(9, &[], 1, 1, 4),
        set(2, &[1], 1, 1, 4),
        Action::DeleteRef { id: EntityId::from_u64(1), ancestors: vec![], deleted_at: stamp(2, 1) },
    ];
    for kind in SyncProtocolKind::EXECUTABLE {
        for pushed in [false, true] {
            let (mut a, mut b) = collected_and_kept(kind, &gone, &set(3, &[1], 5, 2, 4));
            let records = |side: &Side| Interface::open(side.store.view()).unwrap().stats().unwrap().records;
            assert_eq!((records(&a), records(&b)), (1, 4), "one side has collected, the other could not");
            let (from, to) = if pushed { (&mut b, &mut a) } else { (&mut a, &mut b) };
            let (outcome, ..) = run(from, to, false, undisturbed);
            assert_eq!(outcome, Outcome::Converged { root: b.root() }, "{kind}, pushed: {pushed}");
            assert_eq!(a.root(), b.root());
        }
    }
}

/// One side has collected a deleted collection, and the other could not. Wherever a session is cut off, what the delete hides is
/// hidden: the other side may collect the delete before the next session.
///
/// Promises: I4
#[test]
fn hidden_records_never_arrive_before_their_delete() {
    let children = 100..400;
    let mut gone: Vec<Action> = children.clone().map(|id| set(id, &[1], 1, 1, 2_000)).collect();
    gone.push(set(9, &[], 1, 1, 4));
    gone.push(Action::DeleteRef { id: EntityId::from_u64(1), ancestors: vec![], deleted_at: stamp(2, 1) });
    let later = set(3, &[1], 5, 2, 4);
    for kind in SyncProtocolKind::EXECUTABLE {
        for pushed in [false, true] {
            let (mut a, mut b) = collected_and_kept(kind, &gone, &later);
            a.write(std::slice::from_ref(&later));
            let hides = |side: &Side| {
                let mut state = Interface::open(side.store.view()).unwrap();
                children.clone().all(|id| !state.is_visible(EntityId::from_u64(id)).unwrap())
            };
            let is_hidden = |_: u64, one: &mut Side, other: &mut Side| {
                assert!(hides(one) && hides(other), "{kind}, pushed: {pushed}");
            };
            let (from, to) = if pushed { (&mut b, &mut a) } else { (&mut a, &mut b) };
            let (outcome, stats, _) = run(from, to, false, is_hidden);
            assert_eq!(outcome, Outcome::Converged { root: b.root() }, "{kind}, pushed: {pushed}");
            assert!(stats.round_trips > 3 && hides(&a), "{stats:?}");
        }
    }
}

/// What the peer has collected by a horizon that is ahead of the own clock, this side may not forget yet. It would go on
/// writing before that horizon.
#[test]
fn horizon_ahead_of_clock_is_no_convergence() {
    let mut a = Side::new(1, &many(1, 5, 1));
    let mut b = Side::new(2, &many(1, 5, 1));
    let now = a.begin().context.moment.wall_ms;
    for (ahead_ms, expected) in [
        (4_000, Outcome::Converged { root: b.root() }),
        (9_000, Outcome::SyncPending(RetryReason::ClockDrift)),
    ] {
        let mut work = b.begin();
        work.state.raise_horizon(Hlc::new(now + ahead_ms, 0, ReplicaId([0xff; 16]))).unwrap();
        b.commit(work);
        let (outcome, ..) = run(&mut a, &mut b, false, undisturbed);
        assert_eq!(outcome, expected, "{ahead_ms}");
    }
}

#[test]
fn delta_gap_closes_in_one_round_trip() {
    let mut a = Side::new(1, &many(1, 50, 1));
    let mut b = Side::new(2, &many(1, 50, 1));
    let mut bytes = 0;
    for n in 0..60 {
        a.write_delta(&[set(100 + n, &[], 10 + n, 1, 40)], 10 + n);
        b.write_delta(&[set(300 + n, &[], 10 + n, 2, 40)], 10 + n);
        bytes += 2 * DeltaLog::read(&a.store, Dot { author: a.replica, seq: n + 1 }).unwrap().unwrap().len();
    }
    let request = Session::start(SessionId(1), a.describe()).2;
    let handshakes = request.to_bytes().len() + b.respond(&request).to_bytes().len();
    let (outcome, stats, protocol) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!(protocol, Some(SyncProtocolKind::DeltaSync));
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert_eq!((stats.round_trips, stats.deltas_received, stats.deltas_pushed, stats.walks), (2, 60, 60, 0));
    assert_eq!(a.log.covered(), b.log.covered());
    assert!(handshakes < bytes / 10, "the handshake is small beside the deltas: {handshakes} of {bytes}");
}

#[test]
fn interleaved_deltas_apply_in_causal_order() {
    let mut a = Side::new(1, &[]);
    let mut b = Side::new(2, &many(1, 3, 1));
    a.write(&many(1, 3, 1));
    for round in 0..20 {
        a.write_delta(&[set(50 + round, &[], 10 + round, 1, 900)], 10 + 2 * round);
        let mut copy = Side::new(1, &[]);
        std::mem::swap(&mut copy, &mut a);
        let (outcome, ..) = run(&mut copy, &mut b, false, undisturbed);
        assert!(matches!(outcome, Outcome::Converged { .. }), "{outcome:?}");
        std::mem::swap(&mut copy, &mut a);
        b.write_delta(&[set(90 + round, &[], 10 + round, 2, 900)], 11 + 2 * round);
        // The parent of each delta is the last delta of the other side.
        assert_eq!(b.log.heads().len(), 1);
        run(&mut b, &mut a, false, undisturbed);
    }
    assert_eq!(a.root(), b.root());
    let mut late = Side::new(3, &many(1, 3, 1));
    let (outcome, stats, protocol) = run(&mut late, &mut b, false, undisturbed);
    assert_eq!(
        (outcome, protocol),
        (Outcome::Converged { root: b.root() }, Some(SyncProtocolKind::DeltaSync))
    );
    assert_eq!((stats.deltas_received, stats.walks), (40, 0));
}

#[test]
fn peer_below_floor_gets_state_sync() {
    let mut a = Side::new(1, &many(1, 50, 1));
    let mut b = Side::new(2, &many(1, 50, 1));
    // A log without deltas of others prunes nothing so soon.
    a.write_delta(&[set(200, &[], 9, 1, 40)], 9);
    run(&mut a, &mut b, false, undisturbed);
    b.log = DeltaLog::load(&b.store, 5).unwrap();
    for n in 0..20 {
        b.write_delta(&[set(300 + n, &[], 10 + n, 2, 40)], 10 + n);
    }
    let dot = |seq| Dot { author: ReplicaId::from_u64(2), seq };
    assert!(DeltaLog::read(&b.store, dot(15)).unwrap().is_none(), "pruned");
    assert!(DeltaLog::read(&b.store, dot(16)).unwrap().is_some(), "stored");
    let (outcome, stats, protocol) = run(&mut a, &mut b, false, undisturbed);
    assert_ne!(protocol, Some(SyncProtocolKind::DeltaSync));
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert_eq!(stats.deltas_received, 0);
}

#[test]
fn insufficient_deltas_are_followed_by_walk() {
    let mut a = Side::new(1, &many(1, 50, 1));
    let mut b = Side::new(2, &many(30, 80, 2));
    b.write_delta(&[set(300, &[], 10, 2, 40)], 10);
    let (outcome, stats, protocol) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!(protocol, Some(SyncProtocolKind::DeltaSync));
    assert_eq!((outcome, stats.walks), (Outcome::Converged { root: b.root() }, 1));
}

/// An entity below which a delta writes may be collected on the other side, whichever side starts.
#[test]
fn deltas_below_missing_ancestor_are_followed_by_walk() {
    for initiator_writes in [false, true] {
        let mut lacking = Side::new(1, &many(1, 50, 1));
        let mut author = Side::new(2, &many(1, 50, 1));
        let path: Vec<u64> = (1_000..1_040).collect();
        author.write(&[set(1_040, &path, 9, 2, 40)]);
        let mut work = author.begin();
        let dot = Dot { author: author.replica, seq: 1 };
        let relative = work.state.relative(set(1_041, &path, 10, 2, 40)).unwrap();
        assert!(relative.above > 0);
        let delta = Delta::new(dot, vec![], Hlc::new(10, 0, author.replica), vec![]);
        let delta = Delta { actions: vec![relative], ..delta };
        assert_eq!(work.apply_delta(&delta), Ok(()));
        author.commit(work);
        let mut refusing = lacking.begin();
        let before = refusing.state.root_hash().unwrap();
        assert_eq!(refusing.apply_delta(&delta), Err(DeltaRefusal::MissingAncestor.into()));
        assert_eq!(refusing.state.root_hash().unwrap(), before, "L5");
        let (a, b) = if initiator_writes { (&mut author, &mut lacking) } else { (&mut lacking, &mut author) };
        let (outcome, stats, protocol) = run(a, b, false, undisturbed);
        assert_eq!(protocol, Some(SyncProtocolKind::DeltaSync));
        assert_eq!((outcome, stats.walks), (Outcome::Converged { root: b.root() }, 1));
    }
}

#[test]
fn deltas_are_paged() {
    let mut a = Side::new(1, &many(1, 5, 1));
    let mut b = Side::new(2, &many(1, 5, 1));
    for n in 0..100 {
        b.write_delta(&[set(300 + n, &[], 10 + n, 2, 16_000)], 10 + n);
    }
    let (outcome, stats, _) = run(&mut a, &mut b, true, undisturbed);
    assert_eq!(
        (outcome, stats.deltas_received, stats.walks),
        (Outcome::Converged { root: b.root() }, 100, 0)
    );
    assert!(stats.round_trips >= 7, "{stats:?}");
}

#[test]
fn rejects_other_version() {
    let a = Side::new(1, &[set(1, &[], 1, 1, 3)]);
    let mut b = Side::new(2, &[]);
    let (mut session, id, _) = Session::start(SessionId(1), a.describe());
    let old = SyncHandshake { version: 0, ..a.describe() };
    let response = b.respond(&Request::Handshake(Box::new(old)));
    let progress = session.on_response(id, &response, &mut a.begin()).unwrap();
    let SessionProgress::Done(Outcome::Failed(FailureReason::Rejected(rejection))) = progress else {
        panic!()
    };
    assert_eq!(rejection, Rejection::Version { theirs: SYNC_PROTOCOL_VERSION });
}

/// A handshake of another version is answered whatever its fields are, so that both ends learn the versions.
#[test]
fn answers_handshake_with_unknown_fields() {
    let mut b = Side::new(2, &[]);
    let ours = Request::Handshake(Box::new(b.describe())).to_bytes();
    let (tag, fields) = ours.split_at(1);
    let bodies: [&[u8]; 4] =
        [&[], &[0xff; 300], &fields[4..fields.len() - 1], &[&fields[4..], &[0]].concat()];
    for version in [0, SYNC_PROTOCOL_VERSION - 1, SYNC_PROTOCOL_VERSION + 1, u32::MAX] {
        for body in bodies {
            let bytes = [tag, &version.to_le_bytes(), body].concat();
            let request = Request::from_bytes(&bytes).unwrap();
            assert_eq!(request, Request::ForeignHandshake { version, fields: body.into() });
            assert_eq!(request.to_bytes(), bytes, "it is encoded as it was");
            let Response::Rejected(rejection) = b.respond(&request) else { panic!("a rejection") };
            assert_eq!(rejection, Rejection::Version { theirs: SYNC_PROTOCOL_VERSION });
        }
    }
    // With this version, the same fields are an error.
    for body in bodies {
        let bytes = [tag, &SYNC_PROTOCOL_VERSION.to_le_bytes(), body].concat();
        assert!(Request::from_bytes(&bytes).is_err());
    }
    let text = Rejection::Version { theirs: 9 }.to_string();
    let own = format!("this replica version {SYNC_PROTOCOL_VERSION}");
    assert!(text.contains("version 9") && text.contains(&own) && text.contains("same version"), "{text}");
}

#[test]
fn equal_roots_transfer_nothing() {
    let mut a = Side::new(1, &many(1, 50, 1));
    let mut b = Side::new(2, &many(1, 50, 1));
    let (outcome, stats, protocol) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!((outcome, protocol), (Outcome::Converged { root: b.root() }, Some(SyncProtocolKind::None)));
    assert_eq!((stats.round_trips, stats.records_received, stats.records_pushed), (1, 0, 0));
}

/// Promises: G2
#[test]
fn oversized_text_still_syncs() {
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
    for kind in [HashComparison, BloomFilter, SubtreePrefetch, LevelWise, Snapshot] {
        let mut b = Side::new(2, &edits);
        let mut a = Side::new(1, if kind == Snapshot { &[] } else { &edits[..1] });
        a.requested_protocol = Some(kind);
        let (outcome, _, selected) = run(&mut a, &mut b, false, undisturbed);
        assert_eq!(selected, Some(kind));
        assert_eq!(outcome, Outcome::Converged { root: b.root() }, "{kind}");
        let mut state = Interface::open(a.store.view()).unwrap();
        assert_eq!(state.rebuilt_root().unwrap(), state.root_hash().unwrap());
    }
}

#[test]
fn bloom_filters_handle_oversized_difference() {
    let count = limits::MAX_MISSING as u64 + 2_000;
    let mut a = Side::new(1, &many(1, count, 1));
    let mut b = Side::new(2, &many(count, 2 * count, 2));
    a.requested_protocol = Some(SyncProtocolKind::BloomFilter);
    let (outcome, stats, _) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert_eq!(stats.walks, 1, "a walk finds the rest");
}

#[test]
fn fast_readers_spare_slow_readers_view() {
    let mut b = Side::new(2, &many(1, 1_000, 2));
    let page = |boundary| Request::SnapshotPage { boundary, after: Cursor::default(), compressed: false };
    let slow = b.root();
    assert!(matches!(b.respond(&page(slow)), Response::SnapshotPage(_)));
    let mut cached = vec![slow];
    for n in 0..3 {
        b.write(&[set(5_000 + n, &[], 2, 2, 9)]);
        cached.push(b.root());
        assert!(matches!(b.respond(&page(cached[1])), Response::SnapshotPage(_)));
    }
    assert!(matches!(b.respond(&page(slow)), Response::SnapshotPage(_)), "its view is still cached");
}

#[test]
fn rejects_implausible_coverage_claim() {
    let mut a = Side::new(1, &many(1, 9, 1));
    let mut b = Side::new(2, &many(1, 9, 1));
    b.write_delta(&[set(300, &[], 10, 2, 40)], 10);
    let (mut session, id, request) = Session::start(SessionId(1), a.describe());
    let Response::Handshake(mut reply) = b.respond(&request) else { panic!() };
    reply.theirs.covered.cover(Dot { author: a.replica, seq: limits::MAX_DELTA_SEQ });
    let mut work = a.begin();
    let progress = session.on_response(id, &Response::Handshake(reply), &mut work).unwrap();
    assert!(
        matches!(progress, SessionProgress::Done(Outcome::Failed(FailureReason::Protocol(_)))),
        "{progress:?}"
    );
    a.commit(work);
    a.write_delta(&[set(301, &[], 11, 1, 40)], 11);
}
