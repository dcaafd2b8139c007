//! Flags whose value is one of a few names, and what each name stands for in the library.

use clap::ValueEnum;
use sync_sim::prelude::{FaultConfig, Selection, SyncProtocolKind, Topology, Workload};
use sync_sim::scenarios::{NAMED, NamedScenario};
use sync_sim::swarm::Profile;

/// How large the drawn worlds are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum ProfileArg {
    /// Worlds that run within milliseconds; one of eight makes something large.
    #[default]
    Small,
    /// Worlds of 10,000 to 100,000 entities or edits, or with values at their limits; each runs for seconds.
    Large,
}

impl ProfileArg {
    /// The profile that the flag stands for.
    pub(crate) const fn profile(self) -> Profile {
        match self {
            Self::Small => Profile::Small,
            Self::Large => Profile::Large,
        }
    }
}

/// A preset of faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum FaultPreset {
    /// A perfect network: no delay, no faults.
    None,
    /// 10 ± 5 ms, 1 % loss, 20 ms reordering, 1 % duplication.
    Light,
    /// 50 ± 25 ms, 10 % loss, 100 ms reordering, 5 % duplication, partitions and crashes.
    Heavy,
    /// 10 ± 5 ms and a partition of 200 to 1000 ms every tenth of a second.
    Partitions,
}

impl FaultPreset {
    /// The faults that the preset stands for.
    pub(crate) fn faults(self) -> FaultConfig {
        match self {
            Self::None => FaultConfig::none(),
            Self::Light => FaultConfig::light_chaos(),
            Self::Heavy => FaultConfig::heavy_chaos(),
            Self::Partitions => FaultConfig::partition_heavy(),
        }
    }
}

/// The preset that [`Workload::default`] uses: [`Workload::new`], the first in the library's list.
pub(super) const DEFAULT_WORKLOAD: &str = Workload::PRESETS[0].0;

/// Parses the name of a workload preset.
pub(super) fn workload(text: &str) -> Result<String, String> {
    Workload::preset(text).map(|_| text.to_owned()).ok_or_else(|| {
        let names: Vec<&str> = Workload::PRESETS.iter().map(|(name, _)| *name).collect();
        format!("there is no such workload; the workloads are {}", names.join(", "))
    })
}

/// Parses the name of a scenario.
pub(super) fn scenario(text: &str) -> Result<NamedScenario, String> {
    NAMED.iter().find(|scenario| scenario.name == text).copied().ok_or_else(|| {
        let names: Vec<&str> = NAMED.iter().map(|scenario| scenario.name).collect();
        format!("there is no such scenario; the scenarios are {}", names.join(", "))
    })
}

/// A protocol that `--protocol` can ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ProtocolArg {
    /// Exchanges the deltas that each side lacks; falls back to a walk of the index if they do not suffice.
    DeltaSync,
    /// Walks down the differing subtrees of the Merkle index.
    HashComparison,
    /// Transfers the whole state; only an empty replica accepts a snapshot.
    Snapshot,
    /// Exchanges Bloom filters over all records, in both directions.
    BloomFilter,
    /// Requests whole subtrees that differ.
    SubtreePrefetch,
    /// Compares the Merkle index breadth first, level by level.
    LevelWise,
    /// Streams coded symbols (a rateless IBLT), from which the difference is decoded.
    RatelessIblt,
    /// Every protocol in turn: one sweep for each.
    Each,
}

impl ProtocolArg {
    /// The protocol in the library; `None` for `each`.
    pub(crate) const fn kind(self) -> Option<SyncProtocolKind> {
        Some(match self {
            Self::DeltaSync => SyncProtocolKind::DeltaSync,
            Self::HashComparison => SyncProtocolKind::HashComparison,
            Self::Snapshot => SyncProtocolKind::Snapshot,
            Self::BloomFilter => SyncProtocolKind::BloomFilter,
            Self::SubtreePrefetch => SyncProtocolKind::SubtreePrefetch,
            Self::LevelWise => SyncProtocolKind::LevelWise,
            Self::RatelessIblt => SyncProtocolKind::RatelessIblt,
            Self::Each => return None,
        })
    }

    /// The protocols that a session can run from beginning to end.
    pub(crate) fn executable() -> impl Iterator<Item = Self> {
        let runs = |kind: SyncProtocolKind| SyncProtocolKind::EXECUTABLE.contains(&kind);
        Self::value_variants().iter().copied().filter(move |protocol| protocol.kind().is_some_and(runs))
    }

    /// The protocol's name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// The shape of the network: which replicas have a link to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum TopologyArg {
    /// Every replica has a link to every other.
    Mesh,
    /// Each replica has links to its predecessor and its successor; the last is linked to the first.
    Ring,
    /// Every replica has a link to the first one, and to no other.
    Star,
    /// Each replica has links to its predecessor and its successor.
    Line,
}

impl TopologyArg {
    pub(super) const fn topology(self) -> Topology {
        match self {
            Self::Mesh => Topology::Mesh,
            Self::Ring => Topology::Ring,
            Self::Star => Topology::Star,
            Self::Line => Topology::Line,
        }
    }
}

impl Default for TopologyArg {
    fn default() -> Self {
        match Topology::default() {
            Topology::Mesh => Self::Mesh,
            Topology::Ring => Self::Ring,
            Topology::Star => Self::Star,
            Topology::Line => Self::Line,
        }
    }
}

/// How the initiator of a session selects the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum SelectionArg {
    /// By the estimated cost of each protocol for the difference that the handshake's sketches show.
    Adaptive,
    /// By the decision table of the proposal "Hybrid State Synchronization", from record counts and depth.
    Table,
}

impl SelectionArg {
    pub(super) const fn selection(self) -> Selection {
        match self {
            Self::Adaptive => Selection::Adaptive,
            Self::Table => Selection::Table,
        }
    }
}

impl Default for SelectionArg {
    fn default() -> Self {
        match Selection::default() {
            Selection::Adaptive => Self::Adaptive,
            Selection::Table => Self::Table,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_executable_protocol_has_a_name() {
        let asked: Vec<SyncProtocolKind> = ProtocolArg::executable().filter_map(ProtocolArg::kind).collect();
        let nothing_to_do = SyncProtocolKind::None;
        for kind in SyncProtocolKind::EXECUTABLE.into_iter().filter(|kind| *kind != nothing_to_do) {
            assert!(asked.contains(&kind), "{kind} has no name on the command line");
        }
    }

    #[test]
    fn default_workload_is_the_library_default() {
        let library = Workload::default();
        let preset = Workload::preset(DEFAULT_WORKLOAD).unwrap();
        assert_eq!(preset(library.writes, library.over), library);
    }
}
