//! When the replicas could no longer agree.

use crate::forensics::report::Finding;
use sync_sim_cluster::runtime::SimRuntime;
use sync_sim_cluster::verdict::StopCondition;
use syncline_types::SimDuration;

/// How much an investigation may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Copies of the world that are kept on the way.
    pub copies: usize,
    /// For how long a world without faults may go on until its replicas agree.
    pub span: SimDuration,
    /// For how many events.
    pub events: u64,
    /// Entities that are shown of those that differ.
    pub entities: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { copies: 32, span: SimDuration::from_secs(120), events: 200_000, entities: 8 }
    }
}

/// A run and copies of it on the way.
pub(super) struct Searched {
    pub(super) stop: StopCondition,
    pub(super) end: SimRuntime,
    pub(super) trials: u64,
    copies: Vec<SimRuntime>,
}

/// Runs to the end, and keeps copies on the way: few enough, evenly spaced.
pub(super) fn run(limits: &Limits, build: &impl Fn() -> SimRuntime) -> Searched {
    let mut end = build();
    let (mut copies, mut stride) = (vec![end.clone()], 16);
    let stop = end.run_until(|rt| {
        if rt.events_processed() > 0 && rt.events_processed().is_multiple_of(stride) {
            copies.push(rt.clone());
            if copies.len() > limits.copies.max(2) {
                stride *= 2;
                copies.retain(|copy| copy.events_processed().is_multiple_of(stride));
            }
        }
        false
    });
    Searched { stop, end, trials: 0, copies }
}

impl Searched {
    /// The first event after which the replicas could not agree any more. O(log events) trials.
    pub(super) fn last_hope(&mut self, limits: &Limits) -> Finding {
        let end = self.end.clone();
        if self.could_agree(limits, &end) {
            return Finding::CouldStillAgree;
        }
        let copies = std::mem::take(&mut self.copies);
        let Some(first) = copies.first() else { return Finding::NeverCould };
        if !self.could_agree(limits, first) {
            return Finding::NeverCould;
        }
        // The last copy that could, and how many events had happened in the first that could not.
        let (mut low, mut high) = (0, copies.len());
        while low + 1 < high {
            let middle = usize::midpoint(low, high);
            let hope = copies.get(middle).is_some_and(|copy| self.could_agree(limits, copy));
            (low, high) = if hope { (middle, high) } else { (low, middle) };
        }
        let mut lost = copies.get(high).map_or_else(|| end.events_processed(), SimRuntime::events_processed);
        let Some(mut hopeful) = copies.into_iter().nth(low) else { return Finding::NeverCould };
        while hopeful.events_processed() + 1 < lost {
            let middle = u64::midpoint(hopeful.events_processed(), lost);
            let mut world = hopeful.clone();
            while world.events_processed() < middle && world.step() {}
            if world.events_processed() < middle {
                break;
            }
            if self.could_agree(limits, &world) {
                hopeful = world;
            } else {
                lost = middle;
            }
        }
        Finding::Turned { event: lost }
    }

    fn could_agree(&mut self, limits: &Limits, world: &SimRuntime) -> bool {
        self.trials += 1;
        let mut world = world.clone();
        world.heal_for(limits.span, limits.events);
        world.run() == StopCondition::Converged
    }
}
