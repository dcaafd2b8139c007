//! The guide's main examples, in its words as far as they compile; `DESIGN.md` section 13 settles
//! the rest.

#![allow(clippy::needless_borrows_for_generic_args, reason = "the guide writes it so")]

use sync_sim::prelude::*;

#[test]
fn example() {
    // Create runtime with seed for reproducibility
    let mut rt = SimRuntime::with_seed(42);
    // Add nodes with a scenario
    let scenario = Scenario::n_nodes_synced(3, 10); // 3 nodes, 10 shared entities
    let nodes = rt.apply_scenario(scenario);
    // Run until convergence or timeout
    let result = rt.run();
    // Assert convergence
    assert_converged!(rt);
    assert_eq!(result, StopCondition::Converged);
    assert_eq!(nodes.len(), 3);
    assert_entity_count!(rt, "alice", 10);
}

#[test]
fn run_until_and_stepping() {
    let mut rt = SimRuntime::with_seed(42);
    rt.add_node("alice");
    rt.apply_scenario(Scenario::n_nodes_diverged(2, 3));
    let result = rt.run_until(|rt| rt.clock().now() > 1000.into());
    assert!(matches!(result, StopCondition::Converged | StopCondition::Manual), "{result}");
    assert!(rt.step());
    assert_converged!(rt);
}

#[test]
fn two_nodes_converge() {
    let mut rt = SimRuntime::with_seed(42);
    let scenario = Scenario::n_nodes_diverged(2, 10);
    rt.apply_scenario(scenario);
    rt.run();
    assert_converged!(rt);
}

#[test]
fn convergence_with_packet_loss() {
    let config = SimConfig::with_seed(42).with_faults(FaultConfig::default().with_loss(0.2));
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
    rt.run();
    assert_converged!(rt);
    assert!(rt.metrics().effects.messages_dropped > 0);
}

#[test]
fn partition_healing() {
    let mut rt = SimRuntime::with_seed(42);
    let [a, b] = rt.apply_scenario_n(Scenario::n_nodes_diverged(2, 5));
    // Partition for 1000 ticks
    rt.partition_bidirectional(&a, &b, Some(1000.into()));
    rt.run();
    assert_converged!(rt); // Should converge after partition heals
    assert!(rt.now() >= 1000.into(), "it cannot converge before the partition heals");
}

#[test]
fn permanent_partition_is_healed_by_hand() {
    let mut rt = SimRuntime::with_seed(42);
    let [alice, bob] = rt.apply_scenario_n(Scenario::n_nodes_diverged(2, 5));
    rt.partition_bidirectional(&alice, &bob, None); // Permanent
    assert!(matches!(rt.run(), StopCondition::MaxTime(_)));
    assert_not_converged!(rt);
    rt.heal_partition(&alice, &bob);
    let mut rt = rt.clone();
    let result = rt.run_until(|rt| rt.check_convergence().is_converged());
    assert!(matches!(result, StopCondition::MaxTime(_)), "the time is used up: {result}");
}

#[test]
fn fault_injection() {
    let config = SimConfig::with_seed(42).with_faults(
        FaultConfig::default()
            .with_loss(0.1) // 10% message loss
            .with_latency(50, 10) // 50ms base, 10ms jitter
            .with_reorder_window(100) // 100ms reorder window
            .with_duplicate(0.05), // 5% duplication
    );
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
    assert_eq!(rt.run(), StopCondition::Converged);
    let metrics = rt.metrics();
    assert!(metrics.protocol.messages_sent > 0 && metrics.protocol.bytes_sent > 0);
    assert!(metrics.effects.messages_dropped > 0 && metrics.effects.messages_duplicated > 0);
    assert!(metrics.convergence.converged);
    assert!(metrics.convergence.time_to_converge > Some(100.into()));
}

#[test]
fn random_scenarios_converge() {
    for seed in 0..100 {
        let config = RandomScenarioConfig::new(seed).with_node_count(2, 5).with_entity_count(5, 20);
        let mut rt = SimRuntime::with_seed(seed);
        rt.apply_scenario(RandomScenario::generate(&config));
        let result = rt.run();
        assert!(matches!(result, StopCondition::Converged), "Seed {seed} failed to converge: {result}");
    }
}

#[test]
fn the_same_random_config_gives_the_same_scenario() {
    let config =
        RandomScenarioConfig::new(9).with_node_count(3, 5).with_entity_count(10, 100).with_divergence(0.3);
    let run = || {
        let mut rt = SimRuntime::with_seed(1);
        rt.apply_scenario(RandomScenario::generate(&config));
        rt.run();
        rt.trace_digest()
    };
    assert_eq!(run(), run());
}
