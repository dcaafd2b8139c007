//! Nodes that leave, return, and join late.

use sync_sim::prelude::*;

fn set(key: u64) -> Vec<Operation> {
    vec![Operation::Set { target: Target::top(EntityId::from_u64(key)), bytes: vec![key as u8] }]
}

fn run(seed: u64, nodes: usize, topology: Topology, faults: FaultConfig) -> SimRuntime {
    let config = SimConfig::with_seed(seed).with_faults(faults).with_topology(topology);
    // An idle replica announces its root to two others every half a minute.
    let config = config.with_max_time(SimTime::from_secs(120));
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_diverged(nodes, 5));
    rt.apply_workload(&Workload::new(30, SimDuration::from_secs(3)));
    let stop = rt.run();
    let shape = topology.name();
    assert_eq!(stop, StopCondition::Converged, "{shape} of {nodes}, seed {seed}: {stop}\n{}", rt.explain());
    rt
}

#[test]
fn churn_converges_in_every_topology() {
    let faults = || FaultConfig::heavy_chaos().with_churn(0.01, 100..2_000).with_late_joiners(2, 0..5_000);
    let mut all = [0; 3];
    for topology in Topology::ALL {
        for nodes in 2..=6 {
            for seed in 0..12 {
                let effects = run(seed, nodes, topology, faults()).metrics().effects;
                assert_eq!((effects.departures, effects.late_joins), (effects.returns, 2));
                for (sum, count) in all.iter_mut().zip([effects.departures, effects.returns, 1]) {
                    *sum += count;
                }
            }
        }
    }
    assert!(all[0] > 5 * all[2], "{all:?}: a run without churn proves nothing");
}

#[test]
fn absent_node_goes_on_writing() {
    let mut rt = SimRuntime::with_seed(1);
    let [a, b, c] = rt.apply_scenario_n(Scenario::n_nodes_synced(3, 5));
    assert_eq!(rt.run(), StopCondition::Converged);
    let now = rt.now();
    rt.leave_at(now, c, Some(SimDuration::from_secs(3)));
    rt.write_at(now + 1_000.into(), c, set(1));
    rt.write_at(now + 1_000.into(), a, set(2));
    let both =
        |rt: &SimRuntime| rt.has_entity(b, EntityId::from_u64(2)) && rt.has_entity(c, EntityId::from_u64(1));
    assert_eq!(rt.run_until(both), StopCondition::Manual);
    assert!(rt.is_up(c) && rt.is_away(c) && !rt.is_away(a));
    assert!(!rt.has_entity(b, EntityId::from_u64(1)) && !rt.has_entity(c, EntityId::from_u64(2)));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert!(!rt.is_away(c));
    for node in [a, b, c] {
        assert_entity_count!(rt, node, 7);
        assert_eq!(rt.node(node).replica().unwrap().incarnation(), 1, "nobody started again");
    }
}

#[test]
fn departure_drops_frames_in_flight() {
    let faults = FaultConfig::none().with_latency(50, 0);
    let mut rt = SimRuntime::with_config(SimConfig::with_seed(2).with_faults(faults));
    let [a, b] = rt.apply_scenario_n(Scenario::n_nodes_synced(2, 3));
    rt.write_at(100.into(), a, set(1));
    rt.leave_at(120.into(), b, Some(SimDuration::from_secs(1)));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert!(rt.metrics().dropped(DropCause::NoLink) > 0);
    assert_has_entity!(rt, b, EntityId::from_u64(1));
}

#[test]
fn longer_departure_outlasts_shorter_one() {
    let mut rt = SimRuntime::with_seed(3);
    let [a, _] = rt.apply_scenario_n(Scenario::n_nodes_diverged(2, 5));
    rt.leave_at(100.into(), a, Some(500.into()));
    rt.leave_at(300.into(), a, Some(5_000.into()));
    assert_eq!(rt.run_until(|rt| rt.now() > 200.into() && !rt.is_away(a)), StopCondition::Manual);
    assert_eq!((rt.now(), rt.metrics().effects.departures), (5_300.into(), 1));
    assert_eq!(rt.run(), StopCondition::Converged);
}

#[test]
fn absent_node_is_named_as_blocker() {
    let mut rt = SimRuntime::with_seed(4);
    let [a, _] = rt.apply_scenario_n(Scenario::n_nodes_synced(2, 5));
    rt.leave_at(SimTime::ZERO, a, None);
    while !rt.is_away(a) {
        assert!(rt.step());
    }
    let stop = rt.run_until(|rt| rt.now() > SimTime::from_secs(10));
    assert_eq!(stop, StopCondition::Manual, "it is waited for although all agree");
    assert!(rt.blockers().to_string().contains("alice: is away"), "{}", rt.blockers());
    rt.return_at(rt.now(), a);
    assert_eq!(rt.run(), StopCondition::Converged);
}

#[test]
fn node_may_crash_while_away() {
    for seed in 0..10 {
        let mut rt = SimRuntime::with_seed(seed);
        let [a, b, c] = rt.apply_scenario_n(Scenario::n_nodes_diverged(3, 5));
        rt.leave_at(10.into(), c, Some(SimDuration::from_secs(2)));
        rt.write_at(500.into(), c, set(1));
        rt.crash_at(600.into(), c, CrashPoint::Now, Some(300.into()));
        rt.write_at(1_000.into(), a, set(2));
        let both_wrote = |rt: &SimRuntime| rt.is_up(c) && rt.has_entity(a, EntityId::from_u64(2));
        assert_eq!(rt.run_until(both_wrote), StopCondition::Manual);
        assert!(rt.is_away(c));
        assert!(!rt.has_entity(b, EntityId::from_u64(1)) && !rt.has_entity(c, EntityId::from_u64(2)));
        assert_eq!(rt.run(), StopCondition::Converged, "seed {seed}");
        assert_has_entity!(rt, b, EntityId::from_u64(1));
    }
}

#[test]
fn run_waits_for_late_joiner() {
    let mut rt = SimRuntime::with_seed(5);
    let [a, _] = rt.apply_scenario_n(Scenario::n_nodes_diverged(2, 20));
    let late = rt.join_at(SimTime::from_secs(5), "late");
    rt.crash_at(SimTime::from_secs(1), late, CrashPoint::Now, Some(1.into()));
    assert_eq!(rt.run_until(|rt| rt.digest(a) == rt.digest("bob")), StopCondition::Manual);
    assert!(
        !rt.is_up(late) && rt.blockers().to_string().contains("late: has still to join"),
        "{}",
        rt.blockers()
    );
    assert_eq!(rt.run(), StopCondition::Converged);
    assert!(rt.now() > SimTime::from_secs(5), "a crash before it joined brings it up no sooner");
    assert_entity_count!(rt, late, 40);
    let metrics = rt.metrics();
    assert_eq!((metrics.protocol.snapshots, metrics.effects.late_joins), (1, 1));
    assert_eq!(metrics.effects.node_crashes, 0);
}

#[test]
fn no_collection_before_last_join() {
    let records = |rt: &SimRuntime, node: NodeId| rt.node(node).state().unwrap().stats().unwrap().records;
    let config = SimConfig::with_seed(6).with_max_time(SimTime::from_secs(600));
    let mut rt = SimRuntime::with_config(config);
    let nodes = rt.apply_scenario_n::<2>(Scenario::n_nodes_synced(2, 0));
    let late = rt.join_at(SimTime::from_secs(60), "late");
    rt.write(nodes[0], set(1));
    rt.write_at(
        1_000.into(),
        nodes[1],
        vec![Operation::Delete { target: Target::top(EntityId::from_u64(1)) }],
    );
    for second in 2..120 {
        rt.write_at(SimTime::from_secs(second), nodes[second as usize % 2], set(2));
    }
    let joined = |rt: &SimRuntime| rt.now() > SimTime::from_secs(59);
    assert_eq!(rt.run_until(joined), StopCondition::Manual);
    assert_eq!((records(&rt, nodes[0]), records(&rt, nodes[1])), (2, 2));
    let forgotten = |rt: &SimRuntime| [nodes[0], nodes[1], late].iter().all(|node| records(rt, *node) == 1);
    assert_eq!(rt.run_until(forgotten), StopCondition::Manual);
    assert_eq!(rt.run(), StopCondition::Converged);
}
