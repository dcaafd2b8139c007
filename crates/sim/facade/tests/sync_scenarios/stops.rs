//! A run that stops without having converged says what is owed, and by whom.

use sync_sim::prelude::*;

/// Promises: C2
#[test]
fn a_node_that_stays_down_is_named() {
    let mut rt = SimRuntime::with_seed(1);
    let [a, ..] = rt.apply_scenario_n::<3>(Scenario::n_nodes_diverged(3, 5));
    rt.crash_at(SimTime::ZERO, a, CrashPoint::Now, None);
    let stop = rt.run();
    assert!(matches!(stop, StopCondition::MaxTime(_)), "{stop}");
    assert!(stop.to_string().contains("alice: is down"), "{stop}");
}

/// Promises: C3
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

#[test]
fn a_fresh_node_and_a_full_one_do_not_yield_to_each_other_for_ever() {
    // Found by review: with round trips longer than the pause after yielding, each side used to give
    // way to the other for ever.
    for latency_ms in [200, 400, 600, 1_000, 2_000] {
        for seed in 0..10 {
            let faults = FaultConfig::none().with_latency(latency_ms, 0);
            let config = SimConfig::with_seed(seed).with_faults(faults);
            let mut rt = SimRuntime::with_config(config);
            rt.apply_scenario(Scenario::fresh_joiner(2, 5));
            let stop = rt.run();
            assert_eq!(stop, StopCondition::Converged, "{latency_ms} ms, seed {seed}: {stop}");
            assert!(rt.metrics().protocol.sessions_started <= 12, "{latency_ms} ms, seed {seed}");
        }
    }
}

#[test]
fn peers_far_apart_find_each_other_in_the_end() {
    let faults = FaultConfig::none().with_latency(8_000, 0);
    let config = SimConfig::with_seed(1).with_faults(faults).with_max_time(SimTime::from_secs(1_200));
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_diverged(2, 5));
    assert_eq!(rt.run(), StopCondition::Converged);
}

#[test]
fn one_unreachable_peer_does_not_keep_the_others_apart() {
    let mut rt = SimRuntime::with_seed(3);
    let [a, b, c] = rt.apply_scenario_n(Scenario::n_nodes_diverged(3, 20));
    rt.crash_at(SimTime::ZERO, c, CrashPoint::Now, None);
    let agree = |rt: &SimRuntime| rt.digest(a) == rt.digest(b);
    assert_eq!(rt.run_until(agree), StopCondition::Manual);
    let agreed = rt.now();
    assert!(agreed < 6_000.into(), "alice and bob took until {agreed}");
    rt.write(a, vec![Operation::Set { target: Target::top(EntityId::from_u64(1)), bytes: vec![1] }]);
    assert_eq!(rt.run_until(|rt| rt.has_entity(b, EntityId::from_u64(1))), StopCondition::Manual);
    assert!(rt.now().since(agreed) < 100.into(), "the write took until {}", rt.now());
}

#[test]
fn a_crash_that_is_told_to_last_outlasts_an_earlier_shorter_one() {
    let mut rt = SimRuntime::with_seed(4);
    let [a, _] = rt.apply_scenario_n(Scenario::n_nodes_diverged(2, 5));
    rt.crash_at(100.into(), a, CrashPoint::Now, Some(500.into()));
    rt.crash_at(300.into(), a, CrashPoint::Now, Some(5_000.into()));
    assert_eq!(rt.run_until(|rt| rt.now() > 200.into() && rt.is_up(a)), StopCondition::Manual);
    assert_eq!(rt.now(), 5_300.into());
}
