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

/// Bugs that all replicas share: they agree on every byte, so that only what was asked of them tells.
const SHARED: [Canary; 6] = [
    Canary::LowerReplicaWins,
    Canary::CounterLeavesOneOut,
    Canary::RemoveWinsEverywhere,
    Canary::TextShowsOneOfTwo,
    Canary::DeleteHidesByCreation,
    Canary::FrozenByLastWriter,
];

/// The state that joins all writes by the same functions is as wrong as the replicas are.
///
/// Promises: C6
#[test]
fn a_bug_that_all_replicas_share_is_found_by_what_they_show() {
    for bug in SHARED {
        canary::set(Some(bug));
        let mut runs = (0..1_000).map(|seed| (seed, run(bug, seed)));
        let found = runs.find(|(_, stop)| *stop != StopCondition::Converged);
        canary::set(None);
        let Some((seed, stop)) = found else { panic!("{bug:?} survived") };
        let StopCondition::Violated(Check::Lost { wrong, .. } | Check::WrongValue { wrong, .. }) = &stop
        else {
            panic!("{bug:?} shows in seed {seed} as {stop}");
        };
        let place = match bug {
            Canary::CounterLeavesOneOut => "likes ",
            Canary::RemoveWinsEverywhere => "element ",
            Canary::TextShowsOneOfTwo => "text",
            Canary::FrozenByLastWriter => "frozen / key ",
            _ => "",
        };
        assert!(wrong.place.contains(place), "{bug:?}: {stop}");
    }
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
