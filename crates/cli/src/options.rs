//! The flags that describe a simulation.

use crate::host_flags::HostArgs;
use crate::spec::Spec;
use crate::values::{self, Latency, Spell};
use clap::{Args, ValueEnum};
use sync_sim::prelude::{FaultConfig, Selection, SimDuration, SyncProtocolKind, Topology};
use sync_sim::scenarios::{NAMED, NamedScenario};

/// A preset of faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Preset {
    /// A perfect network: no delay, no faults.
    None,
    /// 10 ± 5 ms, 1 % loss, 20 ms reordering, 1 % duplication.
    Light,
    /// 50 ± 25 ms, 10 % loss, 100 ms reordering, 5 % duplication, partitions and crashes.
    Heavy,
    /// 10 ± 5 ms and a partition of 200 to 1000 ms every tenth of a second.
    Partitions,
}

impl Preset {
    pub(crate) fn faults(self) -> FaultConfig {
        match self {
            Self::None => FaultConfig::none(),
            Self::Light => FaultConfig::light_chaos(),
            Self::Heavy => FaultConfig::heavy_chaos(),
            Self::Partitions => FaultConfig::partition_heavy(),
        }
    }
}

/// Entities of all nodes together that one machine can be expected to hold.
const MAX_ENTITIES: u64 = 20_000_000;

fn scenario(text: &str) -> Result<NamedScenario, String> {
    NAMED.iter().find(|scenario| scenario.name == text).copied().ok_or_else(|| {
        let names: Vec<&str> = NAMED.iter().map(|scenario| scenario.name).collect();
        format!("there is no such scenario; there are {}", names.join(", "))
    })
}

/// A protocol that can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Protocol {
    /// The deltas that each side lacks; a walk if they do not suffice.
    DeltaSync,
    /// A walk down the differing parts of the Merkle index.
    HashComparison,
    /// The whole state; only a replica without any takes one.
    Snapshot,
    /// Filters over all records, both ways.
    BloomFilter,
    /// Whole differing subtrees.
    SubtreePrefetch,
    /// Breadth first, level by level.
    LevelWise,
    /// Coded symbols, from which the difference is read.
    RatelessIblt,
    /// Each of these in turn: a sweep for every one of them.
    Each,
}

impl Protocol {
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

    /// Those that can be run end to end.
    pub(crate) fn executable() -> impl Iterator<Item = Self> {
        let runs = |kind: SyncProtocolKind| SyncProtocolKind::EXECUTABLE.contains(&kind);
        Self::value_variants().iter().copied().filter(move |protocol| protocol.kind().is_some_and(runs))
    }

    /// The name under which it is asked for.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// The shape of the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Shape {
    /// Every replica reaches every other.
    Mesh,
    /// Each reaches the one before and the one after, the last the first.
    Ring,
    /// All reach the first, and nobody else.
    Star,
    /// Each reaches the one before and the one after.
    Line,
}

impl Shape {
    const fn topology(self) -> Topology {
        match self {
            Self::Mesh => Topology::Mesh,
            Self::Ring => Topology::Ring,
            Self::Star => Topology::Star,
            Self::Line => Topology::Line,
        }
    }
}

/// How a protocol is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum SelectionArg {
    /// By what each would cost for the difference that sketches in the handshake show.
    Adaptive,
    /// By the decision table of the CIP, from record counts and depth.
    Table,
}

impl SelectionArg {
    const fn selection(self) -> Selection {
        match self {
            Self::Adaptive => Selection::Adaptive,
            Self::Table => Selection::Table,
        }
    }
}

/// The flags of a simulation, shared by all commands that run one.
#[derive(Args, Clone, Debug)]
pub(crate) struct SimArgs {
    /// How many replicas take part.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) nodes: u32,

    /// How many entities each replica begins with (what that means exactly depends on the scenario).
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub(crate) entities: u32,

    /// How many writes applications issue during the first seconds of the run.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) writes: u32,

    /// Over what time the writes are spread.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = values::span)]
    pub(crate) write_for: SimDuration,

    /// Where the run begins; see `syncline scenarios`.
    #[arg(long, value_name = "NAME", default_value = "diverged", value_parser = scenario)]
    pub(crate) scenario: NamedScenario,

    /// Which replicas reach each other; what the others write comes by way of those.
    #[arg(long, value_name = "SHAPE", value_enum, default_value_t = Shape::Mesh)]
    pub(crate) topology: Shape,

    /// How sessions choose their protocol where none is asked for.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = SelectionArg::Adaptive)]
    pub(crate) selection: SelectionArg,

    /// The protocol that sessions run wherever it can be run; without it they negotiate one.
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) protocol: Option<Protocol>,

    /// The preset of faults; the flags below change it.
    #[arg(long, value_name = "PRESET", value_enum, default_value_t = Preset::Light)]
    pub(crate) faults: Preset,

    /// How often a frame is lost, from 0 to 1.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    pub(crate) loss: Option<f64>,

    /// How long a frame takes, and how far that strays, in milliseconds.
    #[arg(long, value_name = "MS[,MS]", value_parser = values::latency)]
    pub(crate) latency: Option<Latency>,

    /// How often a frame arrives twice, from 0 to 1.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    pub(crate) duplicate: Option<f64>,

    /// How often a bit of a frame is flipped on its way, from 0 to 1.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    pub(crate) corruption: Option<f64>,

    /// Up to how much longer a frame may take, so that later ones overtake it, in milliseconds.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=86_400_000))]
    pub(crate) reorder: Option<u64>,

    /// How often, per tick of 10 ms, the network splits in two, and for how many milliseconds.
    #[arg(long, value_name = "P[,MIN..MAX]", value_parser = values::spell)]
    pub(crate) partition: Option<Spell>,

    /// How often, per tick of 10 ms, each replica crashes, and for how many milliseconds.
    #[arg(long, value_name = "P[,MIN..MAX]", value_parser = values::spell)]
    pub(crate) crash: Option<Spell>,

    /// How often, per tick of 10 ms, each replica leaves, and for how many milliseconds (200..2000 if not
    /// said): its memory stays and its application writes on, but it reaches nobody.
    #[arg(long, value_name = "P[,MIN..MAX]", value_parser = values::spell)]
    pub(crate) churn: Option<Spell>,

    /// How many more replicas, with nothing in them, join while the run is under way.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub(crate) late_joiners: u64,

    /// How much slower frames to a slow node are; above 1, each node is slow with a chance of 1 in 4.
    #[arg(long, value_name = "FACTOR")]
    pub(crate) slow: Option<f64>,

    /// How often a write falls into a sync that has just begun, from 0 to 1.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    pub(crate) write_during_sync: Option<f64>,

    /// After how many events the run stops, converged or not.
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_events: u64,

    /// When the run stops, converged or not, in virtual time.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::span)]
    pub(crate) max_time: SimDuration,

    #[command(flatten)]
    pub(crate) hosts: HostArgs,
}

impl SimArgs {
    /// What the flags describe, or what is wrong with them together.
    pub(crate) fn spec(&self) -> Result<Spec, String> {
        if self.write_for >= self.max_time {
            return Err(format!(
                "writes for {} do not fit a run that stops at {}; see --write-for and --max-time",
                self.write_for, self.max_time
            ));
        }
        let all = u64::from(self.nodes) * u64::from(self.entities);
        if all > MAX_ENTITIES {
            return Err(format!(
                "{} nodes with {} entities each are {all}; the limit is {MAX_ENTITIES}",
                self.nodes, self.entities
            ));
        }
        if self.protocol == Some(Protocol::Each) {
            return Err("a run has one protocol; --protocol each is for sweep".into());
        }
        let mut faults = self.faults.faults();
        if let Some(loss) = self.loss {
            faults = faults.with_loss(loss);
        }
        if let Some(Latency { base_ms, jitter_ms }) = self.latency {
            faults = faults.with_latency(base_ms, jitter_ms);
        }
        if let Some(duplicate) = self.duplicate {
            faults = faults.with_duplicates(duplicate);
        }
        if let Some(corruption) = self.corruption {
            faults = faults.with_corruption(corruption);
        }
        if let Some(reorder) = self.reorder {
            faults = faults.with_reorder_window(reorder);
        }
        if let Some(Spell { probability, lasting_ms }) = self.partition.clone() {
            let lasting = lasting_ms.unwrap_or_else(|| or_default(&faults.partition_duration_ms, 100..500));
            faults = faults.with_partitions(probability, lasting);
        }
        if let Some(Spell { probability, lasting_ms }) = self.crash.clone() {
            let lasting = lasting_ms.unwrap_or_else(|| or_default(&faults.restart_delay_ms, 100..1_000));
            faults = faults.with_crashes(probability, lasting);
        }
        if let Some(Spell { probability, lasting_ms }) = self.churn.clone() {
            faults = faults.with_churn(probability, lasting_ms.unwrap_or(200..2_000));
        }
        if self.late_joiners > 0 {
            faults = faults.with_late_joiners(self.late_joiners, 0..self.write_for.as_millis().max(1));
        }
        if let Some(factor) = self.slow {
            faults = faults.with_slow_nodes(factor);
        }
        if let Some(rate) = self.write_during_sync {
            faults = faults.with_writes_during_sync(rate);
        }
        faults = self.hosts.add_to(faults);
        faults.validate().map_err(|error| error.to_string())?;
        Ok(Spec {
            nodes: self.nodes as usize,
            entities: self.entities as usize,
            writes: self.writes as usize,
            write_for: self.write_for,
            scenario: self.scenario,
            topology: self.topology.topology(),
            selection: self.selection.selection(),
            protocol: self.protocol.and_then(Protocol::kind),
            faults,
            max_time: self.max_time,
            max_events: self.max_events,
            flags: self.flags(),
        })
    }

    /// The flags that are not at their default, as they were given.
    fn flags(&self) -> String {
        let mut flags = String::new();
        let mut add = |flag: &str, value: Option<String>| {
            if let Some(value) = value {
                flags.push_str(&format!(" --{flag} {value}"));
            }
        };
        let spell = |spell: &Option<Spell>| {
            spell.as_ref().map(|Spell { probability, lasting_ms }| match lasting_ms {
                Some(range) => format!("{probability},{}..{}", range.start, range.end),
                None => probability.to_string(),
            })
        };
        let time = |time: SimDuration| format!("{}ms", time.as_millis());
        add("nodes", (self.nodes != 3).then(|| self.nodes.to_string()));
        add("entities", (self.entities != 10).then(|| self.entities.to_string()));
        add("writes", (self.writes != 30).then(|| self.writes.to_string()));
        add("write-for", (self.write_for != SimDuration::from_secs(3)).then(|| time(self.write_for)));
        add("scenario", (self.scenario.name != "diverged").then(|| self.scenario.name.to_owned()));
        let name = |value: clap::builder::PossibleValue| value.get_name().to_owned();
        let shape = self.topology.to_possible_value();
        add("topology", shape.map(name).filter(|_| self.topology != Shape::Mesh));
        add("selection", (self.selection == SelectionArg::Table).then(|| "table".to_owned()));
        add("protocol", self.protocol.map(Protocol::name));
        add("faults", self.faults.to_possible_value().map(name).filter(|_| self.faults != Preset::Light));
        add("loss", self.loss.map(|p| p.to_string()));
        add("latency", self.latency.map(|latency| format!("{},{}", latency.base_ms, latency.jitter_ms)));
        add("duplicate", self.duplicate.map(|p| p.to_string()));
        add("corruption", self.corruption.map(|p| p.to_string()));
        add("reorder", self.reorder.map(|ms| ms.to_string()));
        add("partition", spell(&self.partition));
        add("crash", spell(&self.crash));
        add("churn", spell(&self.churn));
        add("late-joiners", (self.late_joiners > 0).then(|| self.late_joiners.to_string()));
        add("slow", self.slow.map(|factor| factor.to_string()));
        add("write-during-sync", self.write_during_sync.map(|p| p.to_string()));
        add("max-events", (self.max_events != 10_000_000).then(|| self.max_events.to_string()));
        add("max-time", (self.max_time != SimDuration::from_secs(60)).then(|| time(self.max_time)));
        flags + &self.hosts.flags()
    }
}

fn or_default(range: &std::ops::Range<u64>, default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    if range.is_empty() { default } else { range.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_that_can_be_run_can_be_asked_for() {
        let asked: Vec<SyncProtocolKind> = Protocol::executable().filter_map(Protocol::kind).collect();
        let nothing_to_do = SyncProtocolKind::None;
        for kind in SyncProtocolKind::EXECUTABLE.into_iter().filter(|kind| *kind != nothing_to_do) {
            assert!(asked.contains(&kind), "{kind} has no name on the command line");
        }
    }
}
