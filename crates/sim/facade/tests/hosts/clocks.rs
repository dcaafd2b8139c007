//! Scripted faults of wall clocks.

use super::set;
use sync_sim::prelude::*;

const SECOND_US: i64 = 1_000_000;

/// Three replicas with equal states.
fn three() -> (SimRuntime, [NodeId; 3]) {
    let mut rt = SimRuntime::with_seed(11);
    let nodes = rt.apply_scenario_n(Scenario::n_nodes_synced(3, 5));
    (rt, nodes)
}

#[test]
fn a_slow_clock_delays_convergence() {
    let (mut rt, [alice, bob, _]) = three();
    // The clock is an hour slow: the writes of the others have future stamps for this node.
    rt.set_clock_at(SimTime::ZERO, bob, -3_600 * SECOND_US);
    rt.write_at(8_000.into(), alice, set(9, 1));
    rt.run_until(|rt| rt.now() >= 20_000.into());
    assert_not_converged!(rt);
    let blockers = rt.blockers().to_string();
    assert!(blockers.contains("clock"), "{blockers}");
    assert!(rt.metrics().dropped(DropCause::ClockDrift) > 0);
    assert!(!rt.has_entity(bob, EntityId::from_u64(9)) && rt.has_entity("carol", EntityId::from_u64(9)));
    rt.set_clock_at(20_000.into(), bob, 0);
    assert_eq!(rt.run(), StopCondition::Converged);
    assert!(rt.now() < 24_000.into(), "{}", rt.now());
}

#[test]
fn future_stamps_wait_for_clocks() {
    let (mut rt, [alice, bob, carol]) = three();
    // A replica that has just started knows nothing that speaks against its clock.
    rt.crash_at(500.into(), alice, CrashPoint::Now, Some(500.into()));
    rt.set_clock_at(700.into(), alice, 20 * SECOND_US);
    rt.write_at(1_001.into(), alice, set(9, 1));
    rt.set_clock_at(2_000.into(), alice, 0);
    // The others go on meanwhile, and the future stamp does not advance their clocks.
    rt.write_at(3_000.into(), bob, set(9, 2));
    rt.write_at(4_000.into(), carol, set(10, 3));
    rt.run_until(|rt| rt.now() >= 10_000.into());
    assert_not_converged!(rt);
    let record = rt.node(carol).record(EntityId::from_u64(9)).unwrap().unwrap();
    assert_eq!(record.updated_at.physical_ms(), 3_000, "{record}");
    assert!(rt.has_entity(alice, EntityId::from_u64(10)), "what the others wrote, alice has");
    assert_eq!(rt.run(), StopCondition::Converged);
    // 21 seconds minus the drift limit of five.
    assert!((16_000.into()..20_000.into()).contains(&rt.now()), "{}", rt.now());
    let record = rt.node(carol).record(EntityId::from_u64(9)).unwrap().unwrap();
    assert_eq!(record.updated_at.physical_ms(), 21_001, "the later stamp counts, wrong as it is");
}

#[test]
fn stamps_are_monotone_on_bad_clocks() {
    let (mut rt, [alice, bob, _]) = three();
    rt.write_at(3_000.into(), alice, set(9, 1));
    rt.set_clock_at(3_100.into(), alice, -2 * SECOND_US);
    rt.write_at(3_500.into(), alice, set(9, 2));
    rt.freeze_clock_at(3_600.into(), bob, SimDuration::from_secs(2));
    rt.write_at(4_000.into(), bob, set(10, 1));
    rt.write_at(4_900.into(), bob, set(10, 2));
    rt.run_until(|rt| rt.now() >= 5_000.into());
    assert!((-1_400_000..=-1_300_000).contains(&rt.clock_offset_us(bob)), "{}", rt.clock_offset_us(bob));
    assert_eq!(rt.run(), StopCondition::Converged);
    for id in [9, 10] {
        let record = rt.node("carol").record(EntityId::from_u64(id)).unwrap().unwrap();
        assert!(format!("{:?}", record.value).contains("[2]"), "{:?}", record.value);
    }
    assert_eq!(rt.metrics().effects.hosts.clock_freezes, 1);
}

#[test]
fn stamps_are_unique_across_restarts() {
    let (mut rt, [alice, _, _]) = three();
    rt.write_at(5_000.into(), alice, set(9, 1));
    rt.crash_at(5_001.into(), alice, CrashPoint::Now, Some(500.into()));
    rt.set_clock_at(5_200.into(), alice, -4 * SECOND_US);
    rt.write_at(6_000.into(), alice, set(9, 2));
    assert_eq!(rt.run(), StopCondition::Converged);
    let record = rt.node("carol").record(EntityId::from_u64(9)).unwrap().unwrap();
    assert!(format!("{:?}", record.value).contains("[2]"), "{:?}", record.value);
}
