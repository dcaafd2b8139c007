//! The bisection for the first event after which the replicas could not converge any more.

use crate::forensics::report::Finding;
use sync_sim_cluster::runtime::SimRuntime;
use sync_sim_cluster::verdict::StopCondition;
use syncline_types::SimDuration;

/// Limits on the cost of an investigation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvestigationLimits {
    /// The most snapshots of the world that are retained; at least two.
    pub copies: usize,
    /// The virtual time within which a world without faults must converge.
    pub span: SimDuration,
    /// The number of events within which a world without faults must converge.
    pub events: u64,
    /// The most differing entities that are listed.
    pub entities: usize,
}

impl Default for InvestigationLimits {
    fn default() -> Self {
        Self { copies: 32, span: SimDuration::from_secs(120), events: 200_000, entities: 8 }
    }
}

/// A finished run, and snapshots of the world before its end.
pub(super) struct Searched {
    pub(super) stop: StopCondition,
    pub(super) end: SimRuntime,
    pub(super) trials: u64,
    copies: Vec<SimRuntime>,
}

/// Runs the simulation to its end and retains evenly spaced snapshots. Whenever there are too many, the
/// stride is doubled and every other snapshot is dropped: memory stays bounded without knowing the length
/// of the run beforehand.
///
/// `None` if `go_on` returned false before the end.
pub(super) fn run(
    go_on: &mut dyn FnMut() -> bool,
    limits: &InvestigationLimits,
    build: &dyn Fn() -> SimRuntime,
) -> Option<Searched> {
    let mut end = build();
    let mut copies = vec![end.clone()];
    let mut stride = 16;
    let mut stopped = false;
    let stop = end.run_until(|rt| {
        if rt.events_processed() > 0 && rt.events_processed().is_multiple_of(stride) {
            copies.push(rt.clone());
            if copies.len() > limits.copies.max(2) {
                stride *= 2;
                copies.retain(|copy| copy.events_processed().is_multiple_of(stride));
            }
        }
        stopped = stopped || !go_on();
        stopped
    });
    (!stopped).then_some(Searched { stop, end, trials: 0, copies })
}

impl Searched {
    /// Finds the first event after which the replicas could not converge. O(log events) trials.
    ///
    /// Invariant of both bisections: the world at `low` could converge, the world at `high` could not. The
    /// first bisection runs over the snapshots and needs no re-execution. The second runs over the events
    /// between two neighbouring snapshots, and steps a copy of the earlier one forward.
    ///
    /// `None` if `go_on` returned false before the end.
    pub(super) fn find_turn(
        &mut self,
        go_on: &mut dyn FnMut() -> bool,
        limits: &InvestigationLimits,
    ) -> Option<Finding> {
        let end = self.end.clone();
        if self.could_converge(go_on, limits, &end)? {
            return Some(Finding::CouldStillAgree);
        }
        let copies = std::mem::take(&mut self.copies);
        let first = copies.first().expect("the snapshot before the first event is never dropped");
        if !self.could_converge(go_on, limits, first)? {
            return Some(Finding::NeverCould);
        }
        // Invariant: the snapshot at `low` could converge; the one at `high` (the end of the run, if `high`
        // is the length) could not.
        let mut low = 0;
        let mut high = copies.len();
        while low + 1 < high {
            let middle = usize::midpoint(low, high);
            if self.could_converge(go_on, limits, &copies[middle])? {
                low = middle;
            } else {
                high = middle;
            }
        }
        // From here on, `hopeful` is a world that could converge, and the world after `lost` events could not.
        let mut lost = copies.get(high).map_or_else(|| end.events_processed(), SimRuntime::events_processed);
        let mut hopeful = copies.into_iter().nth(low).expect("`low` is the index of a snapshot");
        assert!(hopeful.events_processed() < lost, "the two ends of the bisection are in order");
        while hopeful.events_processed() + 1 < lost {
            let middle = u64::midpoint(hopeful.events_processed(), lost);
            let mut world = hopeful.clone();
            while world.events_processed() < middle && world.step() {}
            // Only the last step of a run can stop before `middle` events; the bisection cannot come closer
            // to the turn then.
            if world.events_processed() < middle {
                break;
            }
            if self.could_converge(go_on, limits, &world)? {
                hopeful = world;
            } else {
                lost = middle;
            }
        }
        Some(Finding::Turned { event: lost })
    }

    /// Whether a copy of `world` converges within the limits once all faults are disabled.
    fn could_converge(
        &mut self,
        go_on: &mut dyn FnMut() -> bool,
        limits: &InvestigationLimits,
        world: &SimRuntime,
    ) -> Option<bool> {
        self.trials += 1;
        let mut world = world.clone();
        world.heal_for(limits.span, limits.events);
        let mut stopped = false;
        let stop = world.run_until(|_| {
            stopped = stopped || !go_on();
            stopped
        });
        (!stopped).then_some(stop == StopCondition::Converged)
    }
}
