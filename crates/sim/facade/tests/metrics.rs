//! Every metric changes in some run, and the metrics of the nodes add up to those of the run.

use sync_sim::prelude::*;

#[test]
fn every_figure_of_every_group_moves() {
    let mut rt = SimRuntime::with_config(
        SimConfig::with_seed(1)
            .with_faults(
                FaultConfig::heavy_chaos()
                    .with_loss(0.3)
                    .with_corruption(0.02)
                    .with_churn(0.01, 50..500)
                    .with_late_joiners(1, 0..900),
            )
            .with_buffer_capacity(1)
            .with_max_time(SimTime::from_secs(120)),
    );
    rt.apply_scenario(Scenario::fresh_joiner(4, 40));
    rt.apply_workload(&Workload::new(200, SimDuration::from_secs(4)));
    assert_eq!(rt.run(), StopCondition::Converged);
    let SimMetrics { protocol, effects, hostile, work, convergence, fates } = rt.metrics();
    let figures = [
        ("messages_sent", protocol.messages_sent),
        ("bytes_sent", protocol.bytes_sent),
        ("sessions_started", protocol.sessions_started),
        ("sessions_converged", protocol.sessions_converged),
        ("sessions_pending", protocol.sessions_pending),
        ("sessions_failed", protocol.sessions_failed),
        ("sketches", protocol.sketches),
        ("round_trips", protocol.round_trips),
        ("entities_compared", protocol.entities_compared),
        ("entities_transferred", protocol.entities_transferred),
        ("deltas_applied", protocol.deltas_applied),
        ("merges_performed", protocol.merges_performed),
        ("writes_accepted", protocol.writes_accepted),
        ("writes_refused", protocol.writes_refused),
        ("messages_corrupted", effects.messages_corrupted),
        ("messages_dropped", effects.messages_dropped),
        ("messages_reordered", effects.messages_reordered),
        ("messages_duplicated", effects.messages_duplicated),
        ("retries_performed", effects.retries_performed),
        ("timeouts_triggered", effects.timeouts_triggered),
        ("node_crashes", effects.node_crashes),
        ("node_restarts", effects.node_restarts),
        ("departures", effects.departures),
        ("returns", effects.returns),
        ("late_joins", effects.late_joins),
        ("partitions", effects.partitions),
        ("buffer_drops", effects.buffer_drops),
        ("hash_computations", work.hash_computations),
        ("dag_lookups", work.dag_lookups),
        ("storage_reads", work.storage_reads),
        ("storage_writes", work.storage_writes),
        ("messages_to_converge", convergence.messages_to_converge.unwrap_or(0)),
        ("events_to_converge", convergence.events_to_converge.unwrap_or(0)),
        ("delivered", fates.delivered),
    ];
    for (name, figure) in figures {
        assert!(figure > 0, "{name} is zero");
    }
    assert_eq!(convergence.failure_reason, None);
    assert_eq!(hostile, Default::default(), "nobody is hostile");
    let ran = |scenario: Scenario| {
        let mut rt = SimRuntime::with_seed(1);
        rt.apply_scenario(scenario);
        rt.run();
        rt.metrics().protocol
    };
    assert_eq!(ran(Scenario::force_snapshot()).snapshots, 1);
    assert_eq!(ran(Scenario::force_hash_high_divergence()).hash_comparisons, 1);
    assert_eq!(ran(Scenario::force_delta_sync()).delta_syncs, 1);
    assert_eq!(ran(Scenario::force_bloom_filter()).bloom_filters, 1);
    assert_eq!(ran(Scenario::force_subtree_prefetch()).subtree_prefetches, 1);
    assert_eq!(ran(Scenario::force_levelwise()).level_walks, 1);
}

/// Promises: F2
#[test]
fn the_nodes_add_up_to_the_run() {
    let mut rt = SimRuntime::with_config(SimConfig::with_seed(2).with_faults(FaultConfig::heavy_chaos()));
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
    rt.run();
    let nodes: Vec<_> = rt.node_ids().into_iter().map(|node| rt.node_metrics(node)).collect();
    let metrics = rt.metrics();
    let sum = |of: fn(&sync_sim::metrics::NodeMetrics) -> u64| nodes.iter().map(of).sum::<u64>();
    assert_eq!(sum(|node| node.messages_sent), metrics.protocol.messages_sent);
    assert_eq!(sum(|node| node.bytes_sent), metrics.protocol.bytes_sent);
    assert_eq!(sum(|node| node.messages_received), metrics.fates.delivered);
    assert_eq!(sum(|node| node.syncs_initiated), metrics.protocol.sessions_started);
    assert_eq!(sum(|node| node.syncs_completed), metrics.protocol.sessions_converged);
    assert_eq!(sum(|node| node.storage_ops), metrics.work.storage_reads + metrics.work.storage_writes);
}
