//! The failures of a sweep, grouped by cause, and the runs that known findings explain.

use crate::case_files;
use crate::error::CommandError;
use crate::flags::ProcessLimits;
use crate::output::text::{grouped, typed};
use crate::output::writer::Output;
use crate::simulation::Simulation;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use sync_sim::case::{Cause, Class};
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
    /// The flags of the limits under which the run ended its process, if it did and they were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) limits: Vec<String>,
    /// The case file, if this is the first seed with its cause.
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
    class: Class,
    /// How many seeds fail so.
    pub(crate) count: u64,
    /// The first seed that does.
    pub(crate) first: u64,
    /// The case file of that seed, once it is written.
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
    /// Adds a failure; `limits` are those of a run that ended its process. O(log causes).
    pub(crate) fn add(
        &mut self,
        seed: u64,
        class: &Class,
        stop: &str,
        reason: &str,
        simulation: &Simulation,
        limits: Option<&ProcessLimits>,
    ) {
        let cause = Cause::of(&simulation.case(seed), class, reason);
        // The run of an abnormal seed may end the process that repeats it, unless that is a sweep.
        let reproduce = limits
            .map_or_else(|| simulation.reproduce(seed), |limits| simulation.reproduce_apart(seed, limits));
        let limits = limits.map(ProcessLimits::given).unwrap_or_default();
        let new = CauseCount { class: class.clone(), count: 1, first: seed, case: None };
        self.causes.entry(cause.clone()).and_modify(|cause| cause.count += 1).or_insert(new);
        let stop = stop.to_owned();
        let reason = reason.to_owned();
        self.seeds.push(FailedSeed { seed, stop, cause, reason, reproduce, limits, case: None });
    }

    /// Writes the case of the first seed of each cause that has no file yet, in the order of the seeds, into `folder`.
    pub(crate) fn save_cases(&mut self, simulation: &Simulation, folder: &Path) -> Result<(), String> {
        let room = MAX_CASE_FILES - self.case_files();
        let mut new: Vec<&mut CauseCount> =
            self.causes.values_mut().filter(|cause| cause.case.is_none()).collect();
        new.sort_by_key(|cause| cause.first);
        for cause in new.into_iter().take(room) {
            let path = case_files::save_finding(simulation.case(cause.first), &cause.class, folder)?;
            cause.case = Some(path.display().to_string());
        }
        Ok(())
    }

    fn case_files(&self) -> usize {
        self.causes.values().filter(|cause| cause.case.is_some()).count()
    }

    /// Adds the failures of the seeds that follow. The result is that of one sweep over all seeds.
    pub(crate) fn merge(&mut self, next: Self) {
        let mut files = self.case_files();
        let mut causes: Vec<(Cause, CauseCount)> = next.causes.into_iter().collect();
        causes.sort_by_key(|(_, cause)| cause.first);
        for (cause, mut more) in causes {
            if let Some(known) = self.causes.get_mut(&cause) {
                known.count += more.count;
                continue;
            }
            if files == MAX_CASE_FILES {
                more.case = None;
            }
            files += usize::from(more.case.is_some());
            self.causes.insert(cause, more);
        }
        self.seeds.extend(next.seeds);
    }

    /// The number of failures.
    pub(crate) const fn count(&self) -> u64 {
        self.seeds.len() as u64
    }

    /// The causes in the order in which they occurred first. O(causes log causes).
    pub(crate) fn causes(&self) -> Vec<CauseReport> {
        let all = self.causes.iter();
        let mut causes: Vec<CauseReport> =
            all.map(|(cause, seeds)| CauseReport { cause: cause.clone(), seeds: seeds.clone() }).collect();
        causes.sort_by_key(|cause| cause.seeds.first);
        causes
    }

    /// The failures, in the order of the seeds. O(failures log causes).
    pub(crate) fn into_seeds(self) -> Vec<FailedSeed> {
        let Self { mut seeds, causes } = self;
        for failure in &mut seeds {
            let cause = causes.get(&failure.cause).filter(|cause| cause.first == failure.seed);
            failure.case = cause.and_then(|cause| cause.case.clone());
        }
        seeds
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

    /// Prints a line for each finding. `numbered` says what the number of a run is: its seed, or its place in a hunt.
    pub(crate) fn print(&self, numbered: &str, out: &mut Output) -> Result<(), CommandError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let total = match self.total() {
            1 => "1 run shows a known finding, which does".to_owned(),
            total => format!("{} runs show known findings, which do", grouped(total)),
        };
        writeln!(out, "{total} not count as a failure (docs/found.md):")?;
        for (name, KnownCount { count, first }) in &self.0 {
            // A sweep that is resumed may have been begun by an older build, whose findings are repaired by now.
            let about = KnownFinding::named(name).map_or("no longer known", |finding| finding.about);
            let runs = if *count == 1 { "run" } else { "runs" };
            writeln!(out, "  {name}: {about} ({} {runs}, the first is {numbered} {first})", grouped(*count))?;
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
            writeln!(out, "{}", case_files::failure_steps(path, &failure.limits))?;
        }
    }
    if causes.len() > shown {
        writeln!(out, "\n… and {} more causes; --json lists them all", causes.len() - shown)?;
    }
    Ok(())
}

/// How many seeds are listed for one cause.
const SEEDS_SHOWN: usize = 8;
