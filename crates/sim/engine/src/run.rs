//! The loop that runs a world until it converges, stops making progress, or reaches a limit.

use crate::actor::Actor;
use crate::world::{StepReport, World};
use syncline_types::SimTime;

/// The bounds of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunLimits {
    /// The run stops before the first event that is due at this time or later.
    pub max_time: SimTime,
    /// The run stops after this many events.
    pub max_events: u64,
}

impl Default for RunLimits {
    /// Ten minutes of virtual time and ten million events.
    fn default() -> Self {
        Self { max_time: SimTime::from_secs(600), max_events: 10_000_000 }
    }
}

/// Why a run stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopReason {
    /// The observer found a violation.
    Violated,
    /// The observer asked the run to stop.
    Done,
    /// No work is pending, no script is pending, and all digests are equal.
    Converged,
    /// Nothing is left to do, or the observer sees no progress any more, and digests still differ.
    Diverged,
    /// [`RunLimits::max_events`] was reached with work pending.
    MaxEvents,
    /// [`RunLimits::max_time`] was reached with work pending.
    MaxTime,
    /// Work is pending and no event is left that could complete it.
    Deadlock,
}

/// Owns a world and looks at every event of its run.
///
/// A [`World`] is the trivial observer: it checks nothing. Every other observer holds a world as a field
/// and implements the checks that it needs.
pub trait Observer {
    /// The actors of the world.
    type Actor: Actor;

    /// The world that is run.
    fn world(&self) -> &World<Self::Actor>;

    /// The world that is run, for the runner to step.
    fn world_mut(&mut self) -> &mut World<Self::Actor>;

    /// Called once after every event, and once for each input of nodes that start.
    fn observe(&mut self, report: StepReport<<Self::Actor as Actor>::Notice>);

    /// Whether a check has failed. The run stops before the next event.
    fn is_violated(&self) -> bool {
        false
    }

    /// Whether the caller has seen enough. Asked before every event.
    fn is_done(&mut self) -> bool {
        false
    }

    /// Whether the nodes have had every chance to agree and still differ (divergence without pending work).
    fn is_stuck(&self) -> bool {
        false
    }

    /// Called before the event that is due at `at` is taken. An observer may change the world here, for
    /// example [heal](World::heal_at) it at a time that is not later than `at`.
    fn before_event(&mut self, at: SimTime) {
        let _ = at;
    }
}

impl<A: Actor> Observer for World<A> {
    type Actor = A;

    fn world(&self) -> &Self {
        self
    }

    fn world_mut(&mut self) -> &mut Self {
        self
    }

    fn observe(&mut self, _: StepReport<A::Notice>) {}
}

/// Starts the nodes that were added, then takes events until one of the [`StopReason`]s applies. They are
/// checked before each event, in the order in which [`StopReason`] declares them; the two limits and the
/// deadlock last.
pub fn run<O: Observer>(observer: &mut O, limits: RunLimits) -> StopReason {
    for report in observer.world_mut().start_added() {
        observer.observe(report);
    }
    loop {
        // A violation comes first: a run that broke a promise has not converged, whatever its digests say.
        if observer.is_violated() {
            return StopReason::Violated;
        }
        if observer.is_done() {
            return StopReason::Done;
        }
        let world = observer.world();
        // A scripted event that is still to come may make the nodes differ again.
        if world.pending_work().is_converged() && !world.has_scripted_before(limits.max_time) {
            return StopReason::Converged;
        }
        if observer.is_stuck() {
            return StopReason::Diverged;
        }
        let world = observer.world();
        if world.events() >= limits.max_events {
            return StopReason::MaxEvents;
        }
        match world.next_time() {
            None if world.pending_work().is_quiet() => return StopReason::Diverged,
            None => return StopReason::Deadlock,
            Some(at) if at >= limits.max_time => return StopReason::MaxTime,
            Some(at) => observer.before_event(at),
        }
        // Healing in `before_event` may have removed the last event. Then the loop checks for the end again.
        if let Some(report) = observer.world_mut().step() {
            observer.observe(report);
        }
    }
}
