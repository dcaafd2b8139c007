//! The flags of `syncline explore`: the scope of the search and its limits.

use crate::flags::ProtocolArg;
use crate::flags::values::{self, TimeSpan};
use clap::{Args, ValueEnum};
use sync_sim::explore::{Scope, WriteKind};
use sync_sim::prelude::{Scenario, SimDuration};

/// The kind of entity that all writes change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum WriteKindArg {
    /// One register, set to another value each time.
    Register,
    /// One counter, incremented.
    Counter,
    /// One register, set and deleted in turn.
    Delete,
    /// One element of a set, added and removed in turn.
    Set,
    /// An entry of a map, set, while the map itself is deleted in turn.
    Map,
    /// One text, inserted at its beginning.
    Text,
}

impl WriteKindArg {
    /// The kind in the library.
    pub(crate) const fn kind(self) -> WriteKind {
        match self {
            Self::Register => WriteKind::Register,
            Self::Counter => WriteKind::Counter,
            Self::Delete => WriteKind::Delete,
            Self::Set => WriteKind::Set,
            Self::Map => WriteKind::Map,
            Self::Text => WriteKind::Text,
        }
    }
}

/// The state in which the search begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum InitialStateArg {
    /// All replicas have the same entities.
    Synced,
    /// Each replica has entities that no other has.
    Diverged,
    /// The last replica is empty and must take a snapshot; the others agree.
    Fresh,
}

/// The flags of `explore`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ExploreArgs {
    /// How many replicas take part, with one context each.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) nodes: u8,

    /// How many writes applications make, one replica after another, at any time.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=64))]
    pub(crate) writes: u8,

    /// What the writes change; all of them target the same entity.
    #[arg(long, value_name = "KIND", value_enum, default_value_t = WriteKindArg::Register)]
    pub(crate) kind: WriteKindArg,

    /// The state in which the search begins.
    #[arg(long, value_name = "STATE", value_enum, default_value_t = InitialStateArg::Synced)]
    begin: InitialStateArg,

    /// How many entities each replica starts with.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    entities: u32,

    /// The protocol that sessions run wherever it is applicable; without it they negotiate one.
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) protocol: Option<ProtocolArg>,

    /// How many frames may be lost.
    #[arg(long, value_name = "N", default_value_t = Scope::default().drops)]
    pub(crate) drops: u8,

    /// How many frames may be duplicated.
    #[arg(long, value_name = "N", default_value_t = Scope::default().duplicates)]
    pub(crate) duplicates: u8,

    /// How many times a replica may crash, between any two effects of a step.
    #[arg(long, value_name = "N", default_value_t = Scope::default().crashes)]
    pub(crate) crashes: u8,

    /// How many times a link may be cut, in both directions and for any length of time.
    #[arg(long, value_name = "N", default_value_t = Scope::default().partitions)]
    pub(crate) partitions: u8,

    /// How many times the disk of a replica may be replaced: by a backup, a copy of another disk, or an empty one.
    #[arg(long, value_name = "N", default_value_t = Scope::default().disks)]
    pub(crate) disks: u8,

    /// How many times a timer may expire although frames are in flight.
    #[arg(long, value_name = "N", default_value_t = Scope::default().early)]
    pub(crate) early: u8,

    /// The largest number of heartbeats that each replica sends.
    #[arg(long, value_name = "N", default_value_t = Scope::default().ticks)]
    pub(crate) ticks: u8,

    /// Deliver the frames of each link in order.
    #[arg(long)]
    pub(crate) fifo: bool,

    /// The largest number of moves on a path; deeper states are not explored.
    #[arg(long, value_name = "N", default_value_t = Scope::default().depth)]
    depth: u32,

    /// Stop after this many states.
    #[arg(long, value_name = "N", default_value_t = 100_000_000, value_parser = clap::value_parser!(u32).range(1..=4_000_000_000))]
    states: u32,

    /// Stop when the process uses this much memory, in megabytes (where the system reports it).
    #[arg(long, value_name = "MB", default_value_t = 4_000)]
    pub(crate) memory: u64,

    /// Stop after this much real time. A bare number is in milliseconds.
    #[arg(long, value_name = "TIME", default_value_t = TimeSpan(SimDuration::from_secs(600)))]
    #[arg(value_parser = values::time_span)]
    pub(crate) time: TimeSpan,

    /// If nothing is found, print the path to the deepest state, which may show why there are so many states.
    #[arg(long)]
    pub(crate) deepest: bool,

    /// Print the report as JSON, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

impl ExploreArgs {
    /// The initial states of the replicas.
    pub(crate) fn scenario(&self) -> Scenario {
        let nodes = usize::from(self.nodes);
        let entities = self.entities as usize;
        match self.begin {
            InitialStateArg::Synced => Scenario::n_nodes_synced(nodes, entities),
            InitialStateArg::Diverged => Scenario::n_nodes_diverged(nodes, entities),
            InitialStateArg::Fresh => Scenario::fresh_joiner(nodes, entities),
        }
    }

    /// What the search may do, and how far it goes.
    pub(crate) fn scope(&self) -> Scope {
        Scope {
            drops: self.drops,
            duplicates: self.duplicates,
            crashes: self.crashes,
            partitions: self.partitions,
            disks: self.disks,
            early: self.early,
            ticks: self.ticks,
            fifo: self.fifo,
            depth: self.depth,
            states: self.states,
            ..Scope::default()
        }
    }
}
