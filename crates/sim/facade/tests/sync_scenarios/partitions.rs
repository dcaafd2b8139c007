//! Runs that end only because the scheduler retries, backs off and sends heartbeats.

use sync_sim::prelude::*;

fn set(key: u64, text: &str) -> Vec<Operation> {
    vec![Operation::Set { target: Target::top(EntityId::from_u64(key)), bytes: text.into() }]
}

#[test]
fn a_partitioned_node_catches_up_after_heal() {
    let mut rt = SimRuntime::with_seed(1);
    let [a, b, c] = rt.apply_scenario_n(Scenario::n_nodes_synced(3, 10));
    rt.partition_groups(&[vec![a, b], vec![c]], Some(SimDuration::from_secs(5)));
    for key in 1..=20 {
        rt.write_at((100 + key * 10).into(), a, set(key, "while you were away"));
    }
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_entity_count!(rt, c, 30);
    assert!(rt.now() >= 5_000.into());
}

#[test]
fn both_sides_of_a_split_keep_writes() {
    let mut rt = SimRuntime::with_seed(2);
    let [a, b, c, d] = rt.apply_scenario_n(Scenario::n_nodes_synced(4, 5));
    rt.partition_groups(&[vec![a, b], vec![c, d]], Some(SimDuration::from_secs(3)));
    rt.write_at(500.into(), a, set(1, "left"));
    rt.write_at(500.into(), d, set(2, "right"));
    assert_eq!(rt.run(), StopCondition::Converged);
    for node in [a, b, c, d] {
        assert_has_entity!(rt, node, EntityId::from_u64(1));
        assert_has_entity!(rt, node, EntityId::from_u64(2));
        assert_idle!(rt, node);
        assert_buffer_empty!(rt, node);
    }
}

#[test]
fn one_way_partition_heals() {
    let mut rt = SimRuntime::with_seed(3);
    let [a, b] = rt.apply_scenario_n(Scenario::n_nodes_diverged(2, 5));
    rt.partition_one_way(a, b, Some(SimDuration::from_secs(4)));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert!(rt.now() >= 4_000.into(), "no session can end while answers do not come through");
}

#[test]
fn third_node_relays_around_broken_link() {
    let mut rt = SimRuntime::with_seed(4);
    let [a, b, c] = rt.apply_scenario_n(Scenario::n_nodes_synced(3, 5));
    let broken = rt.partition_bidirectional(a, b, None);
    rt.write_at(10.into(), a, set(1, "by way of carol"));
    let everyone_has_it =
        |rt: &SimRuntime| [a, b, c].iter().all(|node| rt.has_entity(node, EntityId::from_u64(1)));
    assert_eq!(rt.run_until(everyone_has_it), StopCondition::Manual);
    rt.heal(broken);
    assert_eq!(rt.run(), StopCondition::Converged);
}
