//! Scripted pauses, and nodes with a processing time.

use super::set;
use sync_sim::prelude::*;

#[test]
fn a_paused_node_resumes_in_order() {
    let faults = FaultConfig::none().with_latency(10, 0);
    let mut rt = SimRuntime::with_config(SimConfig::with_seed(2).with_faults(faults));
    let [alice, bob] = rt.apply_scenario_n(Scenario::n_nodes_synced(2, 5));
    rt.pause_at(1_000.into(), bob, SimDuration::from_secs(2));
    rt.write_at(1_100.into(), alice, set(9, 1));
    rt.write_at(1_200.into(), bob, set(9, 2));
    rt.write_at(2_900.into(), alice, set(10, 1));
    rt.run_until(|rt| rt.now() >= 2_900.into());
    assert!(!rt.has_entity(bob, EntityId::from_u64(9)));
    assert_eq!(rt.run(), StopCondition::Converged);
    // Its clock went on: writes that waited are stamped after the pause.
    let record = rt.node(alice).record(EntityId::from_u64(9)).unwrap().unwrap();
    assert_eq!(record.updated_at.physical_ms(), 3_000, "{record}");
    let effects = rt.metrics().effects.hosts;
    assert!(effects.pauses == 1 && effects.inputs_delayed >= 2, "{effects:?}");
}

#[test]
fn a_crash_drops_the_inbox() {
    let mut rt = SimRuntime::with_seed(2);
    let [alice, bob] = rt.apply_scenario_n(Scenario::n_nodes_synced(2, 5));
    rt.pause_at(1_000.into(), bob, SimDuration::from_secs(2));
    rt.write_at(1_100.into(), alice, set(9, 1));
    rt.write_at(1_200.into(), bob, set(10, 2));
    rt.crash_at(2_000.into(), bob, CrashPoint::Now, Some(300.into()));
    rt.write_at(2_400.into(), alice, set(11, 1));
    assert_eq!(rt.run(), StopCondition::Converged);
    let metrics = rt.metrics();
    assert_eq!((metrics.protocol.writes_accepted, metrics.protocol.writes_refused), (2, 1));
    assert_eq!(metrics.effects.hosts.writes_lost_waiting, 1);
    assert!(metrics.dropped(DropCause::ReceiverCrashed) > 0 && metrics.fates.is_balanced());
    assert!(rt.now() < 5_000.into(), "the pause ended with the crash: {}", rt.now());
}

#[test]
fn inputs_are_processed_one_by_one() {
    let time = |each| {
        let faults = FaultConfig::none().with_latency(10, 0).with_processing(each);
        let mut rt = SimRuntime::with_config(SimConfig::with_seed(2).with_faults(faults));
        let [alice, _] = rt.apply_scenario_n(Scenario::n_nodes_synced(2, 5));
        // Twenty writes at once: each is processed when the one before is done.
        (0..20).for_each(|key| rt.write_at(1_000.into(), alice, set(100 + key, 1)));
        assert_eq!(rt.run(), StopCondition::Converged);
        rt.now().as_millis()
    };
    let (idle, busy) = (time(SimDuration::ZERO), time(SimDuration::from_millis(100)));
    assert_eq!(idle, 1_010);
    assert!(busy >= 1_010 + 19 * 100, "{busy}");
}
