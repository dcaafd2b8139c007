//! Reseeding: the same class of failure in runs with fewer faults.
//!
//! Where the time of each event depends on many others, no line can be removed without moving all that
//! follow, and a failure that needs a few events at the right moments disappears. It can be found again
//! under another seed, in a shorter run with fewer faults, which then starts out small.

use crate::case::Case;
use sync_sim_engine::random::{Choices, Stream};
use syncline_types::{Choice, SimDuration, SimTime};

/// By how much the duration of the faults and the number of writes are divided, the smallest runs first.
const PARTS: [(u64, usize); 3] = [(16, 4), (8, 2), (4, 1)];
/// The number of seeds for each size of run.
const SEEDS: u64 = 400;

/// The number of random samples of the lines of a case.
const SAMPLES: u64 = 1_500;
/// In each sample, one line in so many is dropped.
const ONE_IN: [u64; 4] = [2, 3, 4, 8];

/// How much of the random frame faults stays.
#[derive(Clone, Copy)]
enum LinkNoise {
    /// No frame faults at all.
    Even,
    /// Only the random losses of the case.
    Lossy,
    /// All frame faults of the case.
    Given,
}

/// Cases with fewer faults than one that ran until `ended`, the smallest runs first, each under many seeds.
pub(super) fn reseeded(case: &Case, ended: SimTime) -> impl Iterator<Item = Case> {
    let links = [LinkNoise::Even, LinkNoise::Lossy, LinkNoise::Given];
    let kinds = PARTS.into_iter().flat_map(move |parts| links.map(|links| (parts, links)));
    kinds.flat_map(move |((chaos, writes), links)| {
        let smaller = case.scaled_down(chaos, writes, links, ended);
        (0..SEEDS).map(move |seed| Case { seed, ..smaller.clone() })
    })
}

/// Random samples of the lines of a case, each under another seed. Recoveries stay, so that a sample does
/// not fail merely because a node never returns.
pub(super) fn subsampled(case: Case) -> impl Iterator<Item = Case> {
    let sample = move |(seed, one_in)| {
        let mut choices = Choices::seeded(seed);
        let mut stays = || choices.below(Stream::Scenario, Choice::ScenarioShape, one_in) > 0;
        let mut sampled = Case { seed, ..case.clone() };
        sampled.script.retain(|line| line.is_recovery() || stays());
        sampled.frames.retain(|_| stays());
        sampled.drop_dangling();
        sampled
    };
    (0..SAMPLES).zip(ONE_IN.into_iter().cycle()).map(sample)
}

impl Case {
    /// Whether any event of nodes is random.
    pub(super) fn has_random_script(&self) -> bool {
        self.clone().without_random_events() != *self || self.workload.writes > 0
    }

    /// The same case with the faults and writes of a fraction of the run.
    fn scaled_down(&self, chaos: u64, writes: usize, links: LinkNoise, ended: SimTime) -> Self {
        let part = |span: SimDuration, of: u64| SimDuration::from_micros(span.as_micros() / of);
        let lasted = ended.since(SimTime::ZERO);
        let mut less = match links {
            LinkNoise::Even | LinkNoise::Lossy => self.clone().without_random_frame_faults(),
            LinkNoise::Given => self.clone(),
        };
        if matches!(links, LinkNoise::Lossy) {
            less.faults.message_loss_rate = self.faults.message_loss_rate;
        }
        // The run ended before longer settings did: a fraction of those could still be the whole run.
        less.chaos_for = part(self.chaos_for.min(lasted), chaos);
        less.calm_after = self.calm_after.map(|after| part(after.min(lasted), chaos));
        less.workload.writes = self.workload.writes.div_ceil(writes);
        less.workload.over = part(self.workload.over, writes as u64);
        less
    }
}
