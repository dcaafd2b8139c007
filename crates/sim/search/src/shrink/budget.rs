//! The budget of a search for a small case: how many runs it may take, and whether the caller has ended it.

use crate::case::Size;

/// The progress of shrinking.
#[derive(Clone, Copy, Debug)]
pub struct ShrinkProgress {
    /// The number of runs so far.
    pub runs: u64,
    /// The kind of reduction that is being tried.
    pub doing: &'static str,
    /// The size of the smallest failing case so far.
    pub size: Size,
}

/// The only owner of the count of runs: every part of a search spends from it.
pub(super) struct RunBudget<'a> {
    runs: u64,
    most_runs: u64,
    go_on: &'a mut dyn FnMut(&ShrinkProgress) -> bool,
    is_ended: bool,
}

impl<'a> RunBudget<'a> {
    /// A budget of `most_runs` runs, which also ends when `go_on` returns false.
    pub(super) fn new(most_runs: u64, go_on: &'a mut dyn FnMut(&ShrinkProgress) -> bool) -> Self {
        Self { runs: 0, most_runs, go_on, is_ended: false }
    }

    /// The number of runs so far.
    pub(super) const fn runs(&self) -> u64 {
        self.runs
    }

    /// The count of runs at which a part of the search must stop that may spend `most_runs` from now on.
    pub(super) fn limit(&self, most_runs: u64) -> u64 {
        self.runs.saturating_add(most_runs).min(self.most_runs.max(self.runs))
    }

    /// Counts runs against the budget.
    pub(super) const fn spend(&mut self, runs: u64) {
        self.runs += runs;
    }

    /// Reports the progress to the caller. Returns whether the search continues. Once the caller has ended
    /// the search, it stays ended.
    pub(super) fn ask(&mut self, doing: &'static str, size: Size) -> bool {
        let progress = ShrinkProgress { runs: self.runs, doing, size };
        self.is_ended |= !(self.go_on)(&progress);
        !self.is_ended
    }

    /// Whether runs are left and the caller has not ended the search.
    pub(super) const fn is_left(&self) -> bool {
        !self.is_ended && self.runs < self.most_runs
    }
}
