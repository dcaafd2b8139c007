//! The tests of the tests: deliberate bugs, each of a kind that real projects shipped. A sweep must
//! notice every one of them; one that survives a thousand seeds fails the build.
//!
//! `cargo test -p sync-sim --features canary --test canaries -- --nocapture` prints what each cost.

#![allow(clippy::disallowed_methods, reason = "prints what finding each bug cost; no test depends on it")]

use std::time::Instant;
use sync_sim::canary::{self, Canary};
use sync_sim::prelude::*;

/// The stop of one run of the reference sweep: three replicas, heavy chaos, concurrent writes. One bug
/// needs more entities than the others to show, one needs restarts quicker than frames.
fn run(bug: Canary, seed: u64) -> StopCondition {
    let mut faults = FaultConfig::heavy_chaos();
    if bug == Canary::StaleFrameAccepted {
        faults = faults.with_crashes(0.02, 20..60);
    }
    let config = SimConfig::with_seed(seed).with_faults(faults);
    let mut rt = SimRuntime::with_config(config);
    let entities = if bug == Canary::ChildrenBeyond256Ignored { 150 } else { 10 };
    rt.apply_scenario(Scenario::n_nodes_diverged(3, entities));
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
            (0..SEEDS).map(|seed| (seed, run(bug, seed))).find(|(_, stop)| *stop != StopCondition::Converged);
        let took = started.elapsed();
        canary::set(None);
        let Some((seed, stop)) = found else { panic!("{bug:?} survived {SEEDS} seeds") };
        println!("{bug:?}: {} seeds, {took:.1?}: {stop}", seed + 1);
        assert_eq!(run(bug, seed), StopCondition::Converged, "without the bug, seed {seed} is clean");
    }
}
