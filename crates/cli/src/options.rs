//! The flags that describe a simulation.

use crate::cases;
use crate::host_flags::HostArgs;
use crate::hostile_flags::HostileArgs;
use crate::options_links::LinkArgs;
use crate::spec::Spec;
use crate::values::{self, Latency, Spell};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, ValueEnum};
use std::collections::BTreeSet;
use std::path::PathBuf;
use sync_sim::case::{Case, ScenarioSpec};
use sync_sim::prelude::{FaultConfig, Selection, SimDuration, SimTime, SyncProtocolKind, Topology, Workload};
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

pub(crate) fn workload(text: &str) -> Result<String, String> {
    Workload::preset(text).map(|_| text.to_owned()).ok_or_else(|| {
        let names: Vec<&str> = Workload::PRESETS.iter().map(|(name, _)| *name).collect();
        format!("there is no such workload; there are {}", names.join(", "))
    })
}

pub(crate) fn scenario(text: &str) -> Result<NamedScenario, String> {
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
    /// Take everything from this case file but what flags say; see `syncline scenarios --show`.
    #[arg(long, value_name = "FILE")]
    pub(crate) case: Option<PathBuf>,

    /// Draw everything from the seed: the nodes and their states, the faults, the writes, the network. What
    /// flags say is as they say in each run.
    #[arg(long, conflicts_with = "case")]
    pub(crate) swarm: bool,

    /// The flags that were given, as opposed to those that have their default.
    #[arg(skip)]
    pub(crate) given: BTreeSet<String>,

    /// How many replicas take part.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) nodes: u32,

    /// How many contexts each of them keeps: states that have nothing to do with each other, on one host that
    /// goes down as a whole. Writes go to any of them; a run converges when all agree in every context.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub(crate) contexts: u32,

    /// How many entities each replica begins with (what that means exactly depends on the scenario); in each
    /// context, if there are several.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub(crate) entities: u32,

    /// How many writes applications issue during the first seconds of the run.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) writes: u32,

    /// Over what time the writes are spread.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = values::span)]
    pub(crate) write_for: SimDuration,

    /// What applications write: balanced, text-heavy, counters, deletes or hot-key.
    #[arg(long, value_name = "PRESET", default_value = "balanced", value_parser = workload)]
    pub(crate) workload: String,

    /// How much the first keys are preferred, from 0 (not at all); the preset says if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=32))]
    pub(crate) skew: Option<u32>,

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

    #[command(flatten)]
    pub(crate) links: LinkArgs,

    /// After how many events the run stops, converged or not.
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_events: u64,

    /// When the run stops, converged or not, in virtual time.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::span)]
    pub(crate) max_time: SimDuration,

    #[command(flatten)]
    pub(crate) hosts: HostArgs,

    #[command(flatten)]
    pub(crate) hostile: HostileArgs,
}

impl SimArgs {
    /// Notes which flags were given.
    pub(crate) fn note(&mut self, matches: &ArgMatches) {
        let given = matches.ids().map(|id| id.as_str());
        let given = given.filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine));
        self.given = given.map(|id| id.replace('_', "-")).collect();
    }

    /// Whether a flag has a say: it was given, or there is no case that it would change.
    pub(crate) fn says(&self, flag: &str) -> bool {
        (self.case.is_none() && !self.swarm) || self.given.contains(flag)
    }

    /// What the flags describe, or what is wrong with them together.
    pub(crate) fn spec(&self) -> Result<Spec, String> {
        if self.case.is_none() && !self.swarm && self.write_for >= self.max_time {
            return Err(format!(
                "writes for {} do not fit a run that stops at {}; see --write-for and --max-time",
                self.write_for, self.max_time
            ));
        }
        if self.protocol == Some(Protocol::Each) {
            return Err("a run has one protocol; --protocol each is for sweep".into());
        }
        if self.swarm {
            return self.swarm_spec();
        }
        let mut case = match &self.case {
            Some(path) => cases::load(path)?,
            None => Case::default(),
        };
        self.begin(&mut case)?;
        case.faults = self.faults(case.faults)?;
        case.check().map_err(|error| error.to_string())?;
        Ok(Spec { case, flags: self.flags(), swarm: None })
    }

    /// Changes in a case what flags say of everything but the faults.
    pub(crate) fn begin(&self, case: &mut Case) -> Result<(), String> {
        let explicit = !case.nodes.is_empty();
        for flag in ["nodes", "entities", "scenario"].into_iter().filter(|flag| self.says(flag)) {
            if explicit {
                return Err(format!("--{flag} says nothing where the case tells its nodes one by one"));
            }
            let beginning = case.scenario.get_or_insert_with(ScenarioSpec::default);
            match flag {
                "nodes" => beginning.nodes = self.nodes as usize,
                "entities" => beginning.entities = self.entities as usize,
                _ => beginning.name = self.scenario.name.to_owned(),
            }
        }
        if self.says("workload") {
            let preset = Workload::preset(&self.workload).unwrap_or(Workload::new);
            case.workload = preset(case.workload.writes, case.workload.over);
        }
        if let Some(skew) = self.skew {
            case.workload.skew = skew;
        }
        if self.says("writes") {
            case.workload.writes = self.writes as usize;
        }
        if self.says("write-for") {
            case.workload.over = self.write_for;
        }
        if self.says("contexts") {
            if explicit && (self.contexts as usize) < case.contexts {
                return Err(format!(
                    "--contexts {}: the case tells its nodes one by one, in {} contexts",
                    self.contexts, case.contexts
                ));
            }
            case.contexts = self.contexts as usize;
        }
        if self.says("topology") {
            case.topology = self.topology.topology();
        }
        if self.says("selection") {
            case.selection = self.selection.selection();
        }
        if self.says("protocol") {
            case.protocol = self.protocol.and_then(Protocol::kind);
        }
        if self.says("max-time") {
            case.max_time = SimTime::ZERO + self.max_time;
        }
        if self.says("max-events") {
            case.max_events = self.max_events;
        }
        Ok(())
    }

    /// The faults, changed as flags say.
    pub(crate) fn faults(&self, mut faults: FaultConfig) -> Result<FaultConfig, String> {
        if self.says("faults") {
            faults = self.faults.faults();
        }
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
        faults = self.links.apply(faults)?;
        faults = self.hostile.add_to(self.hosts.add_to(faults));
        faults.validate().map_err(|error| error.to_string())?;
        Ok(faults)
    }

    /// The flags that are not at their default, as they were given.
    pub(crate) fn flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        let says = |flag: &str, differs: bool| {
            if self.case.is_some() || self.swarm { self.says(flag) } else { differs }
        };
        let spell = |spell: &Option<Spell>| {
            spell.as_ref().map(|Spell { probability, lasting_ms }| match lasting_ms {
                Some(range) => format!("{probability},{}..{}", range.start, range.end),
                None => probability.to_string(),
            })
        };
        let time = |time: SimDuration| format!("{}ms", time.as_millis());
        if self.swarm {
            flags.push("--swarm".to_owned());
        }
        let mut add = |flag: &str, value: Option<String>| {
            if let Some(value) = value {
                flags.extend([format!("--{flag}"), value]);
            }
        };
        add("case", self.case.as_ref().map(|path| path.display().to_string()));
        add("nodes", says("nodes", self.nodes != 3).then(|| self.nodes.to_string()));
        add("contexts", says("contexts", self.contexts != 1).then(|| self.contexts.to_string()));
        add("entities", says("entities", self.entities != 10).then(|| self.entities.to_string()));
        add("writes", says("writes", self.writes != 30).then(|| self.writes.to_string()));
        let differs = self.write_for != SimDuration::from_secs(3);
        add("write-for", says("write-for", differs).then(|| time(self.write_for)));
        add("workload", says("workload", self.workload != "balanced").then(|| self.workload.clone()));
        add("skew", self.skew.map(|skew| skew.to_string()));
        let differs = self.scenario.name != "diverged";
        add("scenario", says("scenario", differs).then(|| self.scenario.name.to_owned()));
        let name = |value: clap::builder::PossibleValue| value.get_name().to_owned();
        let shape = self.topology.to_possible_value();
        add("topology", shape.map(name).filter(|_| says("topology", self.topology != Shape::Mesh)));
        let how = self.selection.to_possible_value();
        let differs = self.selection == SelectionArg::Table;
        add("selection", how.map(name).filter(|_| says("selection", differs)));
        add("protocol", self.protocol.map(Protocol::name));
        let preset = self.faults.to_possible_value();
        add("faults", preset.map(name).filter(|_| says("faults", self.faults != Preset::Light)));
        add("loss", self.loss.map(|p| p.to_string()));
        add("latency", self.latency.map(|latency| format!("{},{}", latency.base_ms, latency.jitter_ms)));
        add("duplicate", self.duplicate.map(|p| p.to_string()));
        add("corruption", self.corruption.map(|p| p.to_string()));
        add("reorder", self.reorder.map(|ms| ms.to_string()));
        add("partition", spell(&self.partition));
        add("crash", spell(&self.crash));
        add("churn", spell(&self.churn));
        add(
            "late-joiners",
            says("late-joiners", self.late_joiners > 0).then(|| self.late_joiners.to_string()),
        );
        add("slow", self.slow.map(|factor| factor.to_string()));
        add("write-during-sync", self.write_during_sync.map(|p| p.to_string()));
        add("links", self.pins_datagrams().then(|| "datagram".to_owned()));
        for (flag, value) in self.links.given() {
            add(flag, Some(value));
        }
        for (flag, value) in self.hosts.given().into_iter().chain(self.hostile.given()) {
            add(flag, Some(value));
        }
        add(
            "max-events",
            says("max-events", self.max_events != 10_000_000).then(|| self.max_events.to_string()),
        );
        let differs = self.max_time != SimDuration::from_secs(60);
        add("max-time", says("max-time", differs).then(|| time(self.max_time)));
        flags.extend(self.hosts.lies_unnoticed().then(|| "--lies-unnoticed".to_owned()));
        flags
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
