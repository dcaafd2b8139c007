//! The search for a small case: pins a failing case, minimizes it, and where the result stays large, looks for
//! smaller failures of the same class elsewhere.

use crate::case::{Case, CaseError, Class, Size};
use crate::shrink::budget::{RunBudget, ShrinkProgress};
use crate::shrink::minimizer::{Minimized, RunCase, minimize};
use crate::shrink::reseed::{reseeded, subsampled};

/// The result of shrinking.
#[derive(Clone, PartialEq, Debug)]
pub struct Shrunk {
    /// The smallest case found.
    pub case: Case,
    /// The size of the original case once it was pinned.
    pub from: Size,
    /// The number of runs that the search took.
    pub runs: u64,
    /// Whether no reduction applies any more, as opposed to the budget being used up.
    pub finished: bool,
}

/// Shrinks a failing case: the result fails in the same [`Class`]. Takes at most `most_runs` runs, and stops
/// when `go_on`, which is called before each run, returns false. The same case gives the same result, unless
/// `go_on` stops the search.
///
/// The causes are removed by delta debugging: for n causes of which k matter, this takes about k·log n runs, and
/// n² at worst. If many causes remain, the search tries cases with fewer random faults under other seeds, and
/// minimizes one that fails instead.
///
/// # Errors
///
/// If the case cannot be run, or does not fail.
pub fn shrink(
    case: &Case,
    most_runs: u64,
    go_on: &mut dyn FnMut(&ShrinkProgress) -> bool,
) -> Result<Shrunk, CaseError> {
    let class = case.run()?.class;
    if class.is_converged() {
        return Err(CaseError::NothingWrong);
    }
    let pinned = case.pinned()?;
    let from = pinned.size();
    let ended = pinned.run()?.at;
    let mut search = ShrinkSearch { class: &class, budget: RunBudget::new(most_runs, go_on) };
    let mut best = search.minimize(pinned, FIRST)?;
    if !case.has_random_script() {
        best = search.minimize_samples(best)?;
    } else if is_large(&best.case) {
        for candidate in reseeded(case, ended) {
            if !is_large(&best.case) || !search.may_run(&best.case) {
                break;
            }
            if search.fails(&candidate) {
                let found = search.minimize(candidate.pinned()?, AGAIN)?;
                let found = search.minimize_samples(found)?;
                if causes(&found.case) < causes(&best.case) {
                    best = found;
                }
            }
        }
    }
    if !best.finished && search.budget.is_left() {
        best = search.minimize(best.case, u64::MAX)?;
    }
    Ok(Shrunk { case: best.case, from, runs: search.budget.runs(), finished: best.finished })
}

/// The number of remaining causes from which on a case counts as large.
const LARGE: usize = 20;
/// The most runs for the original case before others are tried.
const FIRST: u64 = 800;
/// The most runs for each case that may replace it.
const AGAIN: u64 = 400;

fn causes(case: &Case) -> usize {
    case.size().causes()
}

fn is_large(case: &Case) -> bool {
    causes(case) >= LARGE
}

/// A search for a small case that fails in a class.
struct ShrinkSearch<'a> {
    class: &'a Class,
    budget: RunBudget<'a>,
}

impl ShrinkSearch<'_> {
    /// Minimizes one case with at most `most_runs` runs.
    fn minimize(&mut self, case: Case, most_runs: u64) -> Result<Minimized, CaseError> {
        minimize(&Case::run, case, self.class, &mut self.budget, most_runs)
    }

    /// While the best case is large: runs random samples of its lines, and minimizes those that fail.
    fn minimize_samples(&mut self, mut best: Minimized) -> Result<Minimized, CaseError> {
        let mut samples = subsampled(best.case.clone());
        while is_large(&best.case) && self.may_run(&best.case) {
            let Some(sample) = samples.next() else { break };
            if self.fails(&sample) {
                let found = self.minimize(sample, AGAIN)?;
                if causes(&found.case) < causes(&best.case) {
                    samples = subsampled(found.case.clone());
                    best = found;
                }
            }
        }
        Ok(best)
    }

    /// Whether the budget allows one more run outside of a minimization.
    fn may_run(&mut self, best: &Case) -> bool {
        // The caller is asked even when no run is left: it sees the last progress.
        self.budget.ask("less, under other seeds", best.size()) && self.budget.is_left()
    }

    /// Whether a case fails in the class; costs one run.
    fn fails(&mut self, case: &Case) -> bool {
        self.budget.spend(1);
        case.run().is_ok_and(|ended| ended.class == *self.class)
    }
}

/// Minimizes a pinned case that ends in `class` when it is `run` by the caller: a custom replica, or a process of its
/// own for a case that ends the process it runs in.
///
/// # Errors
///
/// If the case cannot be run.
pub fn shrink_with(
    run: RunCase<'_>,
    case: Case,
    class: Class,
    most_runs: u64,
    go_on: &mut dyn FnMut(&ShrinkProgress) -> bool,
) -> Result<Shrunk, CaseError> {
    let from = case.size();
    let mut budget = RunBudget::new(most_runs, go_on);
    let Minimized { case, finished } = minimize(run, case, &class, &mut budget, most_runs)?;
    Ok(Shrunk { case, from, runs: budget.runs(), finished })
}
