//! The flags for hostile replicas.

use crate::report::grouped;
use clap::Args;
use clap::builder::PossibleValuesParser;
use sync_sim::hostile::{HostileMetrics, Lie};
use sync_sim::prelude::FaultConfig;

/// Replicas that say what is not so. A run ends when the honest have converged with each other; hostile ones
/// are not waited for, and do not stop to lie when chaos ends.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Hostile replicas")]
pub(crate) struct HostileArgs {
    /// How many of the replicas that a run begins with are hostile: the last ones. An honest one must be left,
    /// and the honest must reach each other past them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    hostile: Option<u64>,

    /// How many of the hostile replicas are no members: the last ones again.
    #[arg(long, value_name = "N", requires = "hostile", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    outsiders: Option<u64>,

    /// How they lie, with commas between; in every way if it is not said. Where members lie in a way that
    /// members are believed, the honest are checked to agree, and not on what.
    #[arg(long, value_name = "LIE,…", requires = "hostile", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(Lie::ALL.map(Lie::name)))]
    lies: Vec<String>,

    /// How often a hostile replica bends a frame that it sends, from 0 to 1 (0.2 if not said).
    #[arg(long, value_name = "P", requires = "hostile", value_parser = crate::values::probability)]
    lie_rate: Option<f64>,
}

impl HostileArgs {
    /// The faults with those that are asked for.
    pub(crate) fn add_to(&self, mut faults: FaultConfig) -> FaultConfig {
        let Some(hostile) = self.hostile else { return faults };
        let drawn = faults.hostile.outsiders as u64;
        let outsiders = self.outsiders.unwrap_or_else(|| drawn.min(hostile));
        faults = faults.with_hostile(hostile as usize).with_outsiders(outsiders as usize);
        if !self.lies.is_empty() {
            faults = faults.with_lies(self.lies.iter().filter_map(|name| Lie::named(name)));
        }
        if let Some(rate) = self.lie_rate {
            faults = faults.with_lie_rate(rate);
        }
        faults
    }

    /// The flags that were given, and how.
    pub(crate) fn given(&self) -> Vec<(&'static str, String)> {
        let shown = [
            ("hostile", self.hostile.map(|nodes| nodes.to_string())),
            ("outsiders", self.outsiders.map(|nodes| nodes.to_string())),
            ("lies", (!self.lies.is_empty()).then(|| self.lies.join(","))),
            ("lie-rate", self.lie_rate.map(|p| p.to_string())),
        ];
        shown.into_iter().filter_map(|(flag, value)| Some((flag, value?))).collect()
    }
}

/// What hostile replicas did and what came of it, line by line; nothing where there were none.
pub(crate) fn rows(metrics: &HostileMetrics) -> Vec<(String, String)> {
    if metrics.total_lies() == 0 {
        return Vec::new();
    }
    let told = metrics.lies.iter().map(|(lie, count)| (format!("… {lie}"), grouped(*count)));
    let came = [
        ("lies of hostile replicas", metrics.total_lies()),
        ("frames of hostile replicas that were refused", metrics.frames_refused),
        ("deltas that were refused for their author or signature", metrics.deltas_refused),
        ("sessions of honest with hostile replicas", metrics.sessions_started),
        ("… that failed, after which the hostile one is left alone", metrics.sessions_failed),
    ];
    let mut rows: Vec<_> = came.into_iter().map(|(name, count)| (name.to_owned(), grouped(count))).collect();
    rows.splice(1..1, told);
    rows
}
