//! What goes wrong within nodes: every knob strikes, and every run still ends in what was written, or in
//! the end that is documented.

mod chance;
mod clocks;
mod disks;
mod inbox_fates;
mod pace;

use sync_sim::prelude::*;

/// Three replicas that differ and are written to for three seconds.
fn run(seed: u64, faults: FaultConfig) -> (SimRuntime, StopCondition) {
    // After long pauses answers are waited for just as long.
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
