//! The flags for hostile replicas.

use crate::flags::values;
use clap::Args;
use clap::builder::PossibleValuesParser;
use sync_sim::hostile::Lie;
use sync_sim::network::MOST_HOSTILE;
use sync_sim::prelude::FaultConfig;

/// Replicas that violate the protocol on purpose. A run ends when the honest replicas have converged with
/// each other; it does not wait for hostile ones, which go on after chaos has ended.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Hostile replicas")]
pub(super) struct HostileArgs {
    /// How many of the initial replicas are hostile, counted from the last. At least one must be honest, and
    /// the honest ones must be connected without the hostile ones.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_HOSTILE))]
    hostile: Option<u64>,

    /// How many of the hostile replicas are not members, counted from the last.
    #[arg(long, value_name = "N", requires = "hostile", value_parser = clap::value_parser!(u64).range(0..=MOST_HOSTILE))]
    outsiders: Option<u64>,

    /// The attacks that hostile replicas use, separated by commas; all of them by default. Some attacks by
    /// members look like valid writes; the honest replicas are then checked to agree, but not on what.
    #[arg(long, value_name = "LIE,…", requires = "hostile", value_delimiter = ',',
          value_parser = PossibleValuesParser::new(Lie::ALL.map(Lie::name)))]
    lies: Vec<String>,

    /// The probability that a hostile replica alters a frame that it sends, from 0 to 1 (0.2 by default).
    #[arg(long, value_name = "P", requires = "hostile", value_parser = values::probability)]
    lie_rate: Option<f64>,
}

impl HostileArgs {
    /// The faults with the changes that the flags ask for.
    pub(super) fn add_to(&self, mut faults: FaultConfig) -> FaultConfig {
        let Some(hostile) = self.hostile else { return faults };
        // A drawn case may have more outsiders than the flags leave hostile replicas.
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
}
