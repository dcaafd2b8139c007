//! The context of one step.

use crate::effects::SyncActions;
use crate::event::{Timer, TimerOp};
use crate::refusal::Refusal;
use syncline_sync::Transaction;
use syncline_types::{Entropy, Moment, SimTime};

/// One step in progress: its work on the store, and the effects that it will return.
pub(super) struct StepContext<'a, V> {
    pub(super) work: Transaction<V>,
    /// The time of the step, with a wall clock that is plausible.
    pub(super) moment: Moment,
    /// What the wall clock shows, plausible or not.
    pub(super) wall_ms: u64,
    pub(super) entropy: &'a mut dyn Entropy,
    pub(super) out: SyncActions,
}

impl<V> StepContext<'_, V> {
    pub(super) const fn now(&self) -> SimTime {
        self.moment.now
    }

    pub(super) fn set_timer(&mut self, timer: Timer, at: SimTime) {
        self.out.timers.push(TimerOp::Set { timer, at });
    }

    pub(super) fn cancel_timer(&mut self, timer: Timer) {
        self.out.timers.push(TimerOp::Cancel { timer });
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.out.refusal = Some(refusal);
    }
}
