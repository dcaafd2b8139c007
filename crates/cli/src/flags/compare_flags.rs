//! The flags of `syncline compare`.

use crate::flags::values::{self, Bandwidth, RisingNumbers, TimeSpan};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use sync_sim::compare_protocols::{Comparison, Link, Shape, Spread};
use sync_sim::prelude::SimDuration;

/// The flags of `compare`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompareArgs {
    /// Entities that both sides have.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
    pub(crate) entities: u64,

    /// Entities that only one side has, half of them on each side.
    #[arg(long, short = 'd', value_name = "D", default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=2_000_000))]
    pub(crate) difference: u64,

    /// The shape of the tree that the entities form.
    #[arg(long, value_name = "SHAPE", value_enum, default_value_t = StateShapeArg::Flat)]
    pub(crate) shape: StateShapeArg,

    /// Where in the tree the differing entities are.
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = SpreadArg::Random)]
    spread: SpreadArg,

    /// The size of each value in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    value_bytes: u64,

    /// Retain no deltas of the differing entities, as after the log was pruned.
    #[arg(long)]
    pub(crate) no_history: bool,

    /// The round-trip time of the link, without the transmission time of the bytes. A bare number is in milliseconds.
    #[arg(long, value_name = "TIME", default_value_t = default_round_trip())]
    #[arg(value_parser = values::time_span)]
    pub(crate) rtt: TimeSpan,

    /// The bandwidth of the link, in bits per second.
    #[arg(long, value_name = "BITS", default_value_t = default_bandwidth(), value_parser = values::bandwidth)]
    pub(crate) bandwidth: Bandwidth,

    /// Also print the costs that the adaptive selection estimated for each protocol.
    #[arg(long)]
    pub(crate) explain: bool,

    /// Also write charts to this folder: time and bytes of each protocol over the difference, and over
    /// the number of entities.
    #[arg(long, value_name = "DIR")]
    pub(crate) plot: Option<PathBuf>,

    /// The differences in the charts.
    #[arg(long, value_name = "D,D,…", default_value = "1,10,100,1000", value_parser = values::rising_numbers, requires = "plot")]
    pub(crate) plot_differences: RisingNumbers,

    /// The numbers of entities in the charts.
    #[arg(long, value_name = "N,N,…", default_value = "100,1000,10000,100000", value_parser = values::rising_numbers, requires = "plot")]
    pub(crate) plot_entities: RisingNumbers,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The shape of the tree of entities.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum StateShapeArg {
    /// All entities directly under the root.
    Flat,
    /// Up to a thousand collections of at least ten entities each.
    Wide,
    /// Eight branches, each five levels deep.
    Deep,
    /// Chains of a thousand entities, each the child of the one before.
    Chain,
}

/// Where the differing entities are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum SpreadArg {
    /// Anywhere among the shared entities.
    Random,
    /// All in one collection that contains nothing else.
    Clustered,
}

fn default_round_trip() -> TimeSpan {
    TimeSpan(SimDuration::from_micros(Link::default().round_trip_us))
}

fn default_bandwidth() -> Bandwidth {
    Bandwidth { bytes_per_second: Link::default().bytes_per_second }
}

impl CompareArgs {
    /// The two states and the link for these numbers of entities.
    pub(crate) const fn case(&self, entities: u64, difference: u64) -> Comparison {
        Comparison {
            entities,
            difference,
            shape: match self.shape {
                StateShapeArg::Flat => Shape::Flat,
                StateShapeArg::Wide => Shape::Wide,
                StateShapeArg::Deep => Shape::Deep,
                StateShapeArg::Chain => Shape::Chain,
            },
            spread: match self.spread {
                SpreadArg::Random => Spread::Random,
                SpreadArg::Clustered => Spread::Clustered,
            },
            value_bytes: self.value_bytes as usize,
            history: !self.no_history,
            link: Link {
                round_trip_us: self.rtt.0.as_micros(),
                bytes_per_second: self.bandwidth.bytes_per_second,
            },
        }
    }
}
