//! A crash between any two effects of a step loses no acknowledged write.

use sync_sim::prelude::*;

fn bump(key: u64) -> Vec<Operation> {
    vec![Operation::Increment { target: Target::top(EntityId::from_u64(key)), by: 1 }]
}

/// Alice crashes at `point` of her next step, the write at one second.
fn crash_during_a_write(point: CrashPoint) -> (SimRuntime, StopCondition) {
    let mut rt = SimRuntime::with_seed(9);
    let [alice, _, _] = rt.apply_scenario_n(Scenario::n_nodes_synced(3, 5));
    rt.write_at(500.into(), alice, bump(1));
    assert_eq!(rt.run(), StopCondition::Converged);
    let later = rt.now() + SimDuration::from_millis(1);
    rt.crash_at(later, alice, point, Some(SimDuration::from_millis(700)));
    rt.write_at(later, alice, bump(1));
    rt.write_at(later + SimDuration::from_secs(2), alice, bump(1));
    let stop = rt.run();
    (rt, stop)
}

fn count(rt: &SimRuntime) -> String {
    let record = rt.node("carol").record(EntityId::from_u64(1)).unwrap().unwrap();
    format!("{:?}", record.value)
}

#[test]
fn uncommitted_write_leaves_no_trace() {
    for (point, accepted) in [
        (CrashPoint::Now, 2),
        (CrashPoint::BeforeCommit, 2),
        (CrashPoint::AfterCommit, 3),
        (CrashPoint::AfterFirstSend, 3),
    ] {
        let (rt, stop) = crash_during_a_write(point);
        assert_eq!(stop, StopCondition::Converged, "{point:?}: {stop}");
        let metrics = rt.metrics();
        assert_eq!(metrics.protocol.writes_accepted, accepted, "{point:?}");
        assert_eq!((metrics.effects.node_crashes, metrics.effects.node_restarts), (1, 1), "{point:?}");
        assert!(count(&rt).contains(&format!(": {accepted}")), "{point:?}: {}", count(&rt));
    }
}

#[test]
fn node_catches_up_after_long_downtime() {
    let mut rt = SimRuntime::with_seed(10);
    let [a, _, c] = rt.apply_scenario_n(Scenario::n_nodes_synced(3, 5));
    rt.crash_at(10.into(), c, CrashPoint::Now, Some(SimDuration::from_secs(20)));
    for at in 1..50 {
        rt.write_at((at * 100).into(), a, bump(at));
    }
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_entity_count!(rt, c, 54);
}

/// Promises: F1
#[test]
fn stale_frames_are_recognised() {
    let stale: u64 = (0..60)
        .map(|seed| {
            let faults = FaultConfig::heavy_chaos().with_crashes(0.02, 20..60);
            let mut rt = SimRuntime::with_config(SimConfig::with_seed(seed).with_faults(faults));
            rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
            assert_eq!(rt.run(), StopCondition::Converged, "seed {seed}");
            rt.metrics().dropped(DropCause::StaleIncarnation)
        })
        .sum();
    assert!(stale > 0);
}

#[test]
fn crashed_joiner_resumes_its_snapshot() {
    let mut rt = SimRuntime::with_seed(11);
    let [_, fresh] = rt.apply_scenario_n(Scenario::fresh_joiner(2, 6_000));
    let stop = rt.run_until(|rt| rt.metrics().fates.delivered > 6);
    assert_eq!(stop, StopCondition::Manual);
    assert_entity_count!(rt, fresh, 0);
    let now = rt.now();
    rt.crash_at(now, fresh, CrashPoint::Now, Some(SimDuration::from_millis(300)));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_entity_count!(rt, fresh, 6_000);
    assert!(rt.metrics().protocol.snapshots >= 1);
}
