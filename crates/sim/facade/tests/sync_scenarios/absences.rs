//! Peers that are absent for weeks while histories are trimmed, and members that never return.

use sync_sim::prelude::*;

const DAY: u64 = 86_400_000;

fn set(key: u64, value: u64) -> Vec<Operation> {
    vec![Operation::Set { target: Target::named(&key.to_le_bytes()), bytes: value.to_le_bytes().to_vec() }]
}

fn delete(key: u64) -> Vec<Operation> {
    vec![Operation::Delete { target: Target::named(&key.to_le_bytes()) }]
}

fn cluster(seed: u64) -> (SimRuntime, [NodeId; 3]) {
    let config = SimConfig::with_seed(seed).with_faults(FaultConfig::light_chaos());
    let mut rt = SimRuntime::with_config(config.with_max_time((365 * DAY).into()));
    let nodes = rt.apply_scenario_n(Scenario::n_nodes_synced(3, 20));
    for node in nodes {
        rt.configure(node, |config| config.delta_retention = 50);
    }
    (rt, nodes)
}

/// Runs until a time, converged or not.
fn run_to(rt: &mut SimRuntime, until: SimTime) {
    while rt.now() < until && rt.step() {}
}

fn records(rt: &SimRuntime, node: NodeId) -> u64 {
    rt.node(node).state().unwrap().stats().unwrap().records
}

/// Carol is away for `days`. On the first day the others write 3,000 times and delete half of it, far
/// more than they retain as deltas, and she writes a little. Gives the run after all agree again, and the
/// cost of her return in frames, bytes and events.
fn absence(seed: u64, days: u64) -> (SimRuntime, [NodeId; 3], [u64; 3]) {
    let (mut rt, [alice, bob, carol]) = cluster(seed);
    rt.leave_at(1_000.into(), carol, Some((days * DAY).into()));
    for at in 0..3_000u64 {
        let writer = if at % 2 == 0 { alice } else { bob };
        rt.write_at((2_000 + at * 10).into(), writer, set(at % 1_000, at));
    }
    for key in 0..500 {
        rt.write_at((40_000 + key * 10).into(), alice, delete(key));
    }
    for key in 0..30 {
        rt.write_at((50_000 + key * 10).into(), carol, set(5_000 + key, key));
    }
    run_to(&mut rt, (days * DAY - 60_000).into());
    assert!(rt.is_away(carol), "seed {seed} at {}", rt.now());
    assert_eq!(rt.digest(alice), rt.digest(bob), "seed {seed}: {}", rt.explain());
    assert_ne!(rt.digest(alice), rt.digest(carol));
    let costs = |rt: &SimRuntime| {
        let sent = rt.metrics().protocol;
        [sent.messages_sent, sent.bytes_sent, rt.events_processed()]
    };
    let before = costs(&rt);
    assert_eq!(rt.run(), StopCondition::Converged, "{}", rt.explain());
    let cost = costs(&rt);
    (rt, [alice, bob, carol], std::array::from_fn(|at| cost[at] - before[at]))
}

#[test]
fn long_absent_peer_catches_up() {
    for seed in 0..3 {
        let (rt, nodes, _) = absence(seed, 28);
        for node in nodes {
            assert_entity_count!(rt, node, 20 + 500 + 30);
        }
    }
}

#[test]
fn return_cost_is_independent_of_duration() {
    // The order of sessions, and whether tombstones are collected before the end, are random.
    let of_all = |days| {
        (5..9)
            .map(|seed| absence(seed, days).2)
            .fold([0; 3], |sum, own| std::array::from_fn(|at| sum[at] + own[at]))
    };
    let day: [u64; 3] = of_all(1);
    let months: [u64; 3] = of_all(90);
    for (what, day, months) in
        [("frames", day[0], months[0]), ("bytes", day[1], months[1]), ("events", day[2], months[2])]
    {
        assert!(months <= day + day / 2, "{what}: {day} after a day, {months} after ninety");
    }
}

#[test]
fn absent_member_retains_tombstones_until_retired() {
    let (mut rt, [alice, bob, carol]) = cluster(3);
    run_to(&mut rt, 5_000.into());
    rt.crash_at(rt.now(), carol, CrashPoint::Now, None);
    for key in 0..10 {
        rt.write_at((10_000 + key).into(), alice, set(key, key));
        rt.write_at((20_000 + key).into(), bob, delete(key));
    }
    // Clocks, and the knowledge of clocks, advance only with writes.
    for minute in 1..200 {
        rt.write_at((minute * 60_000).into(), if minute % 2 == 0 { alice } else { bob }, set(100, minute));
    }
    run_to(&mut rt, (100 * 60_000).into());
    assert_eq!((records(&rt, alice), records(&rt, bob)), (31, 31), "carol has not seen the deletes");
    rt.retire_at(rt.now(), carol);
    run_to(&mut rt, (200 * 60_000).into());
    assert!(rt.is_retired(carol));
    assert_eq!((records(&rt, alice), records(&rt, bob)), (21, 21));
    assert_eq!(rt.run(), StopCondition::Converged, "nobody waits for carol");
}

#[test]
fn unspread_write_of_retired_node_is_lost() {
    let (mut rt, [alice, _, carol]) = cluster(4);
    rt.leave_at(1_000.into(), carol, None);
    rt.write_at(2_000.into(), carol, set(1, 1));
    rt.retire_at(3_000.into(), carol);
    rt.write_at(4_000.into(), alice, set(2, 2));
    let stop = rt.run();
    assert!(matches!(stop, StopCondition::Violated(Check::Lost { .. })), "{stop}");
}
