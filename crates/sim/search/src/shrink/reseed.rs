//! The same kind of failure where less goes wrong.
//!
//! Where many things decide when the next one happens, nothing can be taken away without moving all that
//! follows, and a failure that needs a few of them at the right moments is lost. It comes again where less
//! goes wrong in less time, under another seed.

use crate::case::Case;
use sync_sim_engine::random::{Choices, Stream};
use syncline_types::{Choice, SimDuration, SimTime};

/// Into how many parts the time of chaos is cut, and into how many what is written. From the lightest.
const PARTS: [(u64, usize); 3] = [(16, 4), (8, 2), (4, 1)];
/// Seeds that are tried with each.
const SEEDS: u64 = 400;

/// How often parts of what is left are tried.
const THINNED: u64 = 1_500;
/// Of how many lines one goes.
const ONE_IN: [u64; 4] = [2, 3, 4, 8];

/// What links do to frames by chance.
#[derive(Clone, Copy)]
enum Links {
    /// Nothing.
    Even,
    /// They lose some.
    Lossy,
    /// All that the case says.
    Given,
}

/// Lighter cases than one that ran until `ended`, the lightest first.
pub(super) fn lighter(case: &Case, ended: SimTime) -> impl Iterator<Item = Case> {
    let links = [Links::Even, Links::Lossy, Links::Given];
    let kinds = PARTS.into_iter().flat_map(move |parts| links.map(|links| (parts, links)));
    kinds.flat_map(move |((chaos, writes), links)| {
        let less = case.less(chaos, writes, links, ended);
        (0..SEEDS).map(move |seed| Case { seed, ..less.clone() })
    })
}

/// Parts of what a case is told, under other seeds.
pub(super) fn thinned(case: Case) -> impl Iterator<Item = Case> {
    let thin = move |(seed, one_in)| {
        let mut chance = Choices::seeded(seed);
        let mut stays = || chance.below(Stream::Scenario, Choice::ScenarioShape, one_in) > 0;
        let mut thin = Case { seed, ..case.clone() };
        thin.script.retain(|line| line.mends() || stays());
        thin.frames.retain(|_| stays());
        thin.tidy();
        thin
    };
    (0..THINNED).zip(ONE_IN.into_iter().cycle()).map(thin)
}

impl Case {
    /// Whether anything that happens to nodes is left to chance.
    pub(super) fn has_chance(&self) -> bool {
        self.clone().without_script_chance() != *self || self.workload.writes > 0
    }

    fn less(&self, chaos: u64, writes: usize, links: Links, ended: SimTime) -> Self {
        let part = |span: SimDuration, of: u64| SimDuration::from_micros(span.as_micros() / of);
        let lasted = ended.since(SimTime::ZERO);
        let mut less = match links {
            Links::Even | Links::Lossy => self.clone().without_frame_chance(),
            Links::Given => self.clone(),
        };
        if matches!(links, Links::Lossy) {
            less.faults.message_loss_rate = self.faults.message_loss_rate;
        }
        less.chaos_for = part(self.chaos_for.min(lasted), chaos);
        less.calm_after = self.calm_after.map(|after| part(after.min(lasted), chaos));
        less.workload.writes = self.workload.writes.div_ceil(writes);
        less.workload.over = part(self.workload.over, writes as u64);
        less
    }
}
