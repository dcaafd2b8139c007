//! What a guided search mutates.

use crate::case::{Case, SpliceLine};
use crate::swarm::{PartSeeds, Profile, draw_parts};
use sync_sim_engine::random::{Choices, Stream};
use syncline_types::Choice;

/// The most splices of one run.
const MOST_SPLICES: usize = 8;

/// The seeds that determine a world and its run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Genome {
    seeds: PartSeeds,
    splices: Vec<SpliceLine>,
    /// The number of draws of its run; zero if it has not run.
    draws: u64,
}

impl Genome {
    /// The world of a plain seed.
    pub const fn of(seed: u64) -> Self {
        Self { seeds: PartSeeds::of(seed), splices: Vec::new(), draws: 0 }
    }

    /// The same genome after a run with so many draws.
    pub(super) const fn after_run(mut self, draws: u64) -> Self {
        self.draws = draws;
        self
    }

    /// The case of the genome.
    pub fn case(&self) -> Case {
        Case { splices: self.splices.clone(), ..draw_parts(&self.seeds, Profile::Small) }
    }

    /// Changes the genome at random, or takes something of `other`.
    pub(super) fn mutate(&mut self, other: &Self, choices: &mut Choices) {
        let mut below = |bound: u64| choices.below(Stream::Scenario, Choice::ScenarioShape, bound);
        match below(8) {
            0 => {
                self.seeds.run = below(u64::MAX);
                self.splices.clear();
            }
            // The run is the same up to some place and differs after it.
            1..=3 => {
                let after_draws = below(self.draws.max(1));
                self.splices.retain(|splice| splice.after_draws < after_draws);
                self.splices.truncate(MOST_SPLICES - 1);
                self.splices.push(SpliceLine { after_draws, seed: below(u64::MAX) });
            }
            4 | 5 => {
                let part = below(PartSeeds::PARTS as u64) as usize;
                self.seeds.set_part(part, below(u64::MAX));
            }
            _ => {
                for part in 0..PartSeeds::PARTS {
                    if below(4) == 0 {
                        self.seeds.set_part(part, other.seeds.part(part));
                    }
                }
            }
        }
    }
}
