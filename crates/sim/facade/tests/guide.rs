//! The guide's examples, word for word as far as they compile; `DESIGN.md` section 13 settles the rest.

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

#[test]
fn the_runtime_can_be_built_and_run_in_every_way_the_guide_shows() {
    let config = SimConfig::with_seed(42);
    let mut rt = SimRuntime::with_config(config); // With custom config
    rt.add_node("alice"); // Add empty node
    rt.apply_scenario(Scenario::n_nodes_diverged(1, 4)); // Add nodes with state
    rt.run(); // Run to completion
    rt.run_until(|rt| rt.clock().now() > 1000.into()); // Run with predicate
    rt.step(); // Single event step
    assert_converged!(rt);
}

#[test]
fn every_scenario_of_the_guide_begins_as_it_says() {
    let state = |scenario: Scenario| {
        let mut rt = SimRuntime::with_seed(1);
        let nodes = rt.apply_scenario(scenario);
        let counts: Vec<usize> = nodes.iter().map(|node| rt.entity_count(node)).collect();
        let mut roots: Vec<Digest> = nodes.iter().map(|node| rt.digest(node)).collect();
        roots.dedup();
        (counts, roots.len())
    };
    assert_eq!(state(Scenario::n_nodes_synced(3, 10)), (vec![10; 3], 1)); // All nodes have same state
    assert_eq!(state(Scenario::n_nodes_diverged(3, 10)), (vec![10; 3], 3)); // Each node has unique state
    assert_eq!(state(Scenario::partial_overlap(2, 6, 4)), (vec![10; 2], 2)); // Mix of shared/unique
    assert_eq!(state(Scenario::force_snapshot()), (vec![100, 0], 2)); // Forces snapshot sync path
    assert_eq!(state(Scenario::force_none()), (vec![0; 2], 1)); // Empty nodes
}

#[test]
fn presets_hold_the_values_of_the_guide() {
    let light = FaultConfig::light_chaos();
    assert_eq!((light.base_latency_ms, light.latency_jitter_ms, light.reorder_window_ms), (10, 5, 20));
    assert_eq!((light.message_loss_rate, light.duplicate_rate), (Rate::ppm(10_000), Rate::ppm(10_000)));
    let heavy = FaultConfig::heavy_chaos();
    assert_eq!((heavy.base_latency_ms, heavy.latency_jitter_ms, heavy.reorder_window_ms), (50, 25, 100));
    assert_eq!((heavy.message_loss_rate, heavy.duplicate_rate), (Rate::ppm(100_000), Rate::ppm(50_000)));
    assert_eq!((heavy.partition_probability, heavy.crash_probability), (Rate::ppm(10_000), Rate::ppm(1_000)));
    // Custom configuration
    let custom = FaultConfig::none()
        .with_latency(100, 50) // 100ms ± 50ms
        .with_loss(0.05) // 5% loss
        .with_reorder(200) // 200ms reorder window
        .with_duplicates(0.02) // 2% duplication
        .with_partitions(0.01, 500..2000); // 1% chance, 500-2000ms duration
    assert_eq!(custom.partition_duration_ms, 500..2000);
    assert_eq!(custom.validate(), Ok(()));
}

#[test]
fn partitions_come_and_go_as_the_guide_shows() {
    let mut rt = SimRuntime::with_seed(42);
    let [alice, bob] = rt.apply_scenario_n(Scenario::n_nodes_diverged(2, 5));
    rt.partition_bidirectional(&alice, &bob, None); // Permanent
    rt.partition_bidirectional(&alice, &bob, Some(30_000.into())); // Temporary
    rt.run_until(|rt| rt.now() > 500.into());
    rt.heal_partition(&alice, &bob);
    assert_eq!(rt.run(), StopCondition::Converged);
    assert!(rt.now() < 30_000.into(), "healing takes down both: {}", rt.now());
}

#[test]
fn every_assertion_of_the_guide_holds_on_a_converged_run() {
    let mut rt = SimRuntime::with_seed(42);
    let [_, bob] = rt.apply_scenario_n(Scenario::n_nodes_diverged(2, 5));
    assert_not_converged!(rt); // Not converged
    rt.run();
    assert_converged!(rt); // All nodes converged
    assert_entity_count!(rt, "alice", 10); // Node has N entities
    let entity_id = rt.node(bob).state().unwrap().visible().unwrap()[0].0;
    assert_has_entity!(rt, "alice", entity_id); // Node has specific entity
    assert_idle!(rt, "alice"); // Node is idle (no pending work)
    assert_buffer_empty!(rt, "alice"); // Delta buffer is empty
}

#[test]
fn the_metrics_of_the_guide_tell_what_happened() {
    let config = SimConfig::with_seed(7).with_faults(FaultConfig::light_chaos().with_loss(0.2));
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
    rt.run();
    let metrics = rt.metrics();
    assert!(metrics.protocol.messages_sent > 0);
    assert!(metrics.protocol.bytes_sent > metrics.protocol.messages_sent);
    assert!(metrics.effects.messages_dropped > 0);
    assert!(metrics.convergence.converged);
    assert_eq!(metrics.convergence.time_to_converge, Some(rt.now()));
}

#[test]
fn check_convergence_returns_detailed_status() {
    let mut rt = SimRuntime::with_seed(42);
    let [a, b] = rt.apply_scenario_n(Scenario::n_nodes_diverged(2, 5));
    let Convergence::Diverged(diff) = rt.check_convergence() else { panic!("nothing has begun yet") };
    assert_eq!(diff.digests.iter().map(|(node, _)| *node).collect::<Vec<_>>(), [a, b]);
    rt.run_until(|rt| matches!(rt.check_convergence(), Convergence::Pending(_)));
    let Convergence::Pending(pending) = rt.check_convergence() else {
        panic!("{:?}", rt.check_convergence())
    };
    assert!(!pending.blockers.items.is_empty() || pending.blocking_property == Property::StateDigestsEqual);
}

#[test]
fn a_sim_node_describes_itself_as_a_local_sync_state() {
    use syncline_sync::{LocalSyncState, SyncProtocolKind, build_handshake, select_protocol};
    let mut rt = SimRuntime::with_seed(42);
    let [full, fresh] = rt.apply_scenario_n(Scenario::force_snapshot());
    let full = rt.node(full);
    let fresh = rt.node(fresh);
    assert_eq!((full.entity_count(), full.max_depth(), full.has_state()), (100, 1, true));
    assert!(!fresh.has_state());
    let selection = select_protocol(&build_handshake(fresh), &build_handshake(full));
    assert_eq!(selection.protocol.kind(), SyncProtocolKind::Snapshot);
}

/// The guide's two listings of `SyncTransport`: a user's own stream works like `SimStream`, and
/// `hash_comparison_sync()` runs over it unchanged. `#[async_trait]` is no longer needed, results name
/// their error type, and the encryption state can be queried.
#[test]
fn a_stream_of_ones_own_carries_the_protocol_functions_unchanged() {
    use std::time::Duration;
    use syncline_storage::Interface;
    use syncline_store::Store;
    use syncline_sync::{
        EncryptionState, Nonce, Outcome, SharedKey, StoreHost, StreamMessage, SyncTransport, TransportError,
        hash_comparison_sync, serve,
    };
    use syncline_types::{ContextId, Moment, ReplicaId};
    type Result<T> = std::result::Result<T, TransportError>;

    struct Stream {
        inner: SimStream,
        sent: u64,
    }

    impl SyncTransport for Stream {
        async fn send(&mut self, message: &StreamMessage<'_>) -> Result<()> {
            self.sent += 1;
            self.inner.send(message).await
        }
        async fn recv(&mut self) -> Result<Option<StreamMessage<'static>>> {
            self.inner.recv().await
        }
        async fn recv_timeout(&mut self, budget: Duration) -> Result<Option<StreamMessage<'static>>> {
            self.inner.recv_timeout(budget).await
        }
        fn set_encryption(&mut self, encryption: Option<(SharedKey, Nonce)>) {
            self.inner.set_encryption(encryption);
        }
        fn encryption(&self) -> &EncryptionState {
            self.inner.encryption()
        }
        async fn close(&mut self) -> Result<()> {
            self.inner.close().await
        }
    }

    let mut rt = SimRuntime::with_seed(42);
    let [alice, bob] = rt.apply_scenario_n(Scenario::partial_overlap(2, 20, 5));
    let context = ContextId([1; 32]);
    let host = |node, replica| {
        let disk = rt.node(node).disk().clone();
        let moment = Moment::at(SimTime::from_secs(1));
        StoreHost::open(disk, context, ReplicaId::from_u64(replica), moment).unwrap()
    };
    let mut alice = host(alice, 1);
    let mut bob = host(bob, 2);
    let (net, one, two) = SimStream::pair(context);
    let mut one = Stream { inner: one, sent: 0 };
    let mut two = Stream { inner: two, sent: 0 };
    let key = || Some((SharedKey([7; 32]), Nonce([0; 12])));
    one.set_encryption(key());
    two.set_encryption(key());
    let mut outcome = None;
    let initiator = async {
        outcome = Some(hash_comparison_sync(&mut alice, &mut one).await.unwrap().0);
        one.close().await.unwrap();
    };
    let responder = async {
        serve(&mut bob, &mut two).await.unwrap();
    };
    assert!(net.run(vec![Box::pin(initiator), Box::pin(responder)]));
    let root = Interface::open(bob.store.view()).unwrap().root_hash().unwrap();
    assert_eq!(outcome, Some(Outcome::Converged { root }));
    assert_eq!(Interface::open(alice.store.view()).unwrap().root_hash().unwrap(), root);
    assert!(one.sent > 0 && one.sent == two.sent && one.encryption().is_on());
}
