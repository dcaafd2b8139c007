//! Many seeds, on all cores.

use crate::case::{CaseError, RunResult};
use crate::custom::Subject;
use crate::custom::harness::Lab;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;

/// Runs that making a failure small may take in a test.
const RUNS: u64 = 1_000;

/// A seed that failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// In which class.
    pub class: String,
    /// Why.
    pub reason: String,
}

/// What a sweep came to. It is the same on any number of cores.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Sweep {
    /// How many seeds were run.
    pub seeds: u64,
    /// How many converged, with every check passed.
    pub converged: u64,
    /// Events of all runs.
    pub events: u64,
    /// The digests of all runs, folded in the order of seeds: equal for equal sweeps.
    pub trace: u64,
    /// How many seeds ended in each class.
    pub classes: BTreeMap<String, u64>,
    /// The seeds that failed, in order.
    pub failures: Vec<Failure>,
}

impl Sweep {
    /// Whether every seed converged.
    pub const fn is_good(&self) -> bool {
        self.failures.is_empty()
    }

    /// The first seed that failed in a class.
    pub fn first(&self, class: &str) -> Option<&Failure> {
        self.failures.iter().find(|failure| failure.class == class)
    }

    fn take(&mut self, seed: u64, ended: &RunResult) {
        self.seeds += 1;
        self.events += ended.events;
        self.trace = self.trace.rotate_left(1) ^ ended.trace.value();
        *self.classes.entry(ended.class.to_string()).or_default() += 1;
        if ended.class.is_converged() {
            self.converged += 1;
        } else {
            let (class, reason) = (ended.class.to_string(), ended.reason.clone());
            self.failures.push(Failure { seed, class, reason });
        }
    }
}

impl<S: Subject> Lab<S> {
    /// Runs many seeds, on all cores.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense.
    pub fn sweep(&self, seeds: Range<u64>) -> Result<Sweep, CaseError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        self.sweep_on(threads, seeds)
    }

    /// Runs many seeds in a test, on all cores.
    ///
    /// # Panics
    ///
    /// If a seed fails, with the first that does, made small.
    #[track_caller]
    pub fn check(&self, seeds: Range<u64>) {
        let failed = match self.sweep(seeds) {
            Ok(sweep) => sweep.failures.into_iter().next(),
            Err(error) => panic!("the simulation cannot run: {error}"),
        };
        let Some(Failure { seed, reason, .. }) = failed else { return };
        let small = self.shrink(&self.case(seed), RUNS, &mut |_| true).and_then(|small| small.case.to_text());
        let small = small.unwrap_or_else(|error| format!("it could not be made small: {error}"));
        panic!("seed {seed} fails: {reason}\n\n{small}");
    }

    /// As [`Lab::sweep`], on so many threads.
    ///
    /// # Errors
    ///
    /// If a setting makes no sense.
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
        // Runs share nothing; which thread takes which seed does not matter once they are put in order.
        let mut all: Vec<(u64, Result<RunResult, CaseError>)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            let join =
                |worker: ScopedJoinHandle<'_, _>| worker.join().unwrap_or_else(|said| resume_unwind(said));
            workers.into_iter().flat_map(join).collect()
        });
        all.sort_by_key(|(seed, _)| *seed);
        let mut sweep = Sweep::default();
        for (seed, ended) in all {
            sweep.take(seed, &ended?);
        }
        Ok(sweep)
    }
}
