//! A run that stops without having converged names the unfinished work and the node that has to do it.

use sync_sim::prelude::*;

/// Promises: C2
#[test]
fn down_node_is_named_as_blocker() {
    let mut rt = SimRuntime::with_seed(1);
    let [a, ..] = rt.apply_scenario_n::<3>(Scenario::n_nodes_diverged(3, 5));
    rt.crash_at(SimTime::ZERO, a, CrashPoint::Now, None);
    let stop = rt.run();
    assert!(matches!(stop, StopCondition::MaxTime(_)), "{stop}");
    assert!(stop.to_string().contains("alice: is down"), "{stop}");
}

/// Promises: C3
#[test]
fn partition_shows_pending_syncs() {
    let mut rt = SimRuntime::with_seed(2);
    let [a, b] = rt.apply_scenario_n(Scenario::n_nodes_diverged(2, 5));
    rt.partition_one_way(a, b, None);
    let stop = rt.run();
    assert!(stop.to_string().contains("alice: a s") && stop.to_string().contains("with bob"), "{stop}");
    let explained = rt.explain();
    assert!(explained.contains("entity") && explained.contains("nothing"), "{explained}");
}

#[test]
fn no_events_left_is_a_deadlock() {
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
fn empty_replicas_need_no_sync() {
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
fn failed_assertion_shows_the_difference() {
    let mut rt = SimRuntime::with_seed(6);
    rt.apply_scenario(Scenario::n_nodes_diverged(2, 2));
    assert_converged!(rt);
}

#[test]
fn fresh_and_full_node_yield_once() {
    // Found by review: with round trips longer than the pause after yielding, each side yielded to the
    // other for ever, a livelock.
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
fn distant_peers_converge() {
    let faults = FaultConfig::none().with_latency(8_000, 0);
    let config = SimConfig::with_seed(1).with_faults(faults).with_max_time(SimTime::from_secs(1_200));
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_diverged(2, 5));
    assert_eq!(rt.run(), StopCondition::Converged);
}

#[test]
fn unreachable_peer_does_not_block_others() {
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
fn longer_crash_outlasts_shorter_one() {
    let mut rt = SimRuntime::with_seed(4);
    let [a, _] = rt.apply_scenario_n(Scenario::n_nodes_diverged(2, 5));
    rt.crash_at(100.into(), a, CrashPoint::Now, Some(500.into()));
    rt.crash_at(300.into(), a, CrashPoint::Now, Some(5_000.into()));
    assert_eq!(rt.run_until(|rt| rt.now() > 200.into() && rt.is_up(a)), StopCondition::Manual);
    assert_eq!(rt.now(), 5_300.into());
}
