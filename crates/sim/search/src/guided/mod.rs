//! Coverage-guided search: worlds that are drawn, and mutations of those whose runs reached something new.
//!
//! A plain sweep draws each world independently. A guided search retains the genome of every run that reached a feature
//! that no run before had reached, and mutates it: a new seed for the run, other random draws from some place of the run
//! on ([`Splice`](sync_sim_engine::random::Splice)), parts of the world drawn anew, or parts taken from another retained
//! genome. The draws are structured choices of the simulator, so every mutation is a valid world.
//!
//! A feature is a coverage target, a pair of rare branches in one run, or the order of magnitude of a counter. A search
//! is a function of its seed and of what it learned from the runs, in order: it does not depend on the number of threads
//! if callers propose and learn in batches of a fixed size.
//!
//! Source: the retention of inputs by new coverage is that of AFL (Zalewski, 2013); the mutation of structured choices
//! instead of bytes is that of Zest (Padhye et al., "Semantic fuzzing with Zest", ISSTA 2019).

mod features;
mod genome;

pub use features::RunFeatures;
pub use genome::Genome;

use crate::guided::features::Feature;
use std::collections::BTreeSet;
use sync_sim_engine::random::{Choices, Stream};
use syncline_types::Choice;

/// The most genomes that are retained. Beyond it, a random one makes room.
const MOST_RETAINED: usize = 4_096;

/// Of so many proposals, one is drawn afresh.
const FRESH_ONE_IN: u64 = 3;

/// A search that mutates the tapes of runs that have reached something new.
#[derive(Clone, Debug)]
pub struct GuidedSearch {
    choices: Choices,
    /// The seed of the next world that is drawn afresh.
    next_seed: u64,
    retained: Vec<Genome>,
    seen: BTreeSet<Feature>,
}

impl GuidedSearch {
    /// A search that has learned nothing. The worlds that it draws afresh are those of the seeds from `seed` on.
    pub fn new(seed: u64) -> Self {
        let choices = Choices::seeded(seed);
        Self { choices, next_seed: seed, retained: Vec::new(), seen: BTreeSet::new() }
    }

    /// The genome of the next world to run.
    pub fn propose(&mut self) -> Genome {
        if self.retained.is_empty() || self.below(FRESH_ONE_IN) == 0 {
            let seed = self.next_seed;
            self.next_seed = seed.wrapping_add(1);
            return Genome::of(seed);
        }
        let parent = self.parent();
        let mut genome = self.retained[parent].clone();
        let other = self.below(self.retained.len() as u64) as usize;
        let other = self.retained[other].clone();
        // Most mutations are single; some are several at once.
        loop {
            genome.mutate(&other, &mut self.choices);
            if self.below(3) > 0 {
                return genome;
            }
        }
    }

    /// Which genome is mutated: half of the time one of the latest, which reached the rarest features.
    fn parent(&mut self) -> usize {
        let retained = self.retained.len();
        let among = if self.below(2) == 0 { retained } else { retained.div_ceil(8) };
        retained - 1 - self.below(among as u64) as usize
    }

    /// Takes in what the run of a genome reached, and returns how many features are new.
    pub fn learn(&mut self, genome: Genome, reached: RunFeatures) -> usize {
        let before = self.seen.len();
        let RunFeatures { features, draws } = reached;
        self.seen.extend(features);
        let new = self.seen.len() - before;
        if new > 0 {
            if self.retained.len() == MOST_RETAINED {
                let out = self.below(MOST_RETAINED as u64) as usize;
                self.retained.remove(out);
            }
            self.retained.push(genome.after_run(draws));
        }
        new
    }

    /// The number of features that runs have reached.
    pub fn features(&self) -> usize {
        self.seen.len()
    }

    /// The number of genomes that are retained.
    pub const fn retained(&self) -> usize {
        self.retained.len()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.choices.below(Stream::Scenario, Choice::ScenarioShape, bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Case, RunResult};

    fn run(genome: &Genome) -> (Case, RunFeatures) {
        let case = genome.case();
        let mut rt = case.build().unwrap();
        let ended = RunResult::of(&mut rt);
        let reached = RunFeatures::of(&case, &rt, &ended);
        (case, reached)
    }

    #[test]
    fn search_is_a_function_of_its_seed() {
        let search = || {
            let mut search = GuidedSearch::new(5);
            let cases: Vec<Case> = (0..40)
                .map(|_| {
                    let genome = search.propose();
                    let (case, reached) = run(&genome);
                    search.learn(genome, reached);
                    case
                })
                .collect();
            (cases, search.features(), search.retained())
        };
        let (cases, features, retained) = search();
        assert_eq!(search(), (cases.clone(), features, retained));
        assert!(retained > 1 && features > 100, "{features} features, {retained} genomes");
        let plain = (5..45).map(Genome::of).map(|genome| genome.case()).collect::<Vec<_>>();
        assert!(cases.iter().any(|case| !plain.contains(case)), "some are mutations");
        assert!(cases.iter().any(|case| !case.splices.is_empty()), "some are spliced");
    }

    #[test]
    fn what_was_reached_before_is_not_new() {
        let mut search = GuidedSearch::new(1);
        let genome = search.propose();
        let (_, reached) = run(&genome);
        assert!(search.learn(genome.clone(), reached.clone()) > 0);
        assert_eq!(search.learn(genome, reached), 0);
        assert_eq!(search.retained(), 1);
    }

    /// A spliced case survives its text form, and is the run of its parent up to the splice.
    #[test]
    fn mutations_are_cases_like_others() {
        let mut search = GuidedSearch::new(9);
        for _ in 0..60 {
            let genome = search.propose();
            let (case, reached) = run(&genome);
            assert_eq!(case.to_text().unwrap().parse::<Case>().unwrap(), case);
            case.check().unwrap();
            search.learn(genome, reached);
        }
    }
}
