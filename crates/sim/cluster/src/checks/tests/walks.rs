//! The checks of sessions that walk without need.

use super::*;
use crate::node::SessionNote;
use syncline_types::{Probe, Probes};

/// Promises: I4
#[test]
fn walk_after_deltas_needs_a_reason() {
    let stats = SessionStats { walks: 1, records_received: 3, ..SessionStats::default() };
    let root = |pair: &Pair| Outcome::Converged { root: pair.replica(B).root() };
    let started = Notice::SessionStarted { peer: B.into() };
    // Alice lacks a delta that bob's log has.
    let session = |during: &mut dyn FnMut(&mut Pair, &mut CheckMemory)| {
        let mut pair = Pair::new();
        pair.write(B);
        let mut memory = CheckMemory::default();
        assert_eq!(pair.step(&mut memory, A, std::slice::from_ref(&started)), None);
        during(&mut pair, &mut memory);
        pair.step(&mut memory, A, &[ended(B, root(&pair), stats)])
    };
    let needless = session(&mut |_, _| {});
    assert!(matches!(needless, Some(Check::NeedlessWalk { records: 3, .. })), "{needless:?}");
    let written = session(&mut |pair, memory| {
        pair.write(B);
        assert_eq!(pair.step(memory, B, &[]), None);
    });
    assert_eq!(written, None, "bob's state has changed");
    let busy = session(&mut |pair, memory| {
        assert_eq!(pair.step(memory, B, &[Notice::SessionStarted { peer: A.into() }]), None);
    });
    assert_eq!(busy, None, "another session may have changed something");
    let restarted = session(&mut |pair, memory| {
        let step = CheckedStep { went_down: true, ..quiet(B) };
        assert_eq!(after_step(memory, &step, pair), None);
    });
    assert_eq!(restarted, None);
}

/// Promises: I4
#[test]
fn early_delta_explains_a_walk() {
    let stats = SessionStats { walks: 1, records_pushed: 3, ..SessionStats::default() };
    // Bob lacks a delta that alice has made at 2 ms, and may take no stamp that is ahead of his clock.
    let session = |bobs_time| {
        let mut pair = Pair::new();
        let strict = ReplicaConfig { max_drift_ms: 0, ..ReplicaConfig::new(context_id(0), replica_id(B)) };
        pair.nodes[1] = SimNode::new(B, strict, MemoryStore::default());
        pair.write(A);
        let mut memory = CheckMemory::default();
        assert_eq!(pair.step(&mut memory, A, &[Notice::SessionStarted { peer: B.into() }]), None);
        pair.now = SimTime::from_millis(bobs_time);
        let answer =
            CheckedStep { frame: Some((A, FrameKind::DeltaSync.into())), accepted: true, ..quiet(B) };
        assert_eq!(after_step(&mut memory, &answer, &pair), None);
        pair.now = SimTime::from_millis(10);
        let root = pair.replica(B).root();
        pair.step(&mut memory, A, &[ended(B, Outcome::Converged { root }, stats)])
    };
    assert!(matches!(session(2), Some(Check::NeedlessWalk { records: 3, .. })));
    assert_eq!(session(1), None, "bob has refused the delta");
}

/// Promises: I4
#[test]
fn second_walk_needs_a_reason() {
    let started = [Notice::SessionStarted { peer: B.into() }];
    // Sessions in which alice's replica notes these branches.
    let session = |times: u32, branches: &[Probe]| {
        let mut pair = Pair::new();
        pair.write(B);
        let mut memory = CheckMemory::default();
        let mut probes = Probes::default();
        branches.iter().for_each(|branch| probes.note(*branch));
        let note = SessionNote { asked: SimTime::from_millis(5), probes, ..SessionNote::default() };
        pair.nodes[0].first_mut().end_session(B.into(), note);
        (0..times).find_map(|_| {
            assert_eq!(pair.step(&mut memory, A, &started), None);
            let root = pair.replica(B).root();
            pair.step(&mut memory, A, &[ended(B, Outcome::Converged { root }, SessionStats::default())])
        })
    };
    assert_eq!(session(1, &[Probe::SecondWalk]), None, "short digests may be equal by chance, once");
    assert!(matches!(session(2, &[Probe::SecondWalk]), Some(Check::WalkedTwice { .. })));
    assert_eq!(session(9, &[Probe::SecondWalk, Probe::OrphansDropped]), None, "records came out of order");
    let given_up = [Probe::SecondWalk, Probe::PrefetchGivenUp];
    assert_eq!(session(9, &given_up), None, "the walk was the rest of a prefetch");
    assert_eq!(session(9, &[]), None);
}
