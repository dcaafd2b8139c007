//! Tests of the tests: deliberate bugs, each of a kind that real projects shipped. A sweep must detect
//! every one of them, and the case that shows it must shrink to a small one. A bug that survives a
//! thousand seeds fails the build.
//!
//! `docs/canaries.md` and `tests/pasted.rs` are generated here: `SYNCLINE_UPDATE_DOCS=1 cargo test
//! --release -p sync-sim --features canary --test canaries -- --nocapture`, which also prints the
//! seconds.

#![allow(
    clippy::disallowed_methods,
    reason = "prints what finding each bug cost, reads the golden files, and looks for several bugs at once"
)]

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use sync_sim::canary::{self, Canary};
use sync_sim::case::{Class, RunResult, ScenarioSpec};
use sync_sim::coverage::Coverage;
use sync_sim::guided::RunFeatures;
use sync_sim::liveness::SuccessRates;
use sync_sim::prelude::*;
use sync_sim::shrink::{Shrunk, shrink};

/// The number of seeds within which a bug must be found.
const SEEDS: u64 = 1_000;
/// The number of seed ranges in which each bug is searched for.
const RANGES: u64 = 3;
/// A case with this many causes or more is not small.
const SMALL: usize = 20;
/// The most events of a run with a bug, in multiples of the events of the same run without it.
const COSTLY: u64 = 100;
/// The most runs that shrinking one case may take.
const RUNS: u64 = 20_000;

/// One run of the reference sweep: three replicas, heavy chaos, concurrent writes. Some bugs need more
/// entities than the others to show, a fourth node, or crashes at worse times.
fn case(bug: Canary, seed: u64) -> Case {
    let mut faults = FaultConfig::heavy_chaos();
    let mut beginning = ScenarioSpec::default();
    let mut protocol = None;
    match bug {
        Canary::StaleFrameAccepted | Canary::IncarnationForgotten => {
            faults = faults.with_crashes(0.02, 20..60);
        }
        Canary::SentBeforeCommit | Canary::AcknowledgedBeforeCommit => {
            faults = faults.with_crashes(0.02, 100..500);
        }
        Canary::ChildrenBeyond256Ignored => beginning.entities = 150,
        Canary::SettledByAnyone | Canary::DuplicatesForwarded => beginning.nodes = 4,
        // The negotiation falls back from a protocol that never succeeds, which would hide the bug.
        Canary::SketchNeverDecodes => protocol = Some(SyncProtocolKind::RatelessIblt),
        _ => {}
    }
    let workload = Workload::new(30, SimDuration::from_secs(3));
    Case { seed, faults, scenario: Some(beginning), protocol, workload, ..Case::default() }
}

/// The evidence of a bug.
enum Shown {
    /// One run that fails.
    Run(Box<(Case, RunResult)>),
    /// Many runs, each of which converges: the low success rate of a protocol, in words.
    Rates(String),
}

/// Searches a range of seeds. Gives the number of seeds until the bug showed, and the evidence.
fn hunt(bug: Canary, first: u64) -> Option<(u64, Shown)> {
    let mut rates = SuccessRates::default();
    (1..=SEEDS).find_map(|seeds| {
        let case = case(bug, first + seeds - 1);
        let mut rt = case.build().unwrap();
        let ended = RunResult::of(&mut rt);
        if !ended.class.is_converged() {
            return Some((seeds, Shown::Run(Box::new((case, ended)))));
        }
        rates.record(rt.sessions());
        let (protocol, rate) = rates.failing(SuccessRates::MIN_ATTEMPTS).next()?;
        let words =
            format!("{protocol}, tried {} times, led to equal roots {} times", rate.attempts, rate.successes);
        Some((seeds, Shown::Rates(words)))
    })
}

/// The cost of finding one bug.
struct Cost {
    bug: Canary,
    /// Seeds until the bug was found: the median over all ranges.
    seeds: u64,
    /// The end of the first case that shrinks to a small one, and the small case; `None` if only many
    /// runs together show the bug.
    shrunk: Option<(RunResult, Shrunk)>,
    /// The evidence of many runs, if no single run shows the bug.
    rates: Option<String>,
    /// The greatest ratio of events with the bug to events without it.
    times: u64,
}

/// Searches each range for a bug, and shrinks the first case that shows it.
fn cost(bug: Canary) -> Result<Cost, String> {
    canary::set(Some(bug));
    let started = Instant::now();
    let found: Option<Vec<_>> = (0..RANGES).map(|range| hunt(bug, range * SEEDS)).collect();
    let hunted = started.elapsed();
    let Some(found) = found else { return Err(format!("{bug:?} survived {SEEDS} seeds")) };
    let mut seeds: Vec<u64> = found.iter().map(|(seeds, _)| *seeds).collect();
    seeds.sort_unstable();
    let seeds = seeds[seeds.len() / 2];
    let mut runs = Vec::new();
    let mut rates = None;
    for (_, shown) in found {
        match shown {
            Shown::Run(run) => runs.push(*run),
            Shown::Rates(words) => rates = rates.or(Some(words)),
        }
    }
    let started = Instant::now();
    let mut shrunk: Option<(RunResult, Shrunk)> = None;
    for (case, ended) in &runs {
        if shrunk.as_ref().is_some_and(|(_, shrunk)| shrunk.case.size().causes() < SMALL) {
            break;
        }
        shrunk = Some((ended.clone(), made_small(case, ended)));
    }
    let took = started.elapsed();
    canary::set(None);
    let mut times = 0;
    for (case, ended) in &runs {
        let clean = case.run().unwrap();
        if !clean.class.is_converged() {
            return Err(format!("seed {} without {bug:?}: {clean}", case.seed));
        }
        times = times.max(ended.events / clean.events);
        if times > COSTLY {
            return Err(format!("{bug:?}, seed {}: {times} times the events: {ended}", case.seed));
        }
    }
    println!("{bug:?}: {seeds} seeds, {RANGES} ranges in {hunted:.1?}; {times} times the events");
    if let Some((ended, Shrunk { case, from, runs, finished, .. })) = &shrunk {
        let size = case.size();
        println!("  {ended}; in {took:.1?} and {runs} runs (finished: {finished}) from {from} to {size}");
        if size.causes() >= SMALL {
            return Err(format!("{bug:?} is left with {size}:\n{case}"));
        }
        let clean = Case { max_time: Case::default().max_time, ..case.clone() }.run().unwrap();
        if !clean.class.is_converged() {
            return Err(format!("the small case without {bug:?}: {clean}\n{case}"));
        }
    } else {
        println!("  {}", rates.as_deref().unwrap_or_default());
    }
    Ok(Cost { bug, seeds, shrunk, rates, times })
}

/// The smallest case that fails in the same way, also after a round trip through its text form.
fn made_small(case: &Case, ended: &RunResult) -> Shrunk {
    let shrunk = shrink(case, RUNS, &mut |_| true).unwrap();
    let again: Case = shrunk.case.to_text().unwrap().parse().unwrap();
    assert_eq!(again.run().unwrap().class, ended.class, "{}", shrunk.case);
    shrunk
}

/// The costs of all bugs, in order. Threads search for several bugs at once.
fn costs() -> Vec<Result<Cost, String>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mine = || Canary::ALL.get(next.fetch_add(1, Ordering::Relaxed)).copied();
        std::iter::from_fn(mine).map(|bug| (bug as usize, cost(bug))).collect::<Vec<_>>()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut costs: Vec<_> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        started.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    costs.sort_by_key(|(bug, _)| *bug);
    costs.into_iter().map(|(_, cost)| cost).collect()
}

const TABLE: &str = "\
# What the canaries cost

Deliberate bugs, each of a kind that real projects shipped, switched on one at a time. Made by
`crates/sim/facade/tests/canaries.rs`. *Seeds* is how many runs it takes until one fails: the median over the ranges of
seeds from 0, from 1000 and from 2000. The first case that fails is then shrunk (`syncline shrink`); if
20 causes or more remain, the first failing case of the next range is shrunk, and 20 in all three ranges fail the build. *Causes* are writes, crashes,
partitions, frames with a fault, and initial entities (a run of them, as in `alice/0..300`, is one). *Times* is the most events of a run with the bug, divided by the events of the same run without it.
Without the bug, both the found case and the shrunk case converge.

| bug | seeds | found as | times | causes | after shrinking | what is left | runs |
| --- | ---: | --- | ---: | ---: | ---: | --- | ---: |
";

fn row(cost: &Cost) -> String {
    let Cost { bug, seeds, shrunk, rates, times } = cost;
    if let Some((ended, Shrunk { case, from, runs, .. })) = shrunk {
        let from = from.causes();
        let size = case.size();
        let class = &ended.class;
        return format!(
            "| `{bug:?}` | {seeds} | {class} | {times} | {from} | {} | {size} | {runs} |\n",
            size.causes()
        );
    }
    let words = rates.as_deref().unwrap_or_default();
    format!(
        "| `{bug:?}` | {seeds} | every run converges; over all of them {words} | | | | nothing to shrink | |\n"
    )
}

/// Compares a golden file with its expected text, or rewrites it if SYNCLINE_UPDATE_DOCS is set.
fn golden(path: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("SYNCLINE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{} is out of date: run with SYNCLINE_UPDATE_DOCS=1", path.display());
}

#[test]
fn sweep_notices_every_canary() {
    let mut table = TABLE.to_owned();
    let mut wrong = Vec::new();
    let mut pasted = String::new();
    for cost in costs() {
        match cost {
            Ok(cost) => {
                let _ = write!(table, "{}", row(&cost));
                if let (Canary::LwwTieByArrival, Some((_, shrunk))) = (cost.bug, &cost.shrunk) {
                    pasted = shrunk.case.to_rust().unwrap();
                }
            }
            Err(words) => wrong.push(words),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    golden("../../../docs/canaries.md", &table);
    let head = "//! A test as `syncline shrink` prints it, pasted. Made by `canaries.rs`.\n\n";
    golden("tests/pasted.rs", &format!("{head}{pasted}"));
}

/// Bugs that all replicas share: the replicas agree on every byte, so only the acknowledged writes reveal
/// the bug.
const SHARED: [(Canary, &str); 6] = [
    (Canary::LowerReplicaWins, ""),
    (Canary::CounterLeavesOneOut, "likes "),
    (Canary::RemoveWinsEverywhere, "element "),
    (Canary::TextShowsOneOfTwo, "text"),
    (Canary::DeleteHidesByCreation, ""),
    (Canary::FrozenByLastWriter, "frozen / key "),
];

/// The reference state uses the same merge functions and is as wrong as the replicas.
///
/// Promises: C6
#[test]
fn shared_bugs_show_in_visible_values() {
    for (bug, place) in SHARED {
        canary::set(Some(bug));
        let found = hunt(bug, 0);
        canary::set(None);
        let Some((_, Shown::Run(run))) = found else { panic!("{bug:?} survived") };
        let (case, ended) = *run;
        let Some(StopCondition::Violated(Check::Lost { wrong, .. } | Check::WrongValue { wrong, .. })) =
            &ended.stop
        else {
            panic!("{bug:?} shows in seed {} as {ended}", case.seed);
        };
        assert!(wrong.place.contains(place), "{bug:?}: {ended}");
    }
}

/// Core calls an application's merge function; the bug lets its panic through.
#[test]
fn panic_before_the_run_is_the_result_of_the_run() {
    let case: Case = r#"
        version = 1
        merge_faults = { function = "panics" }
        [[nodes]]
        name = "alice"
        writes = [
            { merge = { target = "flags", type = "workload.flags", in = "a" } },
            { merge = { target = "flags", type = "workload.flags", in = "b" } },
        ]
        [[nodes]]
        name = "bob"
        "#
    .parse()
    .unwrap();
    canary::set(Some(Canary::MergePanicEscapes));
    let Err(error) = case.build() else { panic!("a person who writes such a case is told") };
    let error = error.to_string();
    assert!(error.contains("alice: a write before the run panicked"), "{error}");
    let result = case.run().unwrap();
    let said = "a merge function of the application panicked, as the case wants";
    assert_eq!(result.class, Class::panicked(said), "{result}");
    // What reads the run finds no nodes and says so; it does not panic.
    let mut rt = case.build_to_run().unwrap();
    let ended = RunResult::of(&mut rt);
    assert!(Coverage::of(&case, &rt, &ended).rows().iter().all(|(_, hits)| hits.converged == 0));
    assert_eq!(RunFeatures::of(&case, &rt, &ended), RunFeatures::of(&case, &rt, &ended));
    let shrunk = shrink(&case, 300, &mut |_| true).expect("the case fails").case;
    assert_eq!(shrunk.run().unwrap().class, result.class, "{shrunk:?}");
    canary::set(None);
    assert!(case.run().unwrap().class.is_converged(), "core catches what a merge function panics");
}
