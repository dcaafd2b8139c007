//! Tombstones are collected once every member has seen what they delete, and not before.

use sync_sim::prelude::*;

fn target(key: u64) -> Target {
    Target::named(&key.to_le_bytes())
}

fn set(key: u64) -> Operation {
    Operation::Set { target: target(key), bytes: b"here".to_vec() }
}

/// Runs for a while, converged or not, so that collection has time to happen.
fn run_for(rt: &mut SimRuntime, ms: u64) {
    let until = rt.now() + SimDuration::from_millis(ms);
    while rt.now() < until && rt.step() {}
}

fn records(rt: &SimRuntime, node: NodeId) -> u64 {
    rt.node(node).state().unwrap().stats().unwrap().records
}

fn cluster(nodes: usize, faults: FaultConfig) -> (SimRuntime, Vec<NodeId>) {
    let config = SimConfig::with_seed(11).with_faults(faults).with_max_time(SimTime::from_secs(3_600));
    let mut rt = SimRuntime::with_config(config);
    let nodes = (0..nodes).map(|n| rt.add_node(format!("n{n}"))).collect();
    (rt, nodes)
}

/// Promises: G5
#[test]
fn seen_tombstones_are_collected() {
    let (mut rt, nodes) = cluster(3, FaultConfig::light_chaos());
    for key in 0..20 {
        rt.write(nodes[key as usize % 3], vec![set(key)]);
    }
    run_for(&mut rt, 5_000);
    for key in 0..15 {
        rt.write(nodes[key as usize % 3], vec![Operation::Delete { target: target(key) }]);
    }
    run_for(&mut rt, 5_000);
    for round in 0..40 {
        if nodes.iter().all(|node| records(&rt, *node) == 5) {
            break;
        }
        // Clocks advance only with writes.
        rt.write(nodes[round % 3], vec![set(19)]);
        run_for(&mut rt, 10_000);
    }
    for node in &nodes {
        assert_eq!((records(&rt, *node), rt.entity_count(*node)), (5, 5));
    }
    assert_eq!(rt.run(), StopCondition::Converged);
    assert!(rt.metrics().protocol.records_collected >= 45);
}

#[test]
fn absent_member_prevents_collection() {
    let (mut rt, nodes) = cluster(3, FaultConfig::light_chaos());
    for key in 0..10 {
        rt.write(nodes[0], vec![set(key)]);
    }
    assert_eq!(rt.run(), StopCondition::Converged);
    rt.crash_at(rt.now(), nodes[2], CrashPoint::Now, None);
    run_for(&mut rt, 1);
    for key in 0..10 {
        rt.write(nodes[key as usize % 2], vec![Operation::Delete { target: target(key) }]);
    }
    for round in 0..20 {
        rt.write(nodes[round % 2], vec![set(100)]);
        run_for(&mut rt, 60_000);
    }
    assert_eq!((records(&rt, nodes[0]), records(&rt, nodes[1])), (11, 11), "every tombstone is kept");
    rt.restart_at(rt.now(), nodes[2]);
    for round in 0..60 {
        if nodes.iter().all(|node| records(&rt, *node) == 1) {
            break;
        }
        rt.write(nodes[round % 3], vec![set(100)]);
        run_for(&mut rt, 10_000);
        assert_eq!(rt.entity_count(nodes[0]), 1, "nothing comes back");
    }
    for node in &nodes {
        assert_eq!((records(&rt, *node), rt.entity_count(*node)), (1, 1));
    }
    assert_eq!(rt.run(), StopCondition::Converged);
}

#[test]
fn tombstones_are_retained_on_request() {
    let config = SimConfig::with_seed(5).keeping_tombstones().with_max_time(SimTime::from_secs(600));
    let mut rt = SimRuntime::with_config(config);
    let nodes: Vec<NodeId> = (0..2).map(|n| rt.add_node(format!("n{n}"))).collect();
    rt.write(nodes[0], vec![set(1)]);
    run_for(&mut rt, 2_000);
    rt.write(nodes[1], vec![Operation::Delete { target: target(1) }]);
    for round in 0..10 {
        rt.write(nodes[round % 2], vec![set(2)]);
        run_for(&mut rt, 20_000);
    }
    assert_eq!((records(&rt, nodes[0]), records(&rt, nodes[1])), (2, 2));
}
