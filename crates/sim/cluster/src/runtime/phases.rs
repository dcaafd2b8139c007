//! The two phases of a run: faults happen in the first and not in the second.

use crate::runtime::sim_runtime::SimRuntime;
use serde::Serialize;
use syncline_types::SimTime;

/// A phase of a run that has two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Faults happen; every check holds at every event.
    Safety,
    /// No fault happens any more; all nodes must converge.
    Liveness,
}

impl Phase {
    /// The name of the phase, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safety => "safety",
            Self::Liveness => "liveness",
        }
    }
}

impl SimRuntime {
    /// The present phase, if the run has two.
    pub fn phase(&self) -> Option<Phase> {
        self.config.calm_after?;
        let is_calm = self.has_begun && self.calm_at == SimTime::MAX;
        Some(if is_calm { Phase::Liveness } else { Phase::Safety })
    }

    /// Whether the script has an event before the end of the run. The run does not stop before it.
    pub(super) fn has_pending_script(&self) -> bool {
        self.world.next_scripted().is_some_and(|at| at < self.config.max_time)
    }

    /// Starts the faults, and schedules their end if the network calms.
    pub(super) fn begin_phases(&mut self) {
        let now = self.now();
        let config = &self.config;
        let calm_after = config.calm_after;
        self.calm_at = calm_after.map_or(SimTime::MAX, |after| now + after);
        let chaos_for = calm_after.map_or(config.chaos_for, |after| config.chaos_for.min(after));
        self.world.set_chaos_until(now + chaos_for);
    }

    /// Ends all faults: the second phase begins.
    pub(super) fn calm(&mut self) {
        // The network calms at its own time, not at that of the next event.
        assert!(self.calm_at < SimTime::MAX, "the network calms once");
        self.world.heal_at(std::mem::replace(&mut self.calm_at, SimTime::MAX));
        self.name_before(SimTime::MAX);
        // The end of the faults is an event from outside: the allowances start again.
        self.restart_progress();
    }
}
