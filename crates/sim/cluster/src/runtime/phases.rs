//! The two phases of a run: everything goes wrong, then nothing does.

use crate::runtime::sim_runtime::SimRuntime;
use serde::Serialize;
use syncline_types::SimTime;

/// A phase of a run that has two.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Everything may go wrong; every check holds at every event.
    Safety,
    /// Nothing goes wrong any more; all must converge.
    Liveness,
}

impl Phase {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safety => "safety",
            Self::Liveness => "liveness",
        }
    }
}

impl SimRuntime {
    /// The phase that the run is in, if it has two.
    pub fn phase(&self) -> Option<Phase> {
        self.config.calm_after?;
        let is_calm = self.unleashed && self.calm_at == SimTime::MAX;
        Some(if is_calm { Phase::Liveness } else { Phase::Safety })
    }

    /// Whether a script has something happen yet: the run is not over before.
    pub(super) fn has_pending_script(&self) -> bool {
        self.world.next_scripted().is_some_and(|at| at < self.config.max_time)
    }

    /// Lets things go wrong, until the network calms if it does.
    pub(super) fn begin_phases(&mut self) {
        let (now, config) = (self.now(), &self.config);
        let calm_after = config.calm_after;
        self.calm_at = calm_after.map_or(SimTime::MAX, |after| now + after);
        let chaos_for = calm_after.map_or(config.chaos_for, |after| config.chaos_for.min(after));
        self.world.set_chaos_until(now + chaos_for);
    }

    /// Ends the first phase.
    pub(super) fn calm(&mut self) {
        // It calms at that time, not with the event that comes after.
        self.world.heal_at(std::mem::replace(&mut self.calm_at, SimTime::MAX));
        self.watch.on_move(self.world.progress(), self.now(), self.world.last_arrival());
    }
}
