//! What a run does after it has converged.

use crate::budgets::IdleTraffic;
use crate::checks;
use crate::runtime::SimRuntime;
use crate::verdict::Check;
use syncline_types::{SimDuration, SimTime};

/// One seed of so many goes on after it has converged, to measure its traffic: it costs about as much as a short run.
const SEEDS: u64 = 16;

/// How long such a run goes on.
const AFTER_CONVERGENCE: SimDuration = SimDuration::from_secs(120);

impl SimRuntime {
    /// Whether a run that has converged stays silent, for some of the seeds: a clone of the run goes on for a while
    /// without faults. Whatever it finds is a finding of this run. Nothing is promised about the traffic that hostile
    /// nodes cause.
    pub(super) fn check_silence(&self) -> Option<Check> {
        if !self.config.seed.is_multiple_of(SEEDS) || !self.hostility.roles.is_empty() {
            return None;
        }
        let mut later = self.clone();
        if later.calm_at < SimTime::MAX {
            // The run may have converged before its faults end, or at the last event before that time.
            later.calm_at = later.now();
            later.calm();
        }
        let end = later.now() + AFTER_CONVERGENCE;
        let mut traffic = IdleTraffic::default();
        traffic.on_progress(later.now(), later.world.router().bytes_sent());
        while later.violation.is_none() && later.world.next_time().is_some_and(|at| at < end) {
            later.advance();
        }
        later.violation.take().or_else(|| checks::of_silence(&traffic, &later))
    }
}
