//! Every setting of the faults has an effect: each test fails if its setting is ignored.

use sync_sim::prelude::*;

fn run(seed: u64, faults: FaultConfig) -> SimRuntime {
    let mut rt = SimRuntime::with_config(SimConfig::with_seed(seed).with_faults(faults));
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
    let stop = rt.run();
    assert_eq!(stop, StopCondition::Converged, "seed {seed}: {stop}");
    rt
}

fn no_workload_metrics(faults: FaultConfig) -> SimMetrics {
    run(3, faults).metrics()
}

/// Promises: F1
#[test]
fn none_is_a_perfect_network() {
    let metrics = no_workload_metrics(FaultConfig::none());
    assert_eq!(metrics.effects.messages_reordered + metrics.effects.messages_duplicated, 0);
    assert_eq!(metrics.effects.node_crashes + metrics.effects.partitions, 0);
    let lost = metrics.fates.dropped_total() - metrics.dropped(DropCause::DuplicateSuppressed);
    assert_eq!(lost, 0);
}

#[test]
fn base_latency_delays_every_frame() {
    let mut rt = SimRuntime::with_config(
        SimConfig::with_seed(1).with_faults(FaultConfig::none().with_latency(400, 0)),
    );
    let [a, _] = rt.apply_scenario_n(Scenario::n_nodes_synced(2, 1));
    let target = Target::top(EntityId::from_u64(9));
    rt.write(a, vec![Operation::Set { target, bytes: vec![1] }]);
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_eq!(rt.now(), 400.into(), "the delta takes exactly the latency");
}

#[test]
fn jitter_reorders_frames() {
    assert_eq!(no_workload_metrics(FaultConfig::none().with_latency(50, 0)).effects.messages_reordered, 0);
    let shaken = (0..20)
        .map(|seed| run(seed, FaultConfig::none().with_latency(50, 50)).metrics().effects.messages_reordered);
    assert!(shaken.sum::<u64>() > 0);
}

#[test]
fn a_reorder_window_reorders_frames() {
    let faults = || FaultConfig::none().with_latency(5, 0).with_reorder_window(200);
    assert!((0..20).map(|seed| run(seed, faults()).metrics().effects.messages_reordered).sum::<u64>() > 0);
}

/// Promises: F1
#[test]
fn loss_is_counted_and_survived() {
    let metrics = no_workload_metrics(FaultConfig::default().with_loss(0.3));
    let share = metrics.dropped(DropCause::Loss) * 100 / metrics.protocol.messages_sent;
    assert!((10..50).contains(&share), "{share} % lost");
    assert!(metrics.effects.retries_performed > 0);
}

/// Promises: F1
#[test]
fn duplicates_are_made_and_suppressed() {
    let metrics = no_workload_metrics(FaultConfig::default().with_duplicates(0.5));
    assert!(metrics.effects.messages_duplicated > 0);
    assert!(metrics.dropped(DropCause::DuplicateSuppressed) > 0);
}

#[test]
fn corruption_is_rejected_and_survived() {
    for seed in 0..20 {
        let metrics = run(seed, FaultConfig::default().with_corruption(0.3)).metrics();
        let share = metrics.effects.messages_corrupted * 100 / metrics.protocol.messages_sent;
        assert!((5..60).contains(&share), "seed {seed}: {share} % corrupted");
        let on_their_way = metrics.effects.messages_corrupted - metrics.dropped(DropCause::Corrupt);
        assert!(on_their_way <= metrics.fates.in_flight, "seed {seed}: {on_their_way} have another fate");
        assert_eq!(metrics.dropped(DropCause::Loss), 0);
    }
    let heavy = FaultConfig::heavy_chaos().with_corruption(0.05);
    assert!(
        (0..20).map(|seed| run(seed, heavy.clone()).metrics().dropped(DropCause::Corrupt)).sum::<u64>() > 0
    );
}

#[test]
fn corruption_changes_no_other_draw() {
    // The other draws of each frame stay the same: the same frames are lost and duplicated.
    let none = run(3, FaultConfig::heavy_chaos()).trace_digest();
    assert_eq!(run(3, FaultConfig::heavy_chaos().with_corruption(0.0)).trace_digest(), none);
    let rare = FaultConfig::heavy_chaos().with_corruption(0.000001);
    assert_eq!(run(3, rare).trace_digest(), none, "it is drawn, and strikes none");
}

#[test]
fn random_partitions_follow_their_settings() {
    let faults = |range| FaultConfig::default().with_partitions(0.1, range);
    let brief = no_workload_metrics(faults(1..2));
    let long = no_workload_metrics(faults(500..900));
    assert!(brief.effects.partitions > 0 && long.effects.partitions > 0);
    let cut = |metrics: &SimMetrics| {
        metrics.dropped(DropCause::PartitionAtSend) + metrics.dropped(DropCause::PartitionAtDelivery)
    };
    assert!(cut(&long) > cut(&brief));
}

#[test]
fn random_crashes_follow_their_settings() {
    let faults = |delay| FaultConfig::default().with_loss(0.3).with_crashes(0.05, delay);
    let metrics = no_workload_metrics(faults(10..50));
    assert!(metrics.effects.node_crashes > 0);
    assert_eq!(metrics.effects.node_crashes, metrics.effects.node_restarts);
    let rt = run(3, faults(5_000..6_000));
    let first_return = rt.metrics().convergence.time_to_converge;
    assert!(first_return >= Some(5_000.into()), "{first_return:?}");
}

#[test]
fn churn_follows_its_settings() {
    let faults = |away| FaultConfig::default().with_loss(0.3).with_churn(0.05, away);
    let metrics = no_workload_metrics(faults(10..50));
    assert!(metrics.effects.departures > 0);
    assert_eq!(metrics.effects.departures, metrics.effects.returns);
    let away_for_long = no_workload_metrics(faults(5_000..6_000)).convergence.time_to_converge;
    assert!(away_for_long >= Some(5_000.into()), "{away_for_long:?}");
}

#[test]
fn late_joiners_join_on_time() {
    let rt = run(3, FaultConfig::default().with_late_joiners(2, 4_000..5_000));
    assert_eq!(rt.metrics().effects.late_joins, 2);
    assert!((4_000.into()..7_000.into()).contains(&rt.now()), "{}", rt.now());
    assert_eq!(rt.entity_count("late-2"), 30);
}

#[test]
fn slow_nodes_slow_runs_down() {
    let time =
        |faults: FaultConfig| (0..12).map(|seed| run(seed, faults.clone()).now().as_millis()).sum::<u64>();
    let base = || FaultConfig::none().with_latency(20, 0);
    assert!(time(base().with_slow_nodes(10.0)) > time(base()));
}

#[test]
fn writes_fall_into_syncs() {
    assert_eq!(no_workload_metrics(FaultConfig::default()).protocol.writes_accepted, 0);
    let metrics = no_workload_metrics(FaultConfig::default().with_writes_during_sync(1.0));
    assert!(metrics.protocol.writes_accepted > 0);
}

#[test]
fn chaos_ends_on_time() {
    let faults = FaultConfig::default().with_partitions(0.5, 50..90).with_churn(0.5, 5..9);
    let config = SimConfig::with_seed(1).with_faults(faults).with_chaos_for(SimDuration::from_secs(1));
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_diverged(2, 3));
    rt.partition_bidirectional("alice", "bob", Some(SimDuration::from_secs(5)));
    assert_eq!(rt.run(), StopCondition::Converged);
    let effects = rt.metrics().effects;
    assert!((20..200).contains(&effects.departures), "{} departures", effects.departures);
    let partitions = effects.partitions;
    assert!((20..120).contains(&partitions), "{partitions} partitions in one second of chaos");
}

#[test]
fn invalid_settings_are_rejected_by_name() {
    let config = SimConfig::with_seed(1).with_faults(FaultConfig::none().with_loss(7.0));
    let error = SimRuntime::try_with_config(config).unwrap_err();
    assert!(error.to_string().contains("the loss rate is 7"), "{error}");
}
