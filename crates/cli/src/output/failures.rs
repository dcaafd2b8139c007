//! The failures of a sweep, grouped by cause, and the runs that known findings explain.

use crate::case_files;
use crate::error::CommandError;
use crate::output::text::{grouped, typed};
use crate::output::totals::SeedOutcome;
use crate::output::writer::Output;
use crate::simulation::Simulation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use sync_sim::case::Cause;
use sync_sim::known::KnownFinding;

/// A seed whose run did not converge, or whose second run differed. The JSON keys are stable.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FailedSeed {
    pub(crate) seed: u64,
    pub(crate) stop: String,
    /// What failures of this kind have in common.
    pub(crate) cause: Cause,
    pub(crate) reason: String,
    pub(crate) reproduce: String,
    /// The case file: that of the first seed with this cause.
    pub(crate) case: Option<String>,
}

/// The failures that have one cause. The JSON keys are stable.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CauseReport {
    pub(crate) cause: Cause,
    #[serde(flatten)]
    pub(crate) seeds: CauseCount,
}

/// The seeds that fail with one cause. The JSON keys are stable.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CauseCount {
    /// How many seeds fail so.
    pub(crate) count: u64,
    /// The first seed that does.
    pub(crate) first: u64,
    /// The case file of that seed.
    pub(crate) case: Option<String>,
}

/// How many causes get a case file. For the others, the seed is enough to repeat them.
const MAX_CASE_FILES: usize = 100;

/// The failures of the seeds so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Failures {
    /// In the order of the seeds.
    seeds: Vec<FailedSeed>,
    causes: BTreeMap<Cause, CauseCount>,
}

impl Failures {
    /// Adds a failure. If it is the first with its cause, its case is written into `folder`. O(log causes).
    pub(crate) fn add(
        &mut self,
        run: &SeedOutcome,
        stop: &str,
        reason: &str,
        simulation: &Simulation,
        folder: &Path,
    ) -> Result<(), String> {
        let case = simulation.case(run.seed);
        let cause = Cause::of(&case, &run.class, reason);
        let mut file = None;
        if !self.causes.contains_key(&cause) && self.causes.len() < MAX_CASE_FILES {
            let path = case_files::save_finding(case, &run.class, folder)?;
            file = Some(path.display().to_string());
        }
        self.push(FailedSeed {
            seed: run.seed,
            stop: stop.to_owned(),
            cause,
            reason: reason.to_owned(),
            reproduce: simulation.reproduce(run.seed),
            case: file,
        });
        Ok(())
    }

    fn push(&mut self, failure: FailedSeed) {
        let new = CauseCount { count: 1, first: failure.seed, case: failure.case.clone() };
        self.causes.entry(failure.cause.clone()).and_modify(|cause| cause.count += 1).or_insert(new);
        self.seeds.push(failure);
    }

    /// Adds the failures of the seeds that follow. The result is that of one sweep over all seeds, which would have
    /// written one file for each cause.
    pub(crate) fn merge(&mut self, next: Self) {
        for mut failure in next.seeds {
            if self.causes.contains_key(&failure.cause) || self.causes.len() >= MAX_CASE_FILES {
                failure.case = None;
            }
            self.push(failure);
        }
    }

    /// The causes in the order in which they occurred first. O(causes log causes).
    pub(crate) fn causes(&self) -> Vec<CauseReport> {
        let all = self.causes.iter();
        let mut causes: Vec<CauseReport> =
            all.map(|(cause, seeds)| CauseReport { cause: cause.clone(), seeds: seeds.clone() }).collect();
        causes.sort_by_key(|cause| cause.seeds.first);
        causes
    }

    /// The failures, in the order of the seeds.
    pub(crate) fn into_seeds(self) -> Vec<FailedSeed> {
        self.seeds
    }
}

/// The runs that known findings explain: by the name of the finding, how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct KnownRuns(BTreeMap<String, KnownCount>);

/// The JSON keys are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownCount {
    /// How many seeds show the finding.
    count: u64,
    /// The first seed that does.
    first: u64,
}

impl KnownRuns {
    /// Counts a run.
    pub(crate) fn add(&mut self, finding: &KnownFinding, seed: u64) {
        self.merge_count(finding.name, KnownCount { count: 1, first: seed });
    }

    /// Adds the runs of the seeds that follow.
    pub(crate) fn merge(&mut self, next: Self) {
        for (name, count) in next.0 {
            self.merge_count(&name, count);
        }
    }

    fn merge_count(&mut self, name: &str, added: KnownCount) {
        let entry = self.0.entry(name.to_owned());
        entry.and_modify(|known| known.count += added.count).or_insert(added);
    }

    /// How many runs known findings explain.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().map(|known| known.count).sum()
    }

    /// Prints a line for each finding.
    pub(crate) fn print(&self, out: &mut Output) -> Result<(), CommandError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let total = grouped(self.total());
        writeln!(out, "{total} seeds show known findings, which do not fail a sweep (docs/found.md):")?;
        for (name, KnownCount { count, first }) in &self.0 {
            // A sweep that is resumed may have been begun by an older build, whose findings are repaired by now.
            let about = KnownFinding::named(name).map_or("no longer known", |finding| finding.about);
            writeln!(out, "  {name}: {about} ({} seeds, the first is {first})", grouped(*count))?;
        }
        writeln!(out)?;
        Ok(())
    }
}

/// Prints the first `shown` causes, each with its first failure and the commands that repeat it.
pub(crate) fn print_failures(
    failures: &[FailedSeed],
    causes: &[CauseReport],
    shown: usize,
    out: &mut Output,
) -> Result<(), CommandError> {
    for cause in causes.iter().take(shown) {
        let first = failures.iter().find(|failure| failure.cause == cause.cause);
        let Some(failure) = first else { unreachable!("a cause is that of some failure") };
        writeln!(out, "\nseed {} {}: {}", failure.seed, failure.stop, failure.reason)?;
        if cause.seeds.count > 1 {
            let others = failures.iter().filter(|failure| failure.cause == cause.cause).skip(1);
            let seeds: Vec<String> =
                others.take(SEEDS_SHOWN).map(|failure| failure.seed.to_string()).collect();
            let more = if cause.seeds.count as usize > SEEDS_SHOWN + 1 { ", …" } else { "" };
            let others = grouped(cause.seeds.count - 1);
            writeln!(out, "  the same cause has failed {others} more: {}{more}", seeds.join(", "))?;
        }
        writeln!(out, "  repeat it with: {}", typed(&failure.reproduce))?;
        if let Some(path) = &failure.case {
            writeln!(out, "{}", case_files::next_steps(path))?;
        }
    }
    if causes.len() > shown {
        writeln!(out, "\n… and {} more causes; --json lists them all", causes.len() - shown)?;
    }
    Ok(())
}

/// How many seeds are listed for one cause.
const SEEDS_SHOWN: usize = 8;
