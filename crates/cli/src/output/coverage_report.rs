//! The coverage targets that a sweep reached; the report calls them places.

use crate::error::CommandError;
use crate::output::text::{grouped, numbers_from, table};
use crate::output::writer::Output;
use serde::Serialize;
use std::collections::BTreeMap;
use sync_sim::coverage::{Coverage, HitCount};

/// How many of the places that no run reached are named.
const NEVER_SHOWN: usize = 8;

/// The coverage of a sweep. Its JSON keys are stable.
#[derive(Serialize)]
pub(crate) struct CoverageReport {
    /// The number of coverage targets.
    places: usize,
    /// The number of targets that were reached.
    reached: usize,
    /// The targets that no run reached.
    never: Vec<String>,
    /// Whether the sweep fails if `missing` is not empty.
    demanded: bool,
    /// The demanded targets that no converged run reached.
    missing: Vec<String>,
    /// For each target, how many runs reached it and how many of those converged.
    runs: BTreeMap<String, HitCount>,
}

impl CoverageReport {
    pub(crate) fn of(coverage: Coverage, demanded: bool) -> Self {
        let rows = coverage.rows();
        let places = rows.len();
        let never = coverage.never();
        let missing = coverage.missing();
        let runs = rows.into_iter().map(|(place, reached)| (place.name, reached)).collect();
        Self { places, reached: places - never.len(), never, demanded, missing, runs }
    }

    /// Whether no demanded target is missing.
    pub(crate) fn is_good(&self) -> bool {
        !self.demanded || self.missing.is_empty()
    }

    /// Prints the rarest targets, those that were never reached, and the verdict.
    pub(crate) fn print(&self, out: &mut Output) -> Result<(), CommandError> {
        let mut rare: Vec<(&String, &HitCount)> = self.runs.iter().filter(|(_, r)| r.runs > 0).collect();
        rare.sort_by_key(|(name, reached)| (reached.runs, *name));
        let mut shown = table(&["rarest places reached", "runs", "converged"]);
        for (name, reached) in rare.into_iter().take(8) {
            shown.add_row([name.clone(), grouped(reached.runs), grouped(reached.converged)]);
        }
        numbers_from(&mut shown, 1);
        writeln!(out, "{shown}\n")?;
        // A sweep of few seeds misses most places, and says little by that.
        let never = match self.never.as_slice() {
            [] => String::new(),
            never if never.len() <= NEVER_SHOWN => format!("; never: {}", never.join(", ")),
            never => {
                let more = never.len() - NEVER_SHOWN;
                format!("; never: {} and {more} more (--json lists them)", never[..NEVER_SHOWN].join(", "))
            }
        };
        writeln!(out, "reached {} of {}{never}", self.reached, self.places)?;
        if !self.is_good() {
            writeln!(out, "required, but not reached by any converged run: {}", self.missing.join(", "))?;
        }
        writeln!(out)
    }
}
