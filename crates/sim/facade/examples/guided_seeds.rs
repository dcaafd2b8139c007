//! Measures how many runs a coverage-guided search and plain drawn seeds need until they find a bug.
//!
//! `cargo run --release -p sync-sim --features canary --example guided_seeds` measures every canary and prints a table in
//! Markdown; names of canaries as arguments select some. `... guided_seeds --as-built NAME` measures the bug that is built
//! in, for example a mutant that an environment variable selects.

use std::sync::atomic::{AtomicU64, Ordering};
use sync_sim::canary::{self, Canary};
use sync_sim::case::{Case, RunResult};
use sync_sim::guided::{Genome, GuidedSearch, RunFeatures};
use sync_sim::known::KnownFinding;

/// How often each bug is searched for in each way, each time with other seeds.
const REPETITIONS: u64 = 9;
/// A search gives up after so many runs.
const MOST_RUNS: u64 = 2_000;
/// Runs between two times of learning, as in `syncline hunt`.
const BATCH: u64 = 64;
/// The distance between the first seeds of two searches.
const APART: u64 = 1_000_000;

fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    println!("| bug | plain seeds | guided | plain, found | guided, found |");
    println!("| --- | ---: | ---: | ---: | ---: |");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [flag, name] if flag == "--as-built" => measure(name, None),
        names => {
            for bug in Canary::ALL {
                let name = format!("{bug:?}");
                if names.is_empty() || names.contains(&name) {
                    measure(&name, Some(bug));
                }
            }
        }
    }
}

/// Prints the row of a bug: a canary, or one that is built in.
fn measure(name: &str, bug: Option<Canary>) {
    let plain = repeat(bug, |seed| (0..MOST_RUNS).find(|run| fails(&Genome::of(seed + run)).0));
    let guided = repeat(bug, guided);
    println!(
        "| `{name}` | {} | {} | {} of {REPETITIONS} | {} of {REPETITIONS} |",
        median(&plain),
        median(&guided),
        plain.iter().flatten().count(),
        guided.iter().flatten().count()
    );
}

/// The results of all repetitions, on all cores.
fn repeat(bug: Option<Canary>, search: impl Fn(u64) -> Option<u64> + Sync) -> Vec<Option<u64>> {
    let next = AtomicU64::new(0);
    let work = || {
        // Each thread has its own canary.
        canary::set(bug);
        let mine = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < REPETITIONS);
        std::iter::from_fn(mine).map(|at| search(at * APART)).collect::<Vec<_>>()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let started: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        started.into_iter().flat_map(|thread| thread.join().expect("a search does not panic")).collect()
    })
}

/// The number of runs before the first one that fails.
fn guided(seed: u64) -> Option<u64> {
    let mut search = GuidedSearch::new(seed);
    for batch in 0..MOST_RUNS.div_ceil(BATCH) {
        let genomes: Vec<Genome> = (0..BATCH).map(|_| search.propose()).collect();
        let mut learned = Vec::new();
        for (at, genome) in (0..).zip(genomes) {
            let (failed, reached) = fails(&genome);
            if failed {
                return Some(batch * BATCH + at);
            }
            learned.push((genome, reached));
        }
        for (genome, reached) in learned {
            search.learn(genome, reached);
        }
    }
    None
}

/// Whether the run of a genome fails in a way that no known finding explains, and what it reached.
fn fails(genome: &Genome) -> (bool, RunFeatures) {
    let case: Case = genome.case();
    let mut rt = case.build_to_run().expect("a drawn case is valid");
    let ended = RunResult::of(&mut rt);
    let known = KnownFinding::of(&case, &ended.class, &ended.reason);
    let reached = RunFeatures::of(&case, &rt, &ended);
    (!ended.class.is_converged() && known.is_none(), reached)
}

/// The median number of runs; a search that found nothing counts as one of more runs than any other.
fn median(runs: &[Option<u64>]) -> String {
    let mut sorted: Vec<u64> = runs.iter().map(|runs| runs.map_or(u64::MAX, |runs| runs + 1)).collect();
    sorted.sort_unstable();
    match sorted.get(sorted.len() / 2) {
        Some(&median) if median < u64::MAX => median.to_string(),
        _ => format!("> {MOST_RUNS}"),
    }
}
