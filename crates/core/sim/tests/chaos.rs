//! Whole runs under everything at once.

use sync_sim::prelude::*;

fn run(seed: u64, faults: FaultConfig, nodes: usize, writes: usize) -> (SimRuntime, StopCondition) {
    let mut rt = SimRuntime::with_config(SimConfig::with_seed(seed).with_faults(faults));
    rt.apply_scenario(Scenario::n_nodes_diverged(nodes, 10));
    rt.apply_workload(&Workload::new(writes, SimDuration::from_secs(3)));
    let stop = rt.run();
    (rt, stop)
}

#[test]
fn heavy_chaos_with_concurrent_writes_converges_to_what_was_written() {
    for seed in 0..150 {
        let (rt, stop) = run(seed, FaultConfig::heavy_chaos(), 3, 30);
        assert_eq!(stop, StopCondition::Converged, "seed {seed}: {stop}\n{}", rt.explain());
    }
}

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
