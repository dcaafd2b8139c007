//! The tests of the tests: deliberate bugs, each of a kind that real projects shipped. A sweep must
//! notice every one of them, and the case it finds must become small; one that survives a thousand seeds
//! fails the build.
//!
//! `cargo test -p sync-sim --features canary --test canaries -- --nocapture` prints what each cost: the
//! seeds until it was found, as the median over disjoint ranges of seeds, and which check found it.

#![allow(
    clippy::disallowed_methods,
    reason = "prints what finding each bug cost, and reads the golden files"
)]

use std::path::Path;
use std::time::Instant;
use sync_sim::canary::{self, Canary};
use sync_sim::paths::Paths;
use sync_sim::prelude::*;

/// One more than the most seeds that finding a bug may take.
const SEEDS: u64 = 1_000;
/// Ranges of that many seeds in which each bug is looked for.
const RANGES: u64 = 3;

/// The simulation of the reference sweep: three replicas, heavy chaos, concurrent writes. Some bugs need
/// more entities than the others to show, a fourth node, or crashes at worse times.
fn simulation(bug: Canary, seed: u64) -> SimRuntime {
    let mut faults = FaultConfig::heavy_chaos();
    let (mut nodes, mut entities, mut protocol) = (3, 10, None);
    match bug {
        Canary::StaleFrameAccepted | Canary::IncarnationForgotten => {
            faults = faults.with_crashes(0.02, 20..60);
        }
        Canary::StaleRootAfterRestart | Canary::SentBeforeCommit | Canary::AcknowledgedBeforeCommit => {
            faults = faults.with_crashes(0.02, 100..500);
        }
        Canary::ChildrenBeyond256Ignored => entities = 150,
        Canary::SettledByAnyone | Canary::DuplicatesForwarded => nodes = 4,
        // Left to itself, the negotiation goes round a path that leads nowhere.
        Canary::SketchNeverDecodes => protocol = Some(SyncProtocolKind::RatelessIblt),
        _ => {}
    }
    let config = SimConfig { protocol, ..SimConfig::with_seed(seed).with_faults(faults) };
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_diverged(nodes, entities));
    rt.apply_workload(&Workload::new(30, SimDuration::from_secs(3)));
    rt
}

/// How many seeds of a range it took to find a bug, and what found it.
struct Found {
    seeds: u64,
    by: String,
    /// Events of the run that showed it.
    events: u64,
    /// The seed, if one run shows it; a bug that only many runs show has none.
    seed: Option<u64>,
}

fn hunt(bug: Canary, first: u64) -> Option<Found> {
    let mut paths = Paths::default();
    for seed in first..first + SEEDS {
        let mut rt = simulation(bug, seed);
        let stop = rt.run();
        let seeds = seed - first + 1;
        if stop != StopCondition::Converged {
            let events = rt.events_processed();
            return Some(Found { seeds, by: stop.to_string(), events, seed: Some(seed) });
        }
        paths.take(rt.sessions());
        if let Some((protocol, path)) = paths.leading_nowhere(Paths::ENOUGH).next() {
            let by = format!(
                "{protocol} was tried {} times and led to equal roots {} times",
                path.tried, path.led
            );
            return Some(Found { seeds, by, events: 0, seed: None });
        }
    }
    println!("{bug:?} survived: {paths:?}");
    None
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
        let mut runs = (0..1_000).map(|seed| (seed, simulation(bug, seed).run()));
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

/// Compares a file with what it should hold, or writes it if that is asked for.
fn golden(path: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("SYNCLINE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{} is out of date: run with SYNCLINE_UPDATE_DOCS=1", path.display());
}

const TABLE: &str = "\
# What the canaries cost

Deliberate bugs, each of a kind that real projects shipped, switched on one at a time. Made by
`crates/core/sim/tests/canaries.rs`: seeds from 0 on until one fails, then `shrink`. *Causes* are writes, crashes,
partitions, frames that something was done to, and initial entities (a run of them, as in `alice/0..300`, is one).
Without its bug every case here converges.

| bug | seeds | found as | causes | after shrinking | what is left | runs |
| --- | ---: | --- | ---: | ---: | --- | ---: |
";

/// Above this, a case does not count as small.
const SMALL: usize = 20;

#[test]
fn a_sweep_notices_every_canary() {
    let (mut survivors, mut costliest) = (Vec::new(), (0, 0));
    println!("| bug | seeds until found, median of {RANGES} | found by |\n|---|---|---|");
    for bug in Canary::ALL {
        canary::set(Some(bug));
        let started = Instant::now();
        let found: Vec<Option<Found>> = (0..RANGES).map(|range| hunt(bug, range * SEEDS)).collect();
        let took = started.elapsed();
        canary::set(None);
        let Some(found) = found.into_iter().collect::<Option<Vec<_>>>() else {
            survivors.push(bug);
            continue;
        };
        let mut seeds: Vec<u64> = found.iter().map(|found| found.seeds).collect();
        seeds.sort_unstable();
        let words: String = found[0].by.chars().take(140).collect();
        println!("| {bug:?} | {} | {words} | ({took:.1?})", seeds[seeds.len() / 2]);
        for Found { events, seed, by, .. } in &found {
            let Some(seed) = *seed else { continue };
            let mut clean = simulation(bug, seed);
            assert_eq!(clean.run(), StopCondition::Converged, "without {bug:?}, seed {seed} is clean");
            let ratio = events / clean.events_processed();
            assert!(
                ratio <= 100,
                "{bug:?}, seed {seed}: {ratio} times the events of a run that passes: {by}"
            );
            costliest = costliest.max((ratio, bug as u32));
        }
    }
    let (ratio, bug) = costliest;
    println!("the costliest run had {ratio} times the events of the one that passes (bug {bug})");
    assert_eq!(survivors, [], "survived {SEEDS} seeds");
}
