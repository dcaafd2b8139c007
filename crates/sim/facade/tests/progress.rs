//! The liveness monitor raises no alarm where progress is only slow.

use sync_sim::prelude::*;

fn ends_well(name: &str, config: impl Fn(u64) -> SimConfig, scenario: impl Fn() -> Scenario, seeds: u64) {
    for seed in 0..seeds {
        let mut rt = SimRuntime::with_config(config(seed).with_max_time(SimTime::from_secs(3_600)));
        rt.apply_scenario(scenario());
        rt.apply_workload(&Workload::new(30, SimDuration::from_secs(3)));
        let stop = rt.run();
        assert_eq!(stop, StopCondition::Converged, "{name}, seed {seed}: {stop}");
    }
}

#[test]
fn slow_progress_raises_no_alarm() {
    let with = |faults: FaultConfig| move |seed| SimConfig::with_seed(seed).with_faults(faults.clone());
    let three = || Scenario::n_nodes_diverged(3, 10);
    ends_well("heavy", with(FaultConfig::heavy_chaos()), three, 40);
    ends_well("half lost", with(FaultConfig::heavy_chaos().with_loss(0.5)), three, 20);
    ends_well("partitions", with(FaultConfig::partition_heavy()), three, 20);
    ends_well("churn", with(FaultConfig::heavy_chaos().with_churn(0.02, 50..2_000)), three, 20);
    ends_well("far", with(FaultConfig::none().with_latency(4_000, 2_000)), three, 10);
    ends_well(
        "duplicates",
        with(FaultConfig::light_chaos().with_duplicates(0.9)),
        || Scenario::n_nodes_diverged(6, 10),
        10,
    );
    ends_well(
        "a snapshot of many pages",
        with(FaultConfig::heavy_chaos()),
        || Scenario::fresh_joiner(4, 3_000),
        2,
    );
    ends_well(
        "a deep tree",
        with(FaultConfig::light_chaos()),
        || Scenario::deep_tree(3, 60, |node| 20 + node),
        5,
    );
    let ring = |seed| {
        SimConfig::with_seed(seed).with_topology(Topology::Ring).with_faults(FaultConfig::heavy_chaos())
    };
    ends_well("a ring", ring, || Scenario::n_nodes_diverged(8, 5), 5);
}

#[test]
fn working_protocol_is_not_failing() {
    let mut rates = sync_sim::liveness::SuccessRates::default();
    for seed in 0..100 {
        let faults = FaultConfig::heavy_chaos();
        let config =
            SimConfig::with_seed(seed).with_faults(faults).with_protocol(SyncProtocolKind::RatelessIblt);
        let mut rt = SimRuntime::with_config(config);
        rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
        rt.run();
        rates.record(rt.sessions());
    }
    assert!(rates.iter().any(|(_, rate)| rate.attempts > sync_sim::liveness::SuccessRates::MIN_ATTEMPTS));
    assert_eq!(rates.failing(20).count(), 0, "{rates:?}");
}
