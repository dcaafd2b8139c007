//! The tests of the tests: deliberate bugs, each of a kind that real projects shipped. A sweep must
//! notice every one of them; one that survives a thousand seeds fails the build.
//!
//! `cargo test -p sync-sim --features canary --test canaries -- --nocapture` prints what each cost.

use std::time::Instant;
use sync_sim::canary::{self, Canary};
use sync_sim::prelude::*;

/// The stop of one run of the reference sweep: three replicas, heavy chaos, concurrent writes.
fn run(seed: u64) -> StopCondition {
    let config = SimConfig::with_seed(seed).with_faults(FaultConfig::heavy_chaos());
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
    rt.apply_workload(&Workload::new(30, SimDuration::from_secs(3)));
    rt.run()
}

#[test]
fn a_sweep_notices_every_canary() {
    const SEEDS: u64 = 1_000;
    for bug in Canary::ALL {
        canary::set(Some(bug));
        let started = Instant::now();
        let found =
            (0..SEEDS).map(|seed| (seed, run(seed))).find(|(_, stop)| *stop != StopCondition::Converged);
        canary::set(None);
        let Some((seed, stop)) = found else { panic!("{bug:?} survived {SEEDS} seeds") };
        println!("{bug:?}: found by seed {seed} after {:.1?}: {stop}", started.elapsed());
        assert_eq!(run(seed), StopCondition::Converged, "without the bug, seed {seed} is clean");
    }
}
