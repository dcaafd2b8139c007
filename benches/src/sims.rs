//! Whole simulations of whole replicas.

use crate::{best, row};
use sync_sim::prelude::*;

/// Three replicas with ten entities of their own each, heavy chaos, until converged.
pub(crate) fn reference_sweep() {
    const SEEDS: u64 = 1_000;
    println!("\nwhole simulations: 3 replicas, 10 entities of their own each, heavy chaos, until converged");
    for (name, writes) in [("without writes", 0), ("with 30 writes in the first 3 s", 30)] {
        let (took, events) = best(3, || {
            let run = |seed| {
                let config = SimConfig::with_seed(seed).with_faults(FaultConfig::heavy_chaos());
                let mut rt = SimRuntime::with_config(config);
                rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
                rt.apply_workload(&Workload::new(writes, SimDuration::from_secs(3)));
                assert_eq!(rt.run(), StopCondition::Converged, "seed {seed}");
                rt.events_processed()
            };
            (0..SEEDS).map(run).sum::<u64>()
        });
        row(&format!("simulations {name}"), SEEDS, took, None);
        row("… their events", events, took, None);
    }
    println!("\nan idle virtual hour of ten replicas that agree");
    let (took, events) = best(3, || {
        let mut rt =
            SimRuntime::with_config(SimConfig::with_seed(1).with_max_time(SimTime::from_secs(3_600)));
        rt.apply_scenario(Scenario::n_nodes_synced(10, 100));
        while rt.now() < SimTime::from_secs(3_600) {
            rt.step();
        }
        rt.events_processed()
    });
    println!("  {took:.1?} for {events} housekeeping events");
}
