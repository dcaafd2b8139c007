//! Runs of many seeds on all cores.

use crate::case::{CaseError, RunResult};
use crate::custom::Subject;
use crate::custom::harness::Lab;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;

/// The most runs that shrinking a failure may take in a test.
const RUNS: u64 = 1_000;

/// A seed that failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SeedFailure {
    /// The seed that failed.
    pub seed: u64,
    /// The class of the failure.
    pub class: String,
    /// The reason, with its details.
    pub reason: String,
}

/// The result of a sweep. It does not depend on the number of cores.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Sweep {
    /// The number of seeds that were run.
    pub seeds: u64,
    /// The number of seeds that converged and passed every check.
    pub converged: u64,
    /// The number of events of all runs together.
    pub events: u64,
    /// The trace digests of all runs, folded in the order of the seeds: equal for equal sweeps.
    pub trace: u64,
    /// The number of seeds that ended in each class.
    pub classes: BTreeMap<String, u64>,
    /// The seeds that failed, ascending.
    pub failures: Vec<SeedFailure>,
}

impl Sweep {
    /// Whether every seed converged.
    pub const fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    /// The first seed that failed in a class.
    pub fn first(&self, class: &str) -> Option<&SeedFailure> {
        self.failures.iter().find(|failure| failure.class == class)
    }

    fn add(&mut self, seed: u64, ended: &RunResult) {
        self.seeds += 1;
        self.events += ended.events;
        self.trace = self.trace.rotate_left(1) ^ ended.trace.value();
        *self.classes.entry(ended.class.to_string()).or_default() += 1;
        if ended.class.is_converged() {
            self.converged += 1;
        } else {
            self.failures.push(SeedFailure {
                seed,
                class: ended.class.to_string(),
                reason: ended.reason.clone(),
            });
        }
    }
}

impl<S: Subject> Lab<S> {
    /// Runs many seeds, on all cores.
    ///
    /// # Errors
    ///
    /// If a setting is invalid.
    pub fn sweep(&self, seeds: Range<u64>) -> Result<Sweep, CaseError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        self.sweep_on(threads, seeds)
    }

    /// Runs many seeds in a test, on all cores.
    ///
    /// # Panics
    ///
    /// If a seed fails. The message contains the first that does, shrunk to a small case.
    #[track_caller]
    pub fn check(&self, seeds: Range<u64>) {
        let failed = match self.sweep(seeds) {
            Ok(sweep) => sweep.failures.into_iter().next(),
            Err(error) => panic!("the simulation cannot run: {error}"),
        };
        let Some(SeedFailure { seed, reason, .. }) = failed else { return };
        let small = self.shrink(&self.case(seed), RUNS, &mut |_| true).and_then(|small| small.case.to_text());
        let small = small.unwrap_or_else(|error| format!("it could not be shrunk: {error}"));
        panic!("seed {seed} fails: {reason}\n\n{small}");
    }

    /// Runs many seeds on this many threads.
    ///
    /// # Errors
    ///
    /// If a setting is invalid.
    pub fn sweep_on(&self, threads: usize, seeds: Range<u64>) -> Result<Sweep, CaseError> {
        let next = AtomicU64::new(seeds.start);
        let work = || {
            let mut ended = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds.end {
                    return ended;
                }
                ended.push((seed, self.run(seed)));
            }
        };
        // Runs share no state. Sorting the results by seed removes the only effect of the threads: their order.
        let mut all: Vec<(u64, Result<RunResult, CaseError>)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            let join = |worker: ScopedJoinHandle<'_, _>| {
                worker.join().unwrap_or_else(|payload| resume_unwind(payload))
            };
            workers.into_iter().flat_map(join).collect()
        });
        all.sort_by_key(|(seed, _)| *seed);
        assert!(all.is_sorted_by(|(a, _), (b, _)| a < b), "each seed runs once");
        let mut sweep = Sweep::default();
        for (seed, ended) in all {
            sweep.add(seed, &ended?);
        }
        Ok(sweep)
    }
}
