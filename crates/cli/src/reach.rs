//! What a sweep reached, as people and machines read it.

use crate::report::{grouped, numbers_from, table};
use serde::Serialize;
use std::collections::BTreeMap;
use sync_sim::coverage::{Coverage, HitCount};

/// What a sweep reached. Field names are stable.
#[derive(Serialize)]
pub(crate) struct CoverageReport {
    /// How many places there are.
    places: usize,
    /// How many were reached.
    reached: usize,
    /// Those that no run reached.
    never: Vec<String>,
    /// Whether the sweep fails if something is missing.
    demanded: bool,
    /// What is demanded and was not reached by any run that converged.
    missing: Vec<String>,
    /// In how many runs each was reached, and how many of those converged.
    runs: BTreeMap<String, HitCount>,
}

impl CoverageReport {
    pub(crate) fn of(coverage: Coverage, demanded: bool) -> Self {
        let rows = coverage.rows();
        let (places, never, missing) = (rows.len(), coverage.never(), coverage.missing());
        let runs = rows.into_iter().map(|(place, reached)| (place.name, reached)).collect();
        Self { places, reached: places - never.len(), never, demanded, missing, runs }
    }

    /// Whether nothing that is demanded is missing.
    pub(crate) fn is_good(&self) -> bool {
        !self.demanded || self.missing.is_empty()
    }

    /// Prints how much was reached, what seldom was, and what never.
    pub(crate) fn print(&self) {
        let mut rare: Vec<(&String, &HitCount)> = self.runs.iter().filter(|(_, r)| r.runs > 0).collect();
        rare.sort_by_key(|(name, reached)| (reached.runs, *name));
        let mut shown = table(&["rarest that were reached", "runs", "converged"]);
        for (name, reached) in rare.into_iter().take(8) {
            shown.add_row([name.clone(), grouped(reached.runs), grouped(reached.converged)]);
        }
        numbers_from(&mut shown, 1);
        println!("{shown}\n");
        let never = match self.never.as_slice() {
            [] => String::new(),
            never => format!("; never: {}", never.join(", ")),
        };
        println!("reached {} of {}{never}", self.reached, self.places);
        if !self.is_good() {
            println!("demanded, and not reached by any run that converged: {}", self.missing.join(", "));
        }
        println!();
    }
}
