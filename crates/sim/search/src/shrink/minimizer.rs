//! The minimizer: makes one failing case small, pass by pass.
//!
//! Source: Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE TSE 2002 (delta
//! debugging, `ddmin`). A list of lines is cut by halves, then by quarters, down to single lines; a cut is
//! retained if the remaining case still fails in the same class. The passes repeat until none of them changes
//! anything: the result is 1-minimal, which means that no single reduction that is tried keeps the failure.

use crate::case::{Case, CaseError, Class, RunResult, rounded_down};
use crate::shrink::budget::RunBudget;
use crate::shrink::bulk;
use crate::shrink::rejected::RejectedCases;
use std::ops::Range;
use syncline_types::{SimDuration, SimTime};

/// How a case is run: built-in and custom replicas have their own runners. A runner may ask its second argument
/// during the run whether the search goes on; once it does not, the result is [`CaseError::Stopped`].
pub type RunCase<'a> = &'a dyn Fn(&Case, &mut dyn FnMut() -> bool) -> Result<RunResult, CaseError>;

/// How far a minimization goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Only lines are cut away, in large parts, until runs are cheap.
    Bulk,
    /// Causes are removed one by one.
    Causes,
    /// Also what the remaining causes say becomes small: values, numbers, names, sizes and times.
    Details,
}

/// A case that fails in the class of the search, and how far it was minimized.
pub(super) struct Minimized {
    /// The smallest case found.
    pub(super) case: Case,
    /// The result of its run; `None` if it was not run yet.
    ended: Option<RunResult>,
    /// The passes that the end of the budget has cut off; empty if no reduction applies any more.
    unfinished: Vec<&'static str>,
    /// The candidates that are known not to fail in the class.
    rejected: RejectedCases,
}

impl Minimized {
    /// A case of which nothing was tried yet, with the result of its run if it was run.
    pub(super) fn untried(case: Case, ended: Option<RunResult>) -> Self {
        let unfinished = names(CAUSES).chain(names(DETAILS)).collect();
        Self { case, ended, unfinished, rejected: RejectedCases::default() }
    }

    /// Notes that the budget has ended before the details.
    pub(super) fn skip_details(&mut self) {
        self.unfinished = names(DETAILS).collect();
    }

    /// Whether no reduction applies any more, as opposed to the budget being used up.
    pub(super) const fn is_finished(&self) -> bool {
        self.unfinished.is_empty()
    }

    /// The case, and the passes that the end of the budget has cut off.
    pub(super) fn into_parts(self) -> (Case, Vec<&'static str>) {
        (self.case, self.unfinished)
    }
}

/// Minimizes a case that ends in `class` when it is `run`, with at most `most_runs` runs of the budget.
pub(super) fn minimize(
    run: RunCase<'_>,
    begin: Minimized,
    class: &Class,
    budget: &mut RunBudget<'_>,
    most_runs: u64,
    depth: Depth,
) -> Minimized {
    let limit = budget.limit(most_runs);
    let mut minimizer = Minimizer { run, class, best: begin, budget, limit, stopped: false, pass: "" };
    match depth {
        Depth::Bulk => minimizer.cut_bulk(),
        Depth::Causes => minimizer.causes(),
        Depth::Details => minimizer.causes_and_details(),
    }
    minimizer.best
}

/// A group of reductions, with its name for reports.
#[derive(Clone, Copy)]
pub(super) struct Pass {
    pub(super) name: &'static str,
    pub(super) work: fn(&mut Minimizer<'_, '_>),
}

/// The passes that remove causes, from coarse to fine: whatever an early pass removes, the later passes need not
/// try line by line, and their runs are shorter.
const CAUSES: &[Pass] = &[
    Pass { name: "whole kinds of faults", work: |minimizer| minimizer.families() },
    Pass { name: "contexts", work: |minimizer| minimizer.contexts() },
    Pass { name: "nodes", work: |minimizer| minimizer.nodes() },
    Pass {
        name: "what happens",
        work: |minimizer| minimizer.lines(|case| &mut case.script, |line| !line.is_recovery()),
    },
    Pass {
        name: "single frames",
        work: |minimizer| {
            minimizer.lines(|case| &mut case.frames, |_| true);
            minimizer.lines(|case| &mut case.rules, |_| true);
        },
    },
    Pass { name: "lies", work: |minimizer| minimizer.lies() },
    Pass { name: "initial entities", work: |minimizer| minimizer.entities() },
    Pass { name: "chance", work: |minimizer| minimizer.random_writes() },
    Pass { name: "operations and values", work: |minimizer| minimizer.writes() },
    Pass { name: "times", work: |minimizer| minimizer.times() },
    Pass { name: "settings", work: |minimizer| minimizer.settings() },
];

/// The passes that make small what the remaining causes say. They come last: with few causes, little is left to
/// try, and runs are short.
const DETAILS: &[Pass] = &[
    Pass { name: "lengths of values and texts", work: |minimizer| minimizer.contents() },
    Pass { name: "numbers", work: |minimizer| minimizer.numbers() },
    Pass { name: "names and keys", work: |minimizer| minimizer.names() },
    Pass { name: "sizes", work: |minimizer| minimizer.sizes() },
    Pass { name: "durations and gaps", work: |minimizer| minimizer.gaps() },
];

fn names(passes: &[Pass]) -> impl Iterator<Item = &'static str> {
    passes.iter().map(|pass| pass.name)
}

/// Owns the smallest case found so far. All passes change it through [`Minimizer::attempt`] alone, which keeps
/// the invariant that it fails in `class`.
pub(super) struct Minimizer<'a, 'b> {
    run: RunCase<'a>,
    class: &'a Class,
    best: Minimized,
    budget: &'a mut RunBudget<'b>,
    /// The count of runs at which this minimization stops.
    limit: u64,
    /// Whether the limit was reached or the caller ended the search. Nothing is attempted any more.
    stopped: bool,
    /// The name of the current pass, for progress reports.
    pass: &'static str,
}

impl Minimizer<'_, '_> {
    /// The smallest case found so far.
    pub(super) const fn best(&self) -> &Case {
        &self.best.case
    }

    /// The time at which the run of the smallest case ended; `None` if it was not run.
    pub(super) fn ended_at(&self) -> Option<SimTime> {
        self.best.ended.as_ref().map(|ended| ended.at)
    }

    /// The class that every case must keep.
    pub(super) const fn class(&self) -> &Class {
        self.class
    }

    /// Runs all passes once. Returns whether the budget lasted.
    fn once(&mut self, passes: &[Pass]) -> bool {
        for (at, pass) in passes.iter().enumerate() {
            self.pass = pass.name;
            (pass.work)(self);
            if self.stopped {
                self.best.unfinished = names(passes.get(at..).unwrap_or_default()).collect();
                return false;
            }
        }
        true
    }

    /// Repeats the passes over causes until none of them changes anything.
    fn causes(&mut self) {
        loop {
            let before = self.best().clone();
            if !self.once(CAUSES) {
                self.best.unfinished.extend(names(DETAILS));
                return;
            }
            if *self.best() == before {
                self.best.unfinished.clear();
                return;
            }
        }
    }

    /// Removes causes, then shortens what is left, which may make further causes removable.
    fn causes_and_details(&mut self) {
        loop {
            self.causes();
            let before = self.best().clone();
            if self.stopped || !self.once(DETAILS) {
                return;
            }
            if *self.best() == before {
                self.best.unfinished.clear();
                return;
            }
        }
    }

    /// Cuts away the largest parts of a large case, until it is not large any more or nothing helps.
    fn cut_bulk(&mut self) {
        let all = self.best.unfinished.clone();
        loop {
            let before = bulk::total(self.best());
            if before <= bulk::LARGE || self.stopped {
                break;
            }
            for kind in bulk::by_weight(self.best()) {
                // What an earlier kind has removed may have been the weight of this one.
                if (kind.weight)(self.best()) > bulk::LARGE / 8 && !self.stopped {
                    self.once(&[kind.pass]);
                }
            }
            if bulk::total(self.best()) > before / 4 * 3 {
                break;
            }
        }
        // These cuts are no passes to the end: all of those are still to come.
        self.best.unfinished = all;
    }

    /// Runs a candidate, and adopts it if it fails in the same class. Returns whether it did.
    fn attempt(&mut self, candidate: Case) -> bool {
        // Most passes propose values without looking whether they are there already: that costs no run.
        if self.stopped || candidate == self.best.case {
            return false;
        }
        let digest = RejectedCases::digest(&candidate);
        if self.best.rejected.contains(digest) {
            return false;
        }
        let size = self.best.case.size();
        if self.budget.runs() >= self.limit || !self.budget.ask(self.pass, size) {
            self.stopped = true;
            return false;
        }
        self.budget.spend(1);
        let mut go_on = || self.budget.ask(self.pass, size);
        // Only the class is compared: every reduction changes the trace, the time and the node that fails.
        match (self.run)(&candidate, &mut go_on) {
            Ok(ended) if ended.class == *self.class => {
                self.best.case = candidate;
                self.best.ended = Some(ended);
                true
            }
            // Nothing is known about a case that was not run to its end.
            Err(CaseError::Stopped) => false,
            // A reduction may leave a case that cannot be built, such as one without an honest node.
            Ok(_) | Err(_) => {
                self.best.rejected.insert(digest);
                false
            }
        }
    }

    /// Attempts a change of the best case. What the change leaves without meaning is removed with it.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Case)) -> bool {
        if self.stopped {
            return false;
        }
        let mut candidate = self.best().clone();
        change(&mut candidate);
        candidate.drop_dangling();
        self.attempt(candidate)
    }

    /// Lowers a number from `now` to the smallest value, `least` or above, with which the case fails. A binary
    /// search, which assumes that a case fails with every value above one with which it fails; where that does
    /// not hold, the result is a local minimum.
    pub(super) fn least(&mut self, least: u64, now: u64, set: impl Fn(&mut Case, u64)) {
        let mut low = least;
        let mut high = now;
        if low < high && self.change(|case| set(case, low)) {
            return;
        }
        low += 1;
        // Invariant: the case fails with `high`, and does not with any value below `low` that was tried.
        while low < high && !self.stopped {
            let middle = low + (high - low) / 2;
            if self.change(|case| set(case, middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
    }

    /// Reduces parts of a case by delta debugging: chunks of all parts, then of half of them, down to chunks of
    /// `smallest`. From the end, since later events are more often consequences than causes.
    ///
    /// `len` counts the parts that may still be reduced, and `cut` reduces those of a range.
    pub(super) fn chunks(
        &mut self,
        smallest: usize,
        len: impl Fn(&mut Case) -> usize,
        cut: impl Fn(&mut Case, Range<usize>),
    ) {
        let mut size = len(&mut self.best.case);
        while size >= smallest.max(1) {
            let mut end = len(&mut self.best.case);
            while end > 0 && !self.stopped {
                let start = end.saturating_sub(size);
                self.change(|case| cut(case, start..end));
                // A successful cut may have removed further parts that depended on it.
                end = start.min(len(&mut self.best.case));
            }
            if self.stopped {
                return;
            }
            size /= 2;
        }
    }

    /// Removes lines from a list, see [`Minimizer::chunks`]. Lines for which `may_go` is false stay.
    pub(super) fn lines<T: Clone>(&mut self, of: impl Fn(&mut Case) -> &mut Vec<T>, may_go: fn(&T) -> bool) {
        let cut = |case: &mut Case, cut: Range<usize>| {
            // Only lines that may go have an ordinal, so that the range counts no other line.
            let mut at = 0..;
            of(case).retain(|line| !may_go(line) || !at.next().is_some_and(|at| cut.contains(&at)));
        };
        self.chunks(1, |case| of(case).iter().filter(|line| may_go(line)).count(), cut);
    }

    /// Replaces a time by the roundest one with which the case still fails.
    pub(super) fn round_off(&mut self, now: SimDuration, set: impl Fn(&mut Case, SimDuration)) {
        for span in rounded_down(now) {
            if self.change(|case| set(case, span)) {
                return;
            }
        }
    }
}
