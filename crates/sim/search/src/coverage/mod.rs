//! What runs reached: every fault, protocol, outcome, cause of a drop and rare state has a name, and a
//! [`Coverage`] counts in how many runs it was seen, and how many of those converged.
//!
//! Coverages of two sweeps add up ([`Coverage::add`]); the order does not matter. A sweep that is large
//! enough must have reached everything that is [demanded](Place::demanded), or something is dead that should
//! not be: a fault that strikes nobody, a protocol that nobody runs.

mod fault_settings;
mod targets;

pub use fault_settings::Knob;
pub use targets::{Place, places};

use crate::case::{Case, Ended};
use crate::coverage::fault_settings::Seen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use sync_sim_cluster::runtime::SimRuntime;

/// In how many runs something was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Reached {
    /// In how many runs.
    pub runs: u64,
    /// How many of those converged.
    pub converged: u64,
}

/// What runs reached, by the names of [`places`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Coverage(BTreeMap<String, Reached>);

impl Coverage {
    /// What one run of a case reached. O(sessions + names).
    pub fn of(case: &Case, rt: &SimRuntime, ended: &Ended) -> Self {
        let metrics = rt.metrics();
        let seen = Seen {
            faults: &case.faults,
            contexts: case.contexts,
            metrics: &metrics,
            flights: rt.network().flights(),
            churn: rt.world.churn(),
            chance_crashes: rt.world.random_crashes(),
            writes_into_syncs: rt.writes_into_syncs,
            longest_clock_jump_us: rt.world.longest_clock_jump_us(),
        };
        let mut names: Vec<String> =
            Knob::all().filter(|knob| knob.struck(&seen)).map(|knob| targets::fault(knob.name)).collect();
        targets::reached_by(rt, case, &metrics, ended, &mut names);
        names.sort_unstable();
        names.dedup();
        let once = Reached { runs: 1, converged: u64::from(ended.class.is_converged()) };
        Self(names.into_iter().map(|name| (name, once)).collect())
    }

    /// Adds what other runs reached.
    pub fn add(&mut self, other: &Self) {
        for (name, more) in &other.0 {
            match self.0.get_mut(name) {
                Some(own) => {
                    (own.runs, own.converged) = (own.runs + more.runs, own.converged + more.converged);
                }
                None => {
                    self.0.insert(name.clone(), *more);
                }
            }
        }
    }

    /// In how many runs something of this name was seen.
    pub fn reached(&self, name: &str) -> Reached {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// The names of what no run reached.
    pub fn never(&self) -> Vec<String> {
        places()
            .into_iter()
            .filter(|place| self.reached(&place.name).runs == 0)
            .map(|place| place.name)
            .collect()
    }

    /// The names of what is demanded and was not reached in any run that converged.
    pub fn missing(&self) -> Vec<String> {
        let missing = |place: &Place| place.demanded && self.reached(&place.name).converged == 0;
        places().into_iter().filter(missing).map(|place| place.name).collect()
    }

    /// Each name in the order of [`places`], and in how many runs it was seen.
    pub fn rows(&self) -> Vec<(Place, Reached)> {
        let row = |place: Place| {
            let reached = self.reached(&place.name);
            (place, reached)
        };
        places().into_iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn of(name: &str, converged: bool) -> Coverage {
        Coverage([(name.to_owned(), Reached { runs: 1, converged: u64::from(converged) })].into())
    }

    #[test]
    fn coverages_add_up_in_any_order() {
        let (a, b) = (of("x", true), of("x", false));
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.add(&b);
        ba.add(&a);
        assert_eq!(ab, ba);
        assert_eq!(ab.reached("x"), Reached { runs: 2, converged: 1 });
    }

    #[test]
    fn each_place_has_a_name_of_its_own() {
        let names: Vec<String> = places().into_iter().map(|place| place.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn what_is_demanded_must_be_reached_by_a_run_that_converged() {
        let name = places().into_iter().find(|place| place.demanded).unwrap().name;
        assert!(Coverage::default().missing().contains(&name) && of(&name, false).missing().contains(&name));
        assert!(!of(&name, true).missing().contains(&name));
        assert!(!of(&name, false).never().contains(&name));
    }
}
