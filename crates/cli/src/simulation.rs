//! A simulation that can be run with any seed.

use crate::flags::{ProcessLimits, ProfileArg, SimArgs};
use crate::interrupt;
use crate::output::text::quoted;
use crate::panics;
use sync_sim::case::{Case, RunResult};
use sync_sim::forensics::{FailureReport, InvestigationLimits, investigate_while};
use sync_sim::prelude::{SimRuntime, StopCondition};

/// Longer runs than this are not investigated: an investigation costs about thirty runs.
const MAX_EVENTS_TO_INVESTIGATE: u64 = 1_000_000;

/// Everything about a simulation but its seed.
#[derive(Clone, Debug)]
pub(crate) struct Simulation {
    /// The case, which has passed [`Case::check`].
    pub(crate) case: Case,
    /// The flags that describe it on a command line.
    pub(crate) flags: Vec<String>,
    /// The flags to apply to each drawn case, if every seed draws its own.
    pub(crate) swarm: Option<Box<SimArgs>>,
}

impl Simulation {
    /// The simulation of a case that has passed [`Case::check`].
    pub(crate) fn of_case(case: Case, flags: Vec<String>) -> Result<Self, String> {
        if case.nodes.iter().any(|node| !node.writes.is_empty()) {
            // Only a build makes the writes before the run; what is wrong with them depends on no seed.
            panics::quietly(|| case.build()).map_err(|error| error.to_string())?;
        }
        Ok(Self { case, flags, swarm: None })
    }

    /// The case of a seed.
    pub(crate) fn case(&self, seed: u64) -> Case {
        match &self.swarm {
            None => Case { seed, found: None, ..self.case.clone() },
            Some(args) => args.fixed(args.drawn(seed)).expect("the flags were checked on a plain case"),
        }
    }

    /// Whether the worlds of its seeds are large.
    pub(crate) fn is_large(&self) -> bool {
        self.swarm.as_ref().is_some_and(|args| args.profile == ProfileArg::Large)
    }

    /// The simulation of one seed: the case is drawn, if it is to be, and no longer changes.
    pub(crate) fn at_seed(&self, seed: u64) -> Self {
        Self { case: self.case(seed), flags: self.flags.clone(), swarm: None }
    }

    /// A runtime at the start of the run of a seed.
    pub(crate) fn build(&self, seed: u64) -> SimRuntime {
        self.build_with_case(seed).1
    }

    /// As [`Simulation::build`], with the case of the seed.
    pub(crate) fn build_with_case(&self, seed: u64) -> (Case, SimRuntime) {
        let case = self.case(seed);
        let rt = panics::quietly(|| case.build_to_run())
            .expect("the case was checked, and its validity does not depend on the seed");
        (case, rt)
    }

    /// As [`Simulation::build`], retaining the last `entries` entries of the history.
    pub(crate) fn build_with_history(&self, seed: u64, entries: usize) -> SimRuntime {
        let mut rt = self.build(seed);
        rt.keep_history(entries);
        rt
    }

    /// Runs a seed to its end, or until Ctrl-C.
    pub(crate) fn run_unless_interrupted(&self, seed: u64) -> RunResult {
        run_unless_interrupted(&mut self.build(seed))
    }

    /// Finds out where the run of a seed went wrong, unless it converged, is too long to be repeated, or Ctrl-C
    /// stopped it. Ctrl-C ends the investigation, too.
    pub(crate) fn investigate(
        &self,
        seed: u64,
        rt: &SimRuntime,
        stop: &StopCondition,
    ) -> Option<FailureReport> {
        let ended = !matches!(stop, StopCondition::Converged | StopCondition::Manual);
        if !ended || rt.events_processed() > MAX_EVENTS_TO_INVESTIGATE {
            return None;
        }
        investigate_while(&mut || !interrupt::requested(), &InvestigationLimits::default(), || {
            self.build(seed)
        })
    }

    /// The command that repeats the run of a seed in a process of its own, which has the limits that were given and which
    /// the run may end.
    pub(crate) fn reproduce_apart(&self, seed: u64, limits: &ProcessLimits) -> String {
        let flags: String =
            limits.given().iter().chain(&self.flags).map(|flag| format!(" {}", quoted(flag))).collect();
        format!("syncline sweep --seeds {seed} --isolate{flags}")
    }

    /// The command that repeats the run of a seed.
    pub(crate) fn reproduce(&self, seed: u64) -> String {
        let flags: String = self.flags.iter().map(|flag| format!(" {}", quoted(flag))).collect();
        format!("syncline run --seed {seed}{flags}")
    }
}

/// Runs a simulation to its end, or until Ctrl-C.
pub(crate) fn run_unless_interrupted(rt: &mut SimRuntime) -> RunResult {
    RunResult::with_runner(rt, |rt| rt.run_until(|_| interrupt::requested()))
}
