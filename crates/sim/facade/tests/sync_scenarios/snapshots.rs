//! A fresh replica takes a snapshot while things go wrong around it.

use sync_sim::prelude::*;

fn set(key: u64) -> Vec<Operation> {
    vec![Operation::Set { target: Target::named(&key.to_le_bytes()), bytes: b"meanwhile".to_vec() }]
}

/// A joiner that has taken some pages, and none is shown.
fn joining(seed: u64, nodes: usize) -> (SimRuntime, Vec<NodeId>, NodeId) {
    let mut rt = SimRuntime::with_seed(seed);
    let all = rt.apply_scenario(Scenario::fresh_joiner(nodes, 6_000));
    let (fresh, others) = all.split_last().expect("nodes");
    let stop = rt.run_until(|rt| rt.metrics().fates.delivered > 10);
    assert_eq!(stop, StopCondition::Manual);
    assert_entity_count!(rt, *fresh, 0);
    (rt, others.to_vec(), *fresh)
}

/// Whom the joiner reads from.
fn giver(rt: &SimRuntime, fresh: NodeId) -> NodeId {
    let replica = rt.node(fresh).replica().expect("it is up");
    replica.syncing_with().next().expect("a session").into()
}

#[test]
fn the_giver_crashes_and_is_written_to_and_nothing_begins_again() {
    let (mut rt, _, fresh) = joining(21, 2);
    let giver = giver(&rt, fresh);
    rt.crash_at(rt.now(), giver, CrashPoint::Now, Some(SimDuration::from_millis(200)));
    for key in 0..5 {
        rt.write_at(rt.now() + SimDuration::from_millis(201 + key), giver, set(key));
    }
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_entity_count!(rt, fresh, 6_005);
    assert!(rt.metrics().protocol.entities_transferred < 7_000, "{:?}", rt.metrics().protocol);
}

#[test]
fn the_giver_is_gone_for_good_and_another_goes_on() {
    let (mut rt, others, fresh) = joining(22, 3);
    let giver = giver(&rt, fresh);
    let other = *others.iter().find(|node| **node != giver).expect("another");
    rt.crash_at(rt.now(), giver, CrashPoint::Now, Some(SimDuration::from_secs(20)));
    rt.write_at(rt.now() + SimDuration::from_millis(5), other, set(1));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_entity_count!(rt, fresh, 6_001);
    assert!(rt.metrics().protocol.entities_transferred < 7_000, "{:?}", rt.metrics().protocol);
}

#[test]
fn both_crash_again_and_again() {
    let (mut rt, _, fresh) = joining(23, 2);
    let giver = giver(&rt, fresh);
    for round in 0..6u64 {
        let node = if round % 2 == 0 { giver } else { fresh };
        let at = rt.now() + SimDuration::from_millis(300 * round);
        rt.crash_at(at, node, CrashPoint::AfterCommit, Some(SimDuration::from_millis(100)));
        rt.write_at(at + SimDuration::from_millis(150), giver, set(round));
    }
    assert_eq!(rt.run(), StopCondition::Converged);
    // A write that finds its replica down is refused.
    let accepted = rt.metrics().protocol.writes_accepted as usize;
    assert!(accepted >= 4, "{accepted} writes");
    assert_entity_count!(rt, fresh, 6_000 + accepted);
}

#[test]
fn what_the_joiner_writes_meanwhile_is_there_at_once_and_stays() {
    let (mut rt, others, fresh) = joining(24, 3);
    for key in 0..20 {
        rt.write_at(rt.now() + SimDuration::from_millis(key), fresh, set(key));
        rt.write_at(rt.now() + SimDuration::from_millis(key), others[key as usize % 2], set(100 + key));
    }
    let until = rt.now() + SimDuration::from_millis(25);
    rt.run_until(|rt| rt.now() >= until);
    assert_entity_count!(rt, fresh, 20);
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_entity_count!(rt, fresh, 6_040);
}

#[test]
fn joiners_under_heavy_chaos_end_with_everything() {
    for seed in 0..60 {
        let faults = FaultConfig::heavy_chaos().with_crashes(0.02, 20..2_000);
        let mut rt = SimRuntime::with_config(SimConfig::with_seed(seed).with_faults(faults));
        rt.apply_scenario(Scenario::fresh_joiner(3, 2_000));
        rt.apply_workload(&Workload::new(40, SimDuration::from_secs(4)));
        let stop = rt.run();
        assert_eq!(stop, StopCondition::Converged, "seed {seed}: {stop}");
    }
}
