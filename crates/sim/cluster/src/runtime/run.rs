//! The loop of a run, and why it stops.

use super::SimRuntime;
use crate::node::{ContextNotice, SimNode};
use crate::verdict::StopCondition;
use sync_sim_engine::run::{Observer, RunLimits, StopReason, run};
use sync_sim_engine::world::{StepReport, World};
use syncline_types::SimTime;

impl SimRuntime {
    /// Runs until all nodes have converged, time or events run out, or a check fails.
    pub fn run(&mut self) -> StopCondition {
        self.run_until(|_| false)
    }

    /// Like [`SimRuntime::run`], but stops as soon as `done` returns `true`.
    pub fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> StopCondition {
        self.run_to(&mut done)
    }

    /// The loop itself. It is not generic, so that it is compiled and optimized here, once.
    fn run_to(&mut self, done: &mut dyn FnMut(&Self) -> bool) -> StopCondition {
        self.begin();
        // A test may have changed anything since the last event.
        self.restart_progress();
        let limits = RunLimits { max_time: self.config.max_time, max_events: self.config.max_events };
        let stop = match run(&mut RunUntil { runtime: self, done }, limits) {
            StopReason::Violated => match self.violation.clone() {
                Some(check) => StopCondition::Violated(check),
                None => unreachable!("a run is violated by a check that failed"),
            },
            StopReason::Done => StopCondition::Manual,
            StopReason::Converged => StopCondition::Converged,
            StopReason::Diverged => StopCondition::Diverged(self.blockers()),
            StopReason::MaxEvents => StopCondition::MaxEvents(self.blockers_at_limit(self.now())),
            StopReason::MaxTime => StopCondition::MaxTime(self.blockers_at_limit(self.config.max_time)),
            StopReason::Deadlock => StopCondition::Deadlock(self.blockers()),
        };
        let stop = match stop {
            StopCondition::Violated(_) | StopCondition::Manual => stop,
            stop => {
                let converged = stop == StopCondition::Converged;
                let found = self.check_stop(converged);
                let found = found.or_else(|| if converged { self.check_silence() } else { None });
                found.map_or(stop, StopCondition::Violated)
            }
        };
        let stop = self.explained(stop);
        let stop = match (&stop, self.check_accounting()) {
            (StopCondition::Violated(_), _) | (_, None) => stop,
            (_, Some(check)) => StopCondition::Violated(check),
        };
        if let StopCondition::Violated(check) = &stop {
            self.broken = Some(check.clone());
        }
        self.record(&stop);
        stop
    }

    /// Processes one event. Returns whether there was one.
    pub fn step(&mut self) -> bool {
        self.begin();
        let any = self.world.next_time().is_some();
        if any {
            self.advance();
        }
        any
    }
}

/// A runtime as the engine runs it, until `done` returns `true`.
struct RunUntil<'a> {
    runtime: &'a mut SimRuntime,
    done: &'a mut dyn FnMut(&SimRuntime) -> bool,
}

impl Observer for RunUntil<'_> {
    type Actor = SimNode;

    fn world(&self) -> &World<SimNode> {
        &self.runtime.world
    }

    fn world_mut(&mut self) -> &mut World<SimNode> {
        &mut self.runtime.world
    }

    fn observe(&mut self, report: StepReport<ContextNotice>) {
        self.runtime.observe(report);
    }

    fn is_violated(&self) -> bool {
        self.runtime.violation.is_some()
    }

    fn is_done(&mut self) -> bool {
        (self.done)(self.runtime)
    }

    fn is_stuck(&self) -> bool {
        self.runtime.is_stuck()
    }

    fn before_event(&mut self, at: SimTime) {
        self.runtime.calm_before(at);
    }
}
