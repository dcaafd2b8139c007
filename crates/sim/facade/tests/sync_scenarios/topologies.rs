//! Replicas that reach only some of the others converge too.

use sync_sim::prelude::*;

fn set(key: u64) -> Vec<Operation> {
    vec![Operation::Set { target: Target::top(EntityId::from_u64(key)), bytes: vec![key as u8] }]
}

fn network(seed: u64, topology: Topology, faults: FaultConfig) -> SimRuntime {
    SimRuntime::with_config(SimConfig::with_seed(seed).with_faults(faults).with_topology(topology))
}

#[test]
fn every_topology_converges_under_heavy_chaos() {
    for topology in Topology::ALL {
        for nodes in 3..=7 {
            for seed in 0..15 {
                let mut rt = network(seed, topology, FaultConfig::heavy_chaos());
                rt.apply_scenario(Scenario::n_nodes_diverged(nodes, 5));
                rt.apply_workload(&Workload::new(30, SimDuration::from_secs(3)));
                let stop = rt.run();
                let what = format!("{} of {nodes}, seed {seed}", topology.name());
                assert_eq!(stop, StopCondition::Converged, "{what}: {stop}\n{}", rt.explain());
                assert_eq!(rt.metrics().dropped(DropCause::NoLink), 0, "{what}: nobody talks past a link");
            }
        }
    }
}

#[test]
fn write_crosses_a_line_topology() {
    let mut rt = network(1, Topology::Line, FaultConfig::none().with_latency(5, 0));
    let nodes = rt.apply_scenario_n::<5>(Scenario::n_nodes_synced(5, 3));
    rt.write(nodes[0], set(1));
    let has_it = |rt: &SimRuntime, node: NodeId| rt.has_entity(node, EntityId::from_u64(1));
    for node in nodes {
        assert_eq!(rt.run_until(|rt| has_it(rt, node)), StopCondition::Manual, "{}", rt.name(node));
        let beyond = nodes.into_iter().filter(|other| *other > node);
        assert_eq!(beyond.filter(|other| has_it(&rt, *other)).count(), 0, "{} goes first", rt.name(node));
    }
    assert_eq!(rt.run(), StopCondition::Converged);
}

#[test]
fn star_waits_for_its_hub() {
    let mut rt = network(2, Topology::Star, FaultConfig::light_chaos());
    let [hub, b, c] = rt.apply_scenario_n(Scenario::n_nodes_synced(3, 3));
    rt.crash_at(SimTime::ZERO, hub, CrashPoint::Now, Some(SimDuration::from_secs(4)));
    rt.write_at(100.into(), b, set(1));
    assert_eq!(rt.run_until(|rt| rt.now() >= 4_000.into()), StopCondition::Manual);
    assert!(rt.has_entity(b, EntityId::from_u64(1)) && !rt.has_entity(c, EntityId::from_u64(1)));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_has_entity!(rt, c, EntityId::from_u64(1));
}

#[test]
fn joiner_closes_the_ring() {
    let mut rt = network(3, Topology::Ring, FaultConfig::default());
    let [a, _, _, d] = rt.apply_scenario_n(Scenario::n_nodes_diverged(4, 3));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert!(rt.network().is_linked(d, a));
    let e = rt.add_node("erin");
    assert!(!rt.network().is_linked(d, a) && rt.network().is_linked(d, e) && rt.network().is_linked(e, a));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_entity_count!(rt, e, 12);
}

#[test]
fn star_collects_tombstones() {
    let mut rt = network(4, Topology::Star, FaultConfig::light_chaos());
    let nodes = rt.apply_scenario_n::<4>(Scenario::n_nodes_synced(4, 0));
    let target = Target::named(b"gone");
    rt.write(nodes[1], vec![Operation::Set { target: target.clone(), bytes: vec![1] }]);
    rt.write_at(2_000.into(), nodes[2], vec![Operation::Delete { target }]);
    for at in 1..50 {
        rt.write_at((3_000 + at * 1_000).into(), nodes[at as usize % 4], set(7));
    }
    let forgotten = |rt: &SimRuntime| {
        nodes.iter().all(|node| rt.node(*node).state().unwrap().stats().unwrap().records == 1)
    };
    assert_eq!(rt.run_until(forgotten), StopCondition::Manual);
    assert_eq!(rt.run(), StopCondition::Converged);
}
