//! The search for a small case: cuts a large case down, pins it, minimizes it, and where the result stays large,
//! looks for smaller failures of the same class elsewhere.

use crate::case::{Case, CaseError, Class, RunResult, Size};
use crate::shrink::budget::{RunBudget, ShrinkProgress};
use crate::shrink::bulk;
use crate::shrink::minimizer::{Depth, Minimized, RunCase, minimize};
use crate::shrink::reseed::{reseeded, subsampled};

/// The result of shrinking.
#[derive(Clone, PartialEq, Debug)]
pub struct Shrunk {
    /// The smallest case found.
    pub case: Case,
    /// The size of the original case once it was pinned. A large case is cut down before it is pinned: then the size
    /// of the original case itself.
    pub from: Size,
    /// The length in bytes of the text of the case that [`Shrunk::from`] counts.
    pub from_bytes: usize,
    /// The number of runs that the search took.
    pub runs: u64,
    /// Whether no reduction applies any more, as opposed to the budget being used up.
    pub finished: bool,
    /// The kinds of reductions that the end of the budget has cut off, in the order in which they would have come.
    pub unfinished: Vec<&'static str>,
}

impl Shrunk {
    fn of(best: Minimized, (from, from_bytes): (Size, usize), runs: u64) -> Self {
        let (case, unfinished) = best.into_parts();
        Self { case, from, from_bytes, runs, finished: unfinished.is_empty(), unfinished }
    }
}

/// Shrinks a failing case: the result fails in the same [`Class`]. Takes at most `most_runs` runs, and stops
/// when `go_on`, which is called before each run and regularly during runs, returns false. The same case gives the
/// same result, unless `go_on` stops the search.
///
/// The causes are removed by delta debugging: for n causes of which k matter, this takes about k·log n runs, and
/// n² at worst. If many causes remain, the search tries cases with fewer random faults under other seeds, and
/// minimizes one that fails instead. Last, the values, numbers, names, sizes and times of the case that is left become
/// small.
///
/// # Errors
///
/// If the case cannot be run, or does not fail; [`CaseError::Stopped`] if `go_on` ends the search before the case was
/// pinned, unless something was cut from a large case.
pub fn shrink(
    case: &Case,
    most_runs: u64,
    go_on: &mut dyn FnMut(&ShrinkProgress) -> bool,
) -> Result<Shrunk, CaseError> {
    let (mut search, begin) = begin(case, RunBudget::new(most_runs, go_on))?;
    let from = is_bulky(case).then(|| measure(case));
    let (pinned, ended) = match search.pinned(&begin, begin.size()) {
        // What was cut away already is worth more than nothing.
        Err(CaseError::Stopped) if begin != *case && is_bulky(case) => {
            return Ok(Shrunk::of(Minimized::untried(begin, None), measure(case), search.budget.runs()));
        }
        pinned => pinned?,
    };
    let from = from.unwrap_or_else(|| measure(&pinned));
    let ended_at = ended.at;
    let mut best = search.minimize(Minimized::untried(pinned, Some(ended)), FIRST, Depth::Causes);
    if !begin.has_random_script() {
        best = search.minimize_samples(best);
    } else if is_large(&best.case) {
        for candidate in reseeded(&begin, ended_at) {
            if !is_large(&best.case) || !search.may_run(&best.case) {
                break;
            }
            if search.fails(&candidate).is_some() {
                let (pinned, ended) = match search.pinned(&candidate, best.case.size()) {
                    Err(CaseError::Stopped) => break,
                    pinned => pinned?,
                };
                let found = search.minimize(Minimized::untried(pinned, Some(ended)), AGAIN, Depth::Causes);
                let found = search.minimize_samples(found);
                if causes(&found.case) < causes(&best.case) {
                    best = found;
                }
            }
        }
    }
    if search.budget.is_left() {
        best = search.minimize(best, u64::MAX, Depth::Details);
    } else if best.is_finished() {
        best.skip_details();
    }
    Ok(Shrunk::of(best, from, search.budget.runs()))
}

/// The class of the failure, and the case to start from: the given one, or what is left of a large one after it was
/// cut down.
fn begin<'a>(case: &Case, mut budget: RunBudget<'a>) -> Result<(ShrinkSearch<'a>, Case), CaseError> {
    let found = case.found.clone().filter(|class| is_bulky(case) && !class.is_converged());
    if let Some(class) = found.clone() {
        // A run of a large case may take longer than the whole search. The case need not run: a smaller one that
        // fails as the file says will do.
        let mut search = ShrinkSearch { class, budget };
        let smaller = search.without_bulk(case.clone());
        if smaller != *case {
            return Ok((search, smaller));
        }
        budget = search.budget;
    }
    budget.spend(1);
    let size = case.size();
    let class = case.run_while(&mut || budget.ask("the case itself", size))?.class;
    if class.is_converged() {
        return Err(CaseError::NothingWrong);
    }
    let mut begin = Case { found: Some(class.clone()), ..case.clone() };
    let mut search = ShrinkSearch { class, budget };
    if is_bulky(case) && found != begin.found {
        begin = search.without_bulk(begin);
    }
    Ok((search, begin))
}

/// Whether a case is cut down before anything else.
fn is_bulky(case: &Case) -> bool {
    bulk::total(case) > bulk::LARGE
}

/// The size of a case, and the length of its text in bytes.
fn measure(case: &Case) -> (Size, usize) {
    (case.size(), case.to_text().map_or(0, |text| text.len()))
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
    class: Class,
    budget: RunBudget<'a>,
}

impl ShrinkSearch<'_> {
    /// Minimizes one case with at most `most_runs` runs.
    fn minimize(&mut self, begin: Minimized, most_runs: u64, depth: Depth) -> Minimized {
        minimize(&Case::run_while, begin, &self.class, &mut self.budget, most_runs, depth)
    }

    /// What is left of a large case after it was cut down.
    fn without_bulk(&mut self, case: Case) -> Case {
        self.minimize(Minimized::untried(case, None), FIRST, Depth::Bulk).case
    }

    /// While the best case is large: runs random samples of its lines, and minimizes those that fail.
    fn minimize_samples(&mut self, mut best: Minimized) -> Minimized {
        let mut samples = subsampled(best.case.clone());
        while is_large(&best.case) && self.may_run(&best.case) {
            let Some(sample) = samples.next() else { break };
            if let Some(ended) = self.fails(&sample) {
                let found = self.minimize(Minimized::untried(sample, Some(ended)), AGAIN, Depth::Causes);
                if causes(&found.case) < causes(&best.case) {
                    samples = subsampled(found.case.clone());
                    best = found;
                }
            }
        }
        best
    }

    /// Whether the budget allows one more run outside of a minimization.
    fn may_run(&mut self, best: &Case) -> bool {
        // The caller is asked even when no run is left: it sees the last progress.
        self.budget.ask("less, under other seeds", best.size()) && self.budget.is_left()
    }

    /// The result of a case if it fails in the class; costs one run.
    fn fails(&mut self, case: &Case) -> Option<RunResult> {
        self.budget.spend(1);
        let size = case.size();
        let mut go_on = || self.budget.ask("less, under other seeds", size);
        case.run_while(&mut go_on).ok().filter(|ended| ended.class == self.class)
    }

    /// The pinned form of a case, with the result of its run. `best` is the size of the smallest case so far.
    fn pinned(&mut self, case: &Case, best: Size) -> Result<(Case, RunResult), CaseError> {
        self.budget.spend(PINNING);
        case.pinned_and_run(&mut || self.budget.ask("the pinned case", best))
    }
}

/// The runs that pinning takes: one is recorded, and one shows that the pinned case fails in the same way.
const PINNING: u64 = 2;

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
    let from = measure(&case);
    let mut budget = RunBudget::new(most_runs, go_on);
    budget.spend(PINNING + 1);
    let ended = match run(&case, &mut || budget.ask("the pinned case", from.0)) {
        // The case is known to fail in the class: it is the result as far as the search came.
        Err(CaseError::Stopped) => {
            return Ok(Shrunk::of(Minimized::untried(case, None), from, budget.runs()));
        }
        ended => ended?,
    };
    let mut best = Minimized::untried(case, Some(ended));
    if is_bulky(&best.case) {
        best = minimize(run, best, &class, &mut budget, most_runs, Depth::Bulk);
    }
    best = minimize(run, best, &class, &mut budget, most_runs, Depth::Details);
    Ok(Shrunk::of(best, from, budget.runs()))
}
