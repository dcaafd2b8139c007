//! Differences that sketches locate.

use super::side::Side;
use super::side::*;

use syncline_storage::Action;
use syncline_sync::*;
use syncline_types::{Digest, EntityId};

/// Registers with random ids, as applications have.
fn spread(from: u64, to: u64, ms: u64, replica: u64) -> Vec<Action> {
    let one = |n: u64| match set(n, &[], ms, replica, 20) {
        Action::Add { value, metadata, .. } => {
            let id = EntityId(Digest::of(99, &n.to_le_bytes()).0);
            Action::Add { id, ancestors: vec![], value, metadata }
        }
        other => other,
    };
    (from..to).map(one).collect()
}

/// Two sides with `shared` common registers, and `ours` and `theirs` registers of their own.
fn pair(shared: u64, ours: u64, theirs: u64) -> (Side, Side) {
    let both = spread(0, shared, 1, 9);
    let mut a = Side::new(1, &[both.clone(), spread(1_000_000, 1_000_000 + ours, 1, 1)].concat());
    let b = Side::new(2, &[both, spread(2_000_000, 2_000_000 + theirs, 1, 2)].concat());
    a.selection = Selection::Adaptive;
    (a, b)
}

/// Whether so many records were received for this number of requests. Of twenty thousand records one or two may share
/// the short id of a requested one, and come with it.
fn has_received(received: u64, requested: u64) -> bool {
    (requested..=requested + 2).contains(&received)
}

#[test]
fn handshake_locates_small_difference() {
    for (ours, theirs) in [(0, 1), (1, 0), (0, 10), (5, 5), (10, 0)] {
        let (mut a, mut b) = pair(2_000, ours, theirs);
        let (outcome, stats, protocol) = run(&mut a, &mut b, false, undisturbed);
        assert_eq!(outcome, Outcome::Converged { root: b.root() });
        assert_eq!(protocol, Some(SyncProtocolKind::RatelessIblt));
        // The answer to the handshake contains what we lack; a second request pushes what they lack.
        assert_eq!(stats.round_trips, 1 + u64::from(ours > 0), "{ours} and {theirs}");
        assert_eq!((stats.records_received, stats.records_pushed, stats.walks), (theirs, ours, 0));
    }
}

#[test]
fn larger_difference_takes_two_round_trips() {
    let mut more = 0;
    for (ours, theirs) in [(50, 50), (0, 100), (400, 0), (500, 500)] {
        let (mut a, mut b) = pair(3_000, ours, theirs);
        let (outcome, stats, protocol) = run(&mut a, &mut b, false, undisturbed);
        assert_eq!(outcome, Outcome::Converged { root: b.root() });
        assert_eq!((protocol, stats.walks), (Some(SyncProtocolKind::RatelessIblt), 0));
        more += stats.round_trips - 2;
        assert_eq!((stats.records_received, stats.records_pushed), (theirs, ours));
    }
    // Once in some dozen sessions the first cells do not decode.
    assert!(more <= 1, "{more} more round trips than two for each session");
}

#[test]
fn updated_records_cross_once() {
    let (mut a, mut b) = pair(1_000, 0, 0);
    a.write(&spread(0, 4, 7, 1));
    b.write(&spread(4, 8, 8, 2));
    let (outcome, stats, _) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert_eq!((stats.round_trips, stats.walks), (2, 0));
    // The peer's four older records come too: a symbol does not show which side is newer.
    assert_eq!((stats.records_received, stats.records_pushed), (8, 4));
}

#[test]
fn decodes_cells_beyond_stored_ones() {
    let (mut a, mut b) = pair(60_000, 900, 1_000);
    a.requested_protocol = Some(SyncProtocolKind::RatelessIblt);
    let (outcome, stats, _) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert!(stats.cells > Sketch::CELLS as u64, "{} cells", stats.cells);
    assert_eq!((stats.records_received, stats.records_pushed, stats.walks), (1_000, 900, 0));
}

#[test]
fn large_difference_uses_filtered_iblt() {
    for (shared, ours, theirs) in
        [(20_000, 1_500, 2_000), (20_000, 0, 3_000), (20_000, 3_000, 0), (9, 3_000, 3_000)]
    {
        let (mut a, mut b) = pair(shared, ours, theirs);
        a.requested_protocol = Some(SyncProtocolKind::RatelessIblt);
        let (outcome, stats, _) = run(&mut a, &mut b, false, undisturbed);
        assert_eq!(outcome, Outcome::Converged { root: b.root() });
        assert_eq!((stats.records_pushed, stats.walks), (ours, 0));
        assert!(has_received(stats.records_received, theirs), "{stats:?}");
        // The handshake, the filters, and a page for each thousand records.
        let pages = ours.max(theirs).div_ceil(1_024);
        assert_eq!(stats.round_trips, 2 + pages, "{ours} and {theirs}");
        assert!(stats.cells < ours + theirs, "{} cells for {ours} and {theirs}", stats.cells);
    }
}

#[test]
fn filtered_iblt_finds_updated_records() {
    let (mut a, mut b) = pair(10_000, 0, 0);
    a.write(&spread(0, 1_000, 7, 1));
    b.write(&spread(1_000, 2_000, 8, 2));
    a.requested_protocol = Some(SyncProtocolKind::RatelessIblt);
    let (outcome, stats, _) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!((outcome, stats.walks), (Outcome::Converged { root: b.root() }, 0));
    assert_eq!(stats.records_pushed, 1_000);
    assert!(has_received(stats.records_received, 2_000), "{stats:?}");
}

/// Registers of a collection under the root.
fn collection(name: u64, from: u64, to: u64, replica: u64) -> Vec<Action> {
    let parent = EntityId(Digest::of(98, &name.to_le_bytes()).0);
    let below = |action| match action {
        Action::Add { id, value, metadata, .. } => {
            Action::Add { id, ancestors: vec![parent], value, metadata }
        }
        other => other,
    };
    spread(from, to, 1, replica).into_iter().map(below).collect()
}

#[test]
fn sample_leads_to_differing_subtree() {
    // In one collection among many registers; on both sides, only at the peer, only here.
    for (ours, theirs, trips) in [(300, 300, 3), (0, 400, 3), (400, 0, 3)] {
        let (mut a, mut b) = pair(2_000, 0, 0);
        a.write(&collection(1, 500_000, 500_000 + ours, 1));
        b.write(&collection(1, 600_000, 600_000 + theirs, 2));
        a.requested_protocol = Some(SyncProtocolKind::SubtreePrefetch);
        let (outcome, stats, protocol) = run(&mut a, &mut b, false, undisturbed);
        assert_eq!(outcome, Outcome::Converged { root: b.root() });
        assert_eq!((protocol, stats.walks), (Some(SyncProtocolKind::SubtreePrefetch), 0), "{stats:?}");
        assert!(stats.round_trips <= trips, "{ours} and {theirs}: {stats:?}");
    }
}

#[test]
fn scattered_sample_leads_to_walk() {
    let (mut a, mut b) = pair(2_000, 0, 0);
    for name in 0..40 {
        a.write(&collection(name, 500_000 + 10 * name, 500_005 + 10 * name, 1));
    }
    b.write(&spread(700_000, 700_050, 1, 2));
    a.requested_protocol = Some(SyncProtocolKind::SubtreePrefetch);
    let (outcome, stats, _) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert_eq!((stats.records_pushed, stats.walks), (200 + 40, 0), "{stats:?}");
}

#[test]
fn locates_difference_at_any_depth() {
    let path: Vec<u64> = (1..=1_000).collect();
    let shared: Vec<Action> = (0..1_000).map(|depth| set(path[depth], &path[..depth], 1, 9, 20)).collect();
    let mut a = Side::new(1, &shared);
    let mut b = Side::new(2, &shared);
    a.selection = Selection::Adaptive;
    b.write(&[set(5_000, &path, 2, 2, 20)]);
    a.write(&[set(5_001, &path[..500], 2, 1, 20)]);
    let (outcome, stats, _) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert_eq!((stats.round_trips, stats.walks), (2, 0));
    // A whole chain that only one side has is joined parents first.
    let mut a = Side::new(1, &spread(0, 9, 1, 1));
    let mut b = Side::new(2, &shared);
    a.requested_protocol = Some(SyncProtocolKind::RatelessIblt);
    let (outcome, stats, _) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!((outcome, stats.walks), (Outcome::Converged { root: b.root() }, 0));
}

#[test]
fn finds_updated_root_record() {
    let (mut a, mut b) = pair(100, 0, 0);
    let Action::Add { value, metadata, .. } = set(1, &[], 5, 2, 9) else { panic!() };
    b.write(&[Action::Update { id: EntityId::ROOT, ancestors: vec![], value, metadata }]);
    let (outcome, stats, _) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!((outcome, stats.walks), (Outcome::Converged { root: b.root() }, 0));
}

#[test]
fn unrelated_cells_end_in_walk() {
    let (mut a, mut b) = pair(500, 300, 300);
    a.requested_protocol = Some(SyncProtocolKind::RatelessIblt);
    let (mut session, mut id, request) = Session::start(SessionId(1), a.describe());
    let mut response = b.respond(&request);
    for round in 0.. {
        assert!(round < 20, "the session does not end");
        // Cells of an unrelated state.
        let nonsense = Side::new(3, &spread(9_000 + round * 999, 9_900 + round * 999, 1, 3));
        if let Response::Handshake(reply) = &mut response {
            let mut work = nonsense.begin();
            reply.located =
                Some(LocatedDifference::Cells(work.sketch().unwrap().cells(0, 300).unwrap().to_vec()));
        }
        if let Response::Exchange(reply) = &mut response {
            for answer in &mut reply.answers {
                if let Answer::Cells(cells) = answer {
                    *cells = nonsense.begin().sketch().unwrap().cells(0, cells.len()).unwrap().to_vec();
                }
            }
        }
        let mut work = a.begin();
        let progress = session.on_response(id, &response, &mut work).unwrap();
        a.commit(work);
        match progress {
            SessionProgress::Send(next, request) => (id, response) = (next, b.respond(&request)),
            SessionProgress::Done(outcome) => {
                assert_eq!(outcome, Outcome::Converged { root: b.root() });
                assert_eq!(session.stats().walks, 1);
                return;
            }
            SessionProgress::Ignored => panic!(),
        }
    }
}

#[test]
fn implausible_handshake_causes_no_harm() {
    for claim in [0, 1, 1 << 40, 1 << 63, u64::MAX] {
        let (a, mut b) = pair(50, 5, 5);
        let mut ours = a.describe();
        ours.entity_count = claim;
        ours.link = Link { round_trip_us: claim, bytes_per_second: claim };
        let before = b.root();
        assert!(matches!(b.respond(&Request::Handshake(Box::new(ours))), Response::Handshake(_)));
        assert_eq!(b.root(), before);
    }
}

#[test]
fn orphans_wait_for_their_parents() {
    // Symbols are requested in the order in which they decode, which is independent of parents.
    let parents: Vec<Action> = (1..=40).map(|n| set(n, &[], 1, 2, 9)).collect();
    let children = (0..400).map(|n| set(1_000 + n, &[n % 40 + 1, 500 + n % 40], 1, 2, 9));
    let theirs: Vec<Action> = parents.into_iter().chain(children).collect();
    let mut a = Side::new(1, &spread(0, 9, 1, 1));
    let mut b = Side::new(2, &theirs);
    a.requested_protocol = Some(SyncProtocolKind::RatelessIblt);
    let (outcome, stats, _) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!((outcome, stats.walks), (Outcome::Converged { root: b.root() }, 0));
}

#[test]
fn large_records_are_paged() {
    let (mut a, mut b) = pair(100, 0, 0);
    b.write(&(0..8).map(|n| set(700 + n, &[], 2, 2, 90_000)).collect::<Vec<_>>());
    let (outcome, stats, _) = run(&mut a, &mut b, false, undisturbed);
    assert_eq!(outcome, Outcome::Converged { root: b.root() });
    assert_eq!((stats.records_received, stats.walks), (8, 0), "{stats:?}");
}
