//! A run that stops without having converged says what is owed, and by whom.

use sync_sim::prelude::*;

#[test]
fn a_node_that_stays_down_is_named() {
    let mut rt = SimRuntime::with_seed(1);
    let [a, ..] = rt.apply_scenario_n::<3>(Scenario::n_nodes_diverged(3, 5));
    rt.crash_at(SimTime::ZERO, a, CrashPoint::Now, None);
    let stop = rt.run();
    assert!(matches!(stop, StopCondition::MaxTime(_)), "{stop}");
    assert!(stop.to_string().contains("alice: is down"), "{stop}");
}

#[test]
fn a_partition_that_stays_up_shows_who_owes_a_sync_with_whom() {
    let mut rt = SimRuntime::with_seed(2);
    let [a, b] = rt.apply_scenario_n(Scenario::n_nodes_diverged(2, 5));
    rt.partition_one_way(a, b, None);
    let stop = rt.run();
    assert!(stop.to_string().contains("alice: a s") && stop.to_string().contains("with bob"), "{stop}");
    let explained = rt.explain();
    assert!(explained.contains("entity") && explained.contains("nothing"), "{explained}");
}

#[test]
fn nothing_left_to_happen_is_a_deadlock_and_not_a_wait() {
    let mut rt = SimRuntime::with_seed(3);
    let [a, b] = rt.apply_scenario_n(Scenario::n_nodes_diverged(2, 5));
    for node in [a, b] {
        rt.crash_at(SimTime::ZERO, node, CrashPoint::Now, None);
    }
    let stop = rt.run();
    assert!(matches!(stop, StopCondition::Deadlock(_)), "{stop}");
}

#[test]
fn the_event_budget_stops_a_run() {
    let config = SimConfig::with_seed(4).with_max_events(5);
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 5));
    assert!(matches!(rt.run(), StopCondition::MaxEvents(_)));
    assert_eq!(rt.events_processed(), 5);
}

#[test]
fn a_fresh_replica_takes_a_snapshot_and_empty_replicas_take_nothing() {
    let mut rt = SimRuntime::with_seed(5);
    rt.apply_scenario(Scenario::force_snapshot());
    assert_eq!(rt.run(), StopCondition::Converged);
    let metrics = rt.metrics();
    assert_eq!((metrics.protocol.snapshots, metrics.protocol.hash_comparisons), (1, 0));
    let mut rt = SimRuntime::with_seed(5);
    rt.apply_scenario(Scenario::force_none());
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_eq!(rt.metrics().protocol.entities_transferred, 0);
}

#[test]
#[should_panic(expected = "entity")]
fn a_failed_assertion_shows_the_difference() {
    let mut rt = SimRuntime::with_seed(6);
    rt.apply_scenario(Scenario::n_nodes_diverged(2, 2));
    assert_converged!(rt);
}
