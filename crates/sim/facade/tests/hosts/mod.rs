//! Faults within nodes: each has an effect, and every run converges on what was written, or ends as
//! documented.

mod clocks;
mod disks;
mod histories;
mod pace;
mod random;
mod script;

use sync_sim::prelude::*;

/// Runs three diverged replicas with three seconds of writes.
fn run(seed: u64, faults: FaultConfig) -> (SimRuntime, StopCondition) {
    // Pauses are long, and so are timeouts.
    let config = SimConfig::with_seed(seed).with_faults(faults).with_max_time(SimTime::from_secs(120));
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
    rt.apply_workload(&Workload::new(30, SimDuration::from_secs(3)));
    let stop = rt.run();
    (rt, stop)
}

fn set(key: u64, value: u8) -> Vec<Operation> {
    vec![Operation::Set { target: Target::top(EntityId::from_u64(key)), bytes: vec![value] }]
}
