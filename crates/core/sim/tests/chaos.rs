//! Whole runs under everything at once.

use sync_sim::prelude::*;

fn run(seed: u64, faults: FaultConfig, nodes: usize, writes: usize) -> (SimRuntime, StopCondition) {
    let mut rt = SimRuntime::with_config(SimConfig::with_seed(seed).with_faults(faults));
    rt.apply_scenario(Scenario::n_nodes_diverged(nodes, 10));
    rt.apply_workload(&Workload::new(writes, SimDuration::from_secs(3)));
    let stop = rt.run();
    (rt, stop)
}

/// Promises: C6, F2
#[test]
fn heavy_chaos_with_concurrent_writes_converges_to_what_was_written() {
    for seed in 0..150 {
        let (rt, stop) = run(seed, FaultConfig::heavy_chaos(), 3, 30);
        assert_eq!(stop, StopCondition::Converged, "seed {seed}: {stop}\n{}", rt.explain());
    }
}

/// Promises: C6, F2
#[test]
fn every_preset_converges_with_more_nodes() {
    for (name, faults) in [
        ("none", FaultConfig::none()),
        ("light", FaultConfig::light_chaos()),
        ("heavy", FaultConfig::heavy_chaos()),
        ("partitions", FaultConfig::partition_heavy()),
    ] {
        for seed in 0..10 {
            let (rt, stop) = run(seed, faults.clone(), 7, 40);
            assert_eq!(stop, StopCondition::Converged, "{name}, seed {seed}: {stop}\n{}", rt.explain());
        }
    }
}

/// What was forgotten came back with frames from before: a repeated request, an old root, content known
/// under no version; and a removal without a stamp was taken for an old one. Each seed found one.
///
/// Promises: C6
#[test]
fn what_was_forgotten_does_not_come_back() {
    let bare = |seed| run(seed, FaultConfig::heavy_chaos(), 3, 60);
    let fresh = |seed| {
        let config = SimConfig::with_seed(seed).with_faults(FaultConfig::heavy_chaos());
        let mut rt = SimRuntime::with_config(config);
        rt.apply_scenario(Scenario::fresh_joiner(3, 10));
        rt.apply_workload(&Workload::new(60, SimDuration::from_secs(3)));
        let stop = rt.run();
        (rt, stop)
    };
    for (rt, stop) in [10, 47, 1_315].map(bare).into_iter().chain([170, 467, 1_549].map(fresh)) {
        assert_eq!(stop, StopCondition::Converged, "{stop}\n{}", rt.explain());
    }
    let (rt, stop) = run(1_488, FaultConfig::heavy_chaos(), 3, 30);
    assert_eq!(stop, StopCondition::Converged, "{stop}\n{}", rt.explain());
}
