//! Scripted faults of disks.

use super::set;
use sync_sim::prelude::*;

fn nine() -> EntityId {
    EntityId::from_u64(9)
}

fn three() -> (SimRuntime, [NodeId; 3]) {
    let mut rt = SimRuntime::with_seed(5);
    let nodes = rt.apply_scenario_n(Scenario::n_nodes_synced(3, 5));
    (rt, nodes)
}

#[test]
fn a_failed_write_restarts_its_node() {
    let (mut rt, [alice, _, _]) = three();
    rt.fail_write_at(1_000.into(), alice);
    rt.write_at(1_001.into(), alice, set(9, 1));
    rt.write_at(4_000.into(), alice, set(10, 1));
    assert_eq!(rt.run(), StopCondition::Converged);
    let metrics = rt.metrics();
    assert_eq!((metrics.effects.hosts.failed_writes, metrics.effects.node_crashes), (1, 1));
    assert_eq!((metrics.protocol.writes_accepted, metrics.protocol.writes_refused), (1, 1));
    assert!(!rt.has_entity("carol", nine()) && rt.has_entity("carol", EntityId::from_u64(10)));
}

/// Alice's disk lies about a sync, no other node learns of the write, and then she loses power.
fn alice_loses_a_write(config: SimConfig) -> (SimRuntime, NodeId) {
    let mut rt = SimRuntime::with_config(config);
    let [alice, _, _] = rt.apply_scenario_n(Scenario::n_nodes_synced(3, 5));
    rt.lie_about_syncs_at(1_000.into(), alice, true);
    rt.partition_groups(&[vec![alice], vec![NodeId(1), NodeId(2)]], Some(SimDuration::from_secs(3)));
    rt.write_at(1_500.into(), alice, set(9, 1));
    rt.crash_at(2_000.into(), alice, CrashPoint::Now, Some(500.into()));
    rt.lie_about_syncs_at(2_001.into(), alice, false);
    rt.write_at(6_000.into(), alice, set(10, 1));
    assert_eq!(rt.run(), StopCondition::Converged, "{}", rt.explain());
    (rt, alice)
}

#[test]
fn a_detected_private_loss_is_excused() {
    let (rt, alice) = alice_loses_a_write(SimConfig::with_seed(5));
    let effects = rt.metrics().effects.hosts;
    assert_eq!((effects.lost_commits, effects.fresh_starts), (1, 1), "{effects:?}");
    assert!(!rt.has_entity(alice, nine()) && rt.has_entity("carol", EntityId::from_u64(10)));
    assert_ne!(rt.node(alice).replica().unwrap().config().replica, sync_sim::node::replica_id(alice));
}

#[test]
fn an_undetected_loss_is_excused() {
    let faults = FaultConfig::default().without_noticing_lies();
    let (rt, alice) = alice_loses_a_write(SimConfig::with_seed(5).with_faults(faults));
    let effects = rt.metrics().effects.hosts;
    assert_eq!((effects.lost_commits, effects.fresh_starts), (1, 0), "{effects:?}");
    assert_eq!(rt.node(alice).replica().unwrap().config().replica, sync_sim::node::replica_id(alice));
}

#[test]
fn a_shared_write_survives_the_loss() {
    let (mut rt, [alice, _, _]) = three();
    rt.lie_about_syncs_at(1_000.into(), alice, true);
    rt.write_at(1_500.into(), alice, set(9, 1));
    rt.crash_at(2_000.into(), alice, CrashPoint::Now, Some(500.into()));
    rt.write_at(3_000.into(), "carol", set(10, 1));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert!(rt.metrics().effects.hosts.lost_commits > 0);
    assert!(rt.has_entity(alice, nine()));
}

#[test]
fn an_orphaned_delta_is_dropped() {
    let mut rt = SimRuntime::with_seed(5);
    let [alice, bob] = rt.apply_scenario_n(Scenario::n_nodes_synced(2, 5));
    assert_eq!(rt.run(), StopCondition::Converged);
    let now = rt.now();
    let after = |ms: u64| now + SimDuration::from_millis(ms);
    rt.lie_about_syncs_at(after(1), alice, true);
    rt.add_rule(Rule::new(Verdict::Drop).of(FrameKind::Delta).at_most(1));
    rt.write_at(after(2), alice, set(9, 1));
    rt.write_at(after(3), alice, set(10, 1));
    // Bob has the second write by then, and no response about the first.
    rt.crash_at(after(4), alice, CrashPoint::Now, Some(500.into()));
    rt.lie_about_syncs_at(after(5), alice, false);
    assert_eq!(rt.run(), StopCondition::Converged, "{}", rt.explain());
    let metrics = rt.metrics();
    assert_eq!((metrics.effects.hosts.lost_commits > 0, metrics.protocol.deltas_dropped), (true, 1));
    assert!(!rt.has_entity(bob, nine()));
}

#[test]
fn reads_and_scrubs_detect_rot() {
    let mut fresh = 0;
    for seed in 0..40 {
        let mut rt = SimRuntime::with_seed(seed);
        let [alice, bob, _] = rt.apply_scenario_n(Scenario::n_nodes_synced(3, 20));
        rt.rot_at(1_000.into(), alice);
        rt.write_at(1_100.into(), bob, set(9, 1));
        rt.write_at(8_000.into(), bob, set(10, 1));
        assert_eq!(rt.run(), StopCondition::Converged, "seed {seed}: {}", rt.explain());
        let effects = rt.metrics().effects.hosts;
        assert_eq!(effects.rotten_rows, 1, "seed {seed}");
        fresh += effects.fresh_starts;
        assert_eq!(rt.entity_count(alice), 22, "seed {seed}");
    }
    // In the other seeds the damaged row was overwritten before it was read.
    assert!((20..=40).contains(&fresh), "{fresh}");
}

#[test]
fn a_torn_commit_is_atomic() {
    for seed in 0..40 {
        let mut rt = SimRuntime::with_seed(seed);
        let [alice, _, _] = rt.apply_scenario_n(Scenario::n_nodes_synced(3, 5));
        rt.crash_at(1_000.into(), alice, CrashPoint::MidCommit, Some(500.into()));
        rt.write_at(1_000.into(), alice, set(9, 1));
        rt.write_at(3_000.into(), alice, set(10, 1));
        assert_eq!(rt.run(), StopCondition::Converged, "seed {seed}: {}", rt.explain());
        assert_eq!(rt.metrics().effects.hosts.torn_writes, 1, "seed {seed}");
        assert!(!rt.has_entity(alice, nine()), "seed {seed}");
    }
}

/// Shows that the test above can fail: it detects a store that applies a part of a torn batch.
#[cfg(feature = "canary")]
#[test]
fn a_partial_commit_is_detected() {
    use sync_sim::canary::{self, Canary};
    let faults = || FaultConfig::heavy_chaos().with_torn_writes(0.005);
    canary::set(Some(Canary::TornCommit));
    let found = (0..100).find(|seed| super::run(*seed, faults()).1 != StopCondition::Converged);
    canary::set(None);
    let found = found.expect("a hundred seeds do not notice torn commits");
    assert_eq!(super::run(found, faults()).1, StopCondition::Converged);
}
