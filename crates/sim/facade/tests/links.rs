//! Faults of single links: each has an effect, and runs converge under it, over many seeds.

use sync_sim::prelude::*;

fn ms(millis: u64) -> SimDuration {
    SimDuration::from_millis(millis)
}

/// Runs one seed of a busy cluster. `run` checks that the fates of the frames balance.
fn run(seed: u64, faults: FaultConfig) -> SimRuntime {
    let mut rt = SimRuntime::with_config(
        // On slow and lossy links timeouts are long: a lost request may wait for half a minute.
        SimConfig::with_seed(seed).with_faults(faults).with_max_time(SimTime::from_secs(600)),
    );
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
    rt.apply_workload(&Workload::new(20, SimDuration::from_secs(2)));
    let stop = rt.run();
    assert_eq!(stop, StopCondition::Converged, "seed {seed}: {stop}");
    let fates = rt.metrics().fates;
    assert!(fates.is_balanced(), "seed {seed}: {fates:?}");
    rt
}

/// The counters of a hundred seeds of heavy chaos with additional faults.
fn struck(change: impl Fn(FaultConfig) -> FaultConfig) -> (LinkMetrics, SimMetrics) {
    let (mut links, mut last) = (LinkMetrics::default(), SimMetrics::default());
    for seed in 0..100 {
        let metrics = run(seed, change(FaultConfig::heavy_chaos())).metrics();
        links.merge(&metrics.effects.links);
        last.fates.merge(&metrics.fates);
    }
    (links, last)
}

/// Promises: F1, F2
#[test]
fn no_link_faults_leave_no_trace() {
    let (links, metrics) = struck(|faults| faults);
    assert_eq!(links, LinkMetrics::default());
    for cause in [DropCause::QueueFull, DropCause::LinkDown, DropCause::ConnectionReset] {
        assert_eq!(metrics.dropped(cause), 0);
    }
}

/// Promises: F1, F2
#[test]
fn a_narrow_link_queues_then_drops() {
    let (links, metrics) = struck(|faults| faults.with_bandwidth(20_000, 2_000));
    assert!(links.frames_queued > 1_000 && links.queue_delay_us > 0, "{links:?}");
    assert!(links.queue_drops > 0, "{links:?}");
    assert_eq!(links.queue_drops, metrics.dropped(DropCause::QueueFull));
    let (roomy, _) = struck(|faults| faults.with_bandwidth(20_000, 1_000_000_000));
    assert_eq!(roomy.queue_drops, 0, "nothing is dropped where there is room");
    let (shared, _) = struck(|faults| faults.with_uplinks(20_000, 1_000_000_000));
    assert!(shared.queue_delay_us > roomy.queue_delay_us, "all frames of a node wait for each other");
}

#[test]
fn a_latency_tail_is_bounded() {
    let (links, _) = struck(|faults| faults.with_latency_tail(0.05, SimDuration::from_secs(5)));
    assert!(links.tail_delays > 500, "{links:?}");
    let times = |most| {
        let faults = FaultConfig::none().with_latency(10, 0).with_latency_tail(1.0, most);
        (0..300).map(move |seed| {
            let mut rt = SimRuntime::with_config(SimConfig::with_seed(seed).with_faults(faults.clone()));
            let [a, _] = rt.apply_scenario_n(Scenario::n_nodes_synced(2, 1));
            let target = Target::top(EntityId::from_u64(9));
            rt.write(a, vec![Operation::Set { target, bytes: vec![1] }]);
            let arrived = |rt: &SimRuntime| rt.metrics().fates.delivered > 0;
            assert_eq!(rt.run_until(arrived), StopCondition::Manual);
            rt.now()
        })
    };
    assert!(times(ms(25)).all(|at| (10.into()..=25.into()).contains(&at)));
    let beyond = |bound: u64| times(ms(60_000)).filter(|at| *at >= bound.into()).count();
    // Of 300 frames in a Pareto tail, half take twice as long, and one of ten takes ten times as long.
    assert!((100..=200).contains(&beyond(20)), "{}", beyond(20));
    assert!((10..=60).contains(&beyond(100)), "{}", beyond(100));
}

#[test]
fn bad_links_are_bad_in_one_direction() {
    let (links, _) = struck(|faults| faults.with_bad_links(0.3, 10, 0.3));
    assert!(links.bad_link_frames > 1_000, "{links:?}");
    let mut asymmetric = 0;
    for seed in 0..50 {
        let faults = FaultConfig::default().with_bad_links(0.5, 1, 1.0);
        let mut rt = SimRuntime::with_config(
            SimConfig::with_seed(seed).with_faults(faults).with_max_time(SimTime::from_secs(10)),
        );
        rt.apply_scenario(Scenario::n_nodes_diverged(2, 3));
        rt.run();
        let received: Vec<bool> =
            rt.node_ids().into_iter().map(|node| rt.node_metrics(node).messages_received > 0).collect();
        asymmetric += usize::from(received == [true, false] || received == [false, true]);
    }
    assert!((10..40).contains(&asymmetric), "{asymmetric} of 50 pairs hear each other in one direction only");
}

#[test]
fn bursts_lose_consecutive_frames() {
    let (links, metrics) = struck(|faults| faults.with_burst_loss(0.02, 10, 0.9));
    assert!(links.burst_losses > 500, "{links:?}");
    assert!(metrics.dropped(DropCause::Loss) > links.burst_losses, "chance loses some besides");
}

#[test]
fn partition_kinds_follow_their_shares() {
    let (links, _) = struck(|faults| faults.with_one_way_partitions(0.5));
    assert!(links.one_way_partitions > 50 && links.group_partitions == 0, "{links:?}");
    let (links, _) = struck(|faults| faults.with_one_way_partitions(0.3).with_group_partitions(0.7));
    assert!(links.one_way_partitions > 20 && links.group_partitions > 20, "{links:?}");
    // Without shares the kind of a partition is not drawn: the partitions are those of older versions.
    let heavy = FaultConfig::heavy_chaos();
    let never = heavy.clone().with_one_way_partitions(0.0).with_group_partitions(0.0);
    assert_eq!(run(3, heavy).trace_digest(), run(3, never).trace_digest());
}

/// Promises: F1, F2
#[test]
fn links_flap_until_chaos_ends() {
    let (links, metrics) = struck(|faults| faults.with_flapping(0.7, 200..500, 200..500));
    assert!(links.link_down_frames > 500, "{links:?}");
    assert!(metrics.dropped(DropCause::LinkDown) > 0);
}

/// Promises: F1, F2
#[test]
fn streams_retransmit_and_deliver_in_order() {
    let (links, metrics) = struck(FaultConfig::with_stream_links);
    assert!(links.connections_opened > 300 && links.frames_retransmitted > 1_000, "{links:?}");
    assert!(links.frames_stalled > 0, "partitions stall frames: {links:?}");
    assert!(links.connection_resets > 0, "crashes break connections: {links:?}");
    assert!(metrics.dropped(DropCause::ConnectionReset) > 0);
    for cause in [DropCause::Loss, DropCause::PartitionAtSend, DropCause::PartitionAtDelivery] {
        assert_eq!(metrics.dropped(cause), 0, "{cause:?}");
    }
    assert_eq!(metrics.fates.duplicated, 0);
    for seed in 0..20 {
        let rt = run(seed, FaultConfig::heavy_chaos().with_stream_links());
        let overtaken = rt.metrics().effects.messages_reordered;
        let broke = rt.metrics().effects.links.connection_resets;
        assert!(overtaken == 0 || broke > 0, "seed {seed}: {overtaken} frames overtaken");
    }
}

/// Promises: F1, F2
#[test]
fn random_resets_are_survived() {
    let (links, metrics) = struck(|faults| faults.with_resets(0.02));
    assert!(links.chance_resets > 100 && links.connection_resets >= links.chance_resets, "{links:?}");
    assert!(metrics.dropped(DropCause::ConnectionReset) > links.chance_resets, "what was on its way is lost");
}

/// Promises: F1, F2
#[test]
fn a_long_partition_breaks_a_stream() {
    let (links, _) = struck(|faults| {
        let faults = faults.with_partitions(0.05, 500..1_500);
        faults.with_stream_links().with_stream_times(ms(50), ms(300))
    });
    assert!(links.stall_resets > 50, "{links:?}");
}

/// Seed 83 found a handshake response that came so late that the initiator had meanwhile collected tombstones that
/// the peer had not seen when it responded. The initiator took the peer for one below its horizon.
///
/// Promises: F1, F2
#[test]
fn everything_at_once_is_survived() {
    let all = |faults: FaultConfig| {
        let tail = SimDuration::from_secs(2);
        faults
            .with_bandwidth(20_000, 2_000)
            .with_latency_tail(0.02, tail)
            .with_bad_links(0.2, 4, 0.1)
            .with_burst_loss(0.005, 10, 0.8)
            .with_one_way_partitions(0.3)
            .with_group_partitions(0.3)
            .with_flapping(0.2, 400..2_000, 100..500)
    };
    let (datagrams, _) = struck(all);
    let (streams, _) = struck(|faults| all(faults).with_resets(0.005).with_stream_times(ms(50), ms(300)));
    // Without shared uplinks each link has its own capacity.
    let rows = |metrics: &LinkMetrics| {
        metrics.rows().into_iter().filter(|(name, _)| !name.contains("shared line")).collect::<Vec<_>>()
    };
    for (name, count) in rows(&datagrams) {
        let of_streams = ["connect", "… by chance", "… because", "retrans", "stalled"];
        let is_of_streams = of_streams.iter().any(|word| name.contains(word));
        assert_eq!(count == 0, is_of_streams, "{name}: {count}");
    }
    for (name, count) in rows(&streams) {
        assert_eq!(count == 0, name.contains("queue full"), "{name}: {count}");
    }
}

#[test]
fn one_more_fault_changes_no_other() {
    let base = || FaultConfig::heavy_chaos().with_burst_loss(0.01, 10, 0.8);
    let alone = run(5, base());
    let rare = run(5, base().with_latency_tail(0.000_001, ms(100)).with_bad_links(0.000_001, 2, 0.1));
    assert_eq!(alone.trace_digest(), rare.trace_digest(), "they are drawn, and strike none");
}

#[test]
fn runs_with_link_faults_repeat_and_replay() {
    let faults = || FaultConfig::heavy_chaos().with_resets(0.01).with_bandwidth(40_000, 8_000);
    let build = |rt: &mut SimRuntime| {
        rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
        rt.run();
    };
    let mut first = SimRuntime::with_config(
        SimConfig::with_seed(9).with_faults(faults().with_flapping(0.3, 100..200, 50..90)).recording(),
    );
    build(&mut first);
    let config = first.config().clone();
    let mut again = SimRuntime::replaying(config, first.tape()).unwrap();
    build(&mut again);
    assert_eq!(again.trace_digest(), first.trace_digest());
}
