//! Coverage: which faults, protocols, outcomes, drop causes and rare states runs reached. Each has a name;
//! a [`Coverage`] counts in how many runs it was reached, and how many of those converged.
//!
//! Coverages add up ([`Coverage::add`]), in any order. A sweep that is large enough must reach everything
//! that is [demanded](CoverageTarget::demanded). A target that is not reached is dead code of the test: a
//! fault without effect, a protocol that never runs.

mod fault_settings;
mod targets;

pub use fault_settings::FaultSetting;
pub use targets::{CoverageTarget, targets};

use crate::case::{Case, RunResult};
use crate::coverage::fault_settings::RunEvidence;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use sync_sim_cluster::runtime::SimRuntime;

/// How often a target was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct HitCount {
    /// The number of runs that reached the target.
    pub runs: u64,
    /// The number of those that converged.
    pub converged: u64,
}

/// How often each target was reached, by the names of [`targets`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Coverage(BTreeMap<String, HitCount>);

impl Coverage {
    /// The targets that one run of a case reached. O(sessions + names).
    pub fn of(case: &Case, rt: &SimRuntime, ended: &RunResult) -> Self {
        let metrics = rt.metrics();
        let seen = RunEvidence {
            faults: &case.faults,
            contexts: case.contexts,
            has_script: !case.script.is_empty(),
            metrics: &metrics,
            flights: rt.network().flights(),
            churn: rt.world().churn(),
            chance_crashes: rt.world().random_crashes(),
            writes_into_syncs: rt.writes_during_sync(),
            longest_clock_jump_us: rt.world().longest_clock_jump_us(),
        };
        let mut names: Vec<String> = FaultSetting::all()
            .filter(|setting| setting.had_effect(&seen))
            .map(|setting| targets::fault(setting.name))
            .collect();
        targets::reached_by(rt, case, &metrics, ended, &mut names);
        names.sort_unstable();
        names.dedup();
        let once = HitCount { runs: 1, converged: u64::from(ended.class.is_converged()) };
        Self(names.into_iter().map(|name| (name, once)).collect())
    }

    /// Adds the counts of other runs.
    pub fn add(&mut self, other: &Self) {
        for (name, more) in &other.0 {
            match self.0.get_mut(name) {
                Some(sum) => {
                    sum.runs += more.runs;
                    sum.converged += more.converged;
                }
                None => {
                    self.0.insert(name.clone(), *more);
                }
            }
        }
    }

    /// The names of the targets that were reached.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// How often the target of this name was reached.
    pub fn reached(&self, name: &str) -> HitCount {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// The names of the targets that no run reached.
    pub fn never(&self) -> Vec<String> {
        targets()
            .into_iter()
            .filter(|target| self.reached(&target.name).runs == 0)
            .map(|target| target.name)
            .collect()
    }

    /// The names of the demanded targets that no converged run reached.
    pub fn missing(&self) -> Vec<String> {
        let missing = |target: &CoverageTarget| target.demanded && self.reached(&target.name).converged == 0;
        targets().into_iter().filter(missing).map(|target| target.name).collect()
    }

    /// All targets in the order of [`targets`], each with its count.
    pub fn rows(&self) -> Vec<(CoverageTarget, HitCount)> {
        let row = |target: CoverageTarget| {
            let reached = self.reached(&target.name);
            (target, reached)
        };
        targets().into_iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn of(name: &str, converged: bool) -> Coverage {
        Coverage([(name.to_owned(), HitCount { runs: 1, converged: u64::from(converged) })].into())
    }

    #[test]
    fn coverages_add_up_in_any_order() {
        let a = of("x", true);
        let b = of("x", false);
        let mut ab = a.clone();
        let mut ba = b.clone();
        ab.add(&b);
        ba.add(&a);
        assert_eq!(ab, ba);
        assert_eq!(ab.reached("x"), HitCount { runs: 2, converged: 1 });
    }

    #[test]
    fn target_names_are_unique() {
        let names: Vec<String> = targets().into_iter().map(|target| target.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn demanded_targets_need_converged_runs() {
        let name = targets().into_iter().find(|target| target.demanded).unwrap().name;
        assert!(Coverage::default().missing().contains(&name) && of(&name, false).missing().contains(&name));
        assert!(!of(&name, true).missing().contains(&name));
        assert!(!of(&name, false).never().contains(&name));
    }
}
