//! The flags that describe a simulation, and what they change in a case.

use crate::case_files;
use crate::flags::GivenFlags;
use crate::flags::choices::{
    DEFAULT_WORKLOAD, FaultPreset, ProfileArg, ProtocolArg, SelectionArg, TopologyArg, scenario, workload,
};
use crate::flags::host_flags::HostArgs;
use crate::flags::hostile_flags::HostileArgs;
use crate::flags::link_flags::LinkArgs;
use crate::flags::values::{self, LatencyArg, Occurrence, TimeSpan};
use crate::simulation::Simulation;
use clap::Args;
use std::ops::Range;
use std::path::PathBuf;
use sync_sim::case::{Case, MOST_ENTITIES, MOST_NODES, ScenarioSpec};
use sync_sim::network::{MOST_CONTEXTS, MOST_JOINERS};
use sync_sim::prelude::{FaultConfig, SimTime, Workload};
use sync_sim::scenarios::{NAMED, NamedScenario};
use sync_sim::workload::{MOST_SKEW, MOST_WRITES};

/// How long a replica stays away if `--churn` gives no range, in milliseconds.
const DEFAULT_AWAY_MS: Range<u64> = 200..2_000;

/// The flags of a simulation, shared by all commands that run one.
#[derive(Args, Clone, Debug)]
pub(crate) struct SimArgs {
    /// Which of the flags below were typed. Must stay the first field; see [`GivenFlags`].
    #[command(flatten)]
    pub(crate) given: GivenFlags,

    /// Start from this case file; flags override what the file says. See `syncline scenarios --show`.
    #[arg(long, value_name = "FILE")]
    pub(crate) case: Option<PathBuf>,

    /// Draw the whole case from the seed: nodes, initial states, faults, writes and the network. Flags that
    /// are given fix their setting in every run.
    #[arg(long, conflicts_with = "case")]
    pub(crate) swarm: bool,

    /// How large the worlds are that are drawn from seeds; for `sweep`, or with --swarm.
    #[arg(long, value_name = "SIZE", value_enum, default_value_t, conflicts_with = "case")]
    pub(crate) profile: ProfileArg,

    /// How many replicas take part.
    #[arg(long, value_name = "N", default_value_t = ScenarioSpec::default().nodes as u32)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_NODES)))]
    nodes: u32,

    /// How many contexts each replica stores. Contexts are independent states on one host, which crashes as a
    /// whole. A write goes to any of them; a run converges when all replicas agree in every context.
    #[arg(long, value_name = "N", default_value_t = Case::default().contexts as u32)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=MOST_CONTEXTS as i64))]
    contexts: u32,

    /// How many entities each replica starts with, per context; the exact meaning depends on the scenario.
    #[arg(long, value_name = "N", default_value_t = ScenarioSpec::default().entities as u32)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_ENTITIES)))]
    entities: u32,

    /// How many writes applications issue; --write-for says over what time.
    #[arg(long, value_name = "N", default_value_t = Workload::default().writes as u32)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_WRITES)))]
    writes: u32,

    /// The virtual time over which the writes are spread, from the start of the run. A bare number is in milliseconds.
    #[arg(long, value_name = "TIME", default_value_t = TimeSpan(Workload::default().over))]
    #[arg(value_parser = values::time_span)]
    write_for: TimeSpan,

    /// What applications write: balanced, text-heavy, counters, deletes or hot-key; or something that grows: document,
    /// large-values, import, prefixes, list-in-turn, long-list or deep-tree.
    #[arg(long, value_name = "PRESET", default_value = DEFAULT_WORKLOAD, value_parser = workload)]
    workload: String,

    /// How strongly writes prefer the first keys; 0 means uniformly distributed. Without it, the workload
    /// preset decides.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(MOST_SKEW)))]
    skew: Option<u32>,

    /// The initial states of the replicas; see `syncline scenarios`.
    #[arg(long, value_name = "NAME", default_value = default_scenario(), value_parser = scenario)]
    scenario: NamedScenario,

    /// Which replicas have a link to each other. Replicas without a link learn of each other's writes through
    /// the replicas between them.
    #[arg(long, value_name = "SHAPE", value_enum, default_value_t)]
    topology: TopologyArg,

    /// How sessions select their protocol if --protocol does not fix it.
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    selection: SelectionArg,

    /// The protocol that sessions run wherever it is applicable; without it they negotiate one.
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) protocol: Option<ProtocolArg>,

    /// Settings of the replicas, by their names in case files: pauses, sizes of pages, and limits, such as
    /// page_bytes=512 or backoff_max=1s. What a frame holds comes before frame_bytes.
    #[arg(long, value_name = "NAME=VALUE,…", value_delimiter = ',')]
    replica: Vec<String>,

    /// The preset of faults; the flags below change single settings of it.
    #[arg(long, value_name = "PRESET", value_enum, default_value_t = FaultPreset::Light)]
    faults: FaultPreset,

    /// The probability that a frame is lost, from 0 to 1.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    loss: Option<f64>,

    /// The latency of a frame and its jitter (more or less), in milliseconds.
    #[arg(long, value_name = "MS[,MS]", value_parser = values::latency)]
    latency: Option<LatencyArg>,

    /// The probability that a frame is duplicated, from 0 to 1.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    duplicate: Option<f64>,

    /// The probability that the network flips a bit of a frame, from 0 to 1.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    corruption: Option<f64>,

    /// The largest additional delay of a frame, in milliseconds; later frames can overtake a delayed one.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=86_400_000))]
    reorder: Option<u64>,

    /// The probability, per tick of 10 ms, that the network splits in two, and for how many milliseconds.
    #[arg(long, value_name = "P[,MIN..MAX]", value_parser = values::occurrence)]
    partition: Option<Occurrence>,

    /// The probability, per tick of 10 ms, that a replica crashes, and for how many milliseconds it is down.
    #[arg(long, value_name = "P[,MIN..MAX]", value_parser = values::occurrence)]
    crash: Option<Occurrence>,

    /// The probability, per tick of 10 ms, that a replica goes offline, and for how many milliseconds
    /// (200..2000 by default). It keeps its memory and its application goes on writing, but it reaches nobody.
    #[arg(long, value_name = "P[,MIN..MAX]", value_parser = values::occurrence)]
    churn: Option<Occurrence>,

    /// How many additional, empty replicas join during the run.
    #[arg(long, value_name = "N", default_value_t = FaultConfig::default().late_joiners)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=MOST_JOINERS))]
    late_joiners: u64,

    /// By what factor frames to a slow node take longer; above 1, each node is slow with probability 1/4.
    #[arg(long, value_name = "FACTOR")]
    slow: Option<f64>,

    /// The probability that an application writes just after a sync session has begun, from 0 to 1.
    #[arg(long, value_name = "P", value_parser = values::probability)]
    write_during_sync: Option<f64>,

    /// After how many events the run stops, converged or not.
    #[arg(long, value_name = "N", default_value_t = Case::default().max_events)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    max_events: u64,

    /// The virtual time at which the run stops, converged or not. A bare number is in milliseconds.
    #[arg(long, value_name = "TIME", default_value_t = TimeSpan(Case::default().max_time.since(SimTime::ZERO)))]
    #[arg(value_parser = values::time_span)]
    max_time: TimeSpan,

    // The groups below have headings in the help, which would also cover plain flags declared after them.
    #[command(flatten)]
    pub(super) links: LinkArgs,

    #[command(flatten)]
    hosts: HostArgs,

    #[command(flatten)]
    hostile: HostileArgs,
}

/// The default scenario of a case file.
fn default_scenario() -> &'static str {
    let name = ScenarioSpec::default().name;
    let named = NAMED.iter().find(|scenario| scenario.name == name);
    named.expect("the default scenario is one of the named ones").name
}

impl SimArgs {
    /// Starts from this case file, as if `--case` had named it.
    pub(crate) fn set_case(&mut self, path: PathBuf) {
        self.given.set("case", Some(path.display().to_string()));
        self.case = Some(path);
    }

    /// Draws cases from their seeds, as if `--swarm` had been given.
    pub(crate) fn set_swarm(&mut self) {
        self.given.set("swarm", None);
        self.swarm = true;
    }

    /// The same simulation with another protocol.
    pub(crate) fn with_protocol(&self, protocol: ProtocolArg) -> Self {
        let mut args = self.clone();
        args.given.set("protocol", Some(protocol.name()));
        args.protocol = Some(protocol);
        args
    }

    /// Whether the value of a flag decides: the flag was given, or there is no case that has its own value.
    fn decides(&self, flag: &str) -> bool {
        (self.case.is_none() && !self.swarm) || self.given.contains(flag)
    }

    /// The simulation that the flags describe, or why they contradict each other.
    pub(crate) fn simulation(&self) -> Result<Simulation, String> {
        let TimeSpan(write_for) = self.write_for;
        let TimeSpan(max_time) = self.max_time;
        if self.case.is_none() && !self.swarm && write_for >= max_time {
            return Err(format!(
                "writes for {write_for} do not fit a run that stops at {max_time}; see --write-for and --max-time"
            ));
        }
        if self.protocol == Some(ProtocolArg::Each) {
            return Err("a run has one protocol; --protocol each is for sweep".into());
        }
        if self.swarm {
            return self.swarm_simulation();
        }
        if self.profile != ProfileArg::Small {
            return Err("--profile is the size of drawn worlds; it needs --swarm".into());
        }
        let mut case = match &self.case {
            Some(path) => case_files::load(path)?,
            None => Case::default(),
        };
        self.change_case(&mut case)?;
        case.faults = self.faults(case.faults)?;
        case.check().map_err(|error| error.to_string())?;
        Simulation::of_case(case, self.command_line())
    }

    /// Changes in a case everything that flags decide, except for the faults.
    pub(super) fn change_case(&self, case: &mut Case) -> Result<(), String> {
        let explicit_nodes = !case.nodes.is_empty();
        for flag in ["nodes", "entities", "scenario"].into_iter().filter(|flag| self.decides(flag)) {
            if explicit_nodes {
                return Err(format!("--{flag} has no effect on a case that lists its nodes one by one"));
            }
            let beginning = case.scenario.get_or_insert_with(ScenarioSpec::default);
            match flag {
                "nodes" => beginning.nodes = self.nodes as usize,
                "entities" => beginning.entities = self.entities as usize,
                _ => beginning.name = self.scenario.name.to_owned(),
            }
        }
        // The preset comes first: it replaces the workload, and the flags after it change single settings.
        if self.decides("workload") {
            let preset = Workload::preset(&self.workload).unwrap_or(Workload::new);
            case.workload = preset(case.workload.writes, case.workload.over);
        }
        if let Some(skew) = self.skew {
            case.workload.skew = skew;
        }
        if self.decides("writes") {
            case.workload.writes = self.writes as usize;
        }
        if self.decides("write-for") {
            case.workload.over = self.write_for.0;
        }
        if self.decides("contexts") {
            if explicit_nodes && (self.contexts as usize) < case.contexts {
                return Err(format!(
                    "--contexts {}: the case lists its nodes one by one, in {} contexts",
                    self.contexts, case.contexts
                ));
            }
            case.contexts = self.contexts as usize;
        }
        if self.decides("topology") {
            case.topology = self.topology.topology();
        }
        if self.decides("selection") {
            case.selection = self.selection.selection();
        }
        if self.decides("protocol") {
            case.protocol = self.protocol.and_then(ProtocolArg::kind);
        }
        for setting in &self.replica {
            let (name, value) = setting
                .split_once('=')
                .ok_or_else(|| format!("--replica {setting}: a setting looks like page_bytes=512"))?;
            case.set_replica(name, value).map_err(|error| format!("--replica {setting}: {error}"))?;
        }
        if self.decides("max-time") {
            case.max_time = SimTime::ZERO + self.max_time.0;
        }
        if self.decides("max-events") {
            case.max_events = self.max_events;
        }
        Ok(())
    }

    /// The faults with the changes that flags ask for.
    pub(super) fn faults(&self, mut faults: FaultConfig) -> Result<FaultConfig, String> {
        if self.decides("faults") {
            faults = self.faults.faults();
        }
        if let Some(loss) = self.loss {
            faults = faults.with_loss(loss);
        }
        if let Some(LatencyArg { base_ms, jitter_ms }) = self.latency {
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
        // Without a range on the command line, the length is that of the preset or case; without one there, that
        // of the heavy preset.
        let heavy = FaultConfig::heavy_chaos();
        if let Some(Occurrence { probability, range_ms }) = self.partition.clone() {
            let lasting = range_ms.unwrap_or_else(|| {
                non_empty(&faults.partition_duration_ms).unwrap_or(heavy.partition_duration_ms)
            });
            faults = faults.with_partitions(probability, lasting);
        }
        if let Some(Occurrence { probability, range_ms }) = self.crash.clone() {
            let down = range_ms
                .unwrap_or_else(|| non_empty(&faults.restart_delay_ms).unwrap_or(heavy.restart_delay_ms));
            faults = faults.with_crashes(probability, down);
        }
        if let Some(Occurrence { probability, range_ms }) = self.churn.clone() {
            faults = faults.with_churn(probability, range_ms.unwrap_or(DEFAULT_AWAY_MS));
        }
        if self.late_joiners > 0 {
            faults = faults.with_late_joiners(self.late_joiners, 0..self.write_for.0.as_millis().max(1));
        }
        if let Some(factor) = self.slow {
            faults = faults.with_slow_nodes(factor);
        }
        if let Some(rate) = self.write_during_sync {
            faults = faults.with_writes_during_sync(rate);
        }
        faults = self.links.add_to(faults)?;
        faults = self.hosts.add_to(faults);
        faults = self.hostile.add_to(faults);
        faults.validate().map_err(|error| error.to_string())?;
        Ok(faults)
    }

    /// The flags that repeat the simulation.
    pub(super) fn command_line(&self) -> Vec<String> {
        self.given.command_line(self.case.is_some() || self.swarm)
    }
}

fn non_empty(range: &Range<u64>) -> Option<Range<u64>> {
    (!range.is_empty()).then(|| range.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::host_flags::{DEFAULT_FREEZE_MS, DEFAULT_JUMP_MS, DEFAULT_PAUSE_MS};
    use crate::flags::link_flags::DEFAULT_BURST_FRAMES;
    use clap::Command;
    use sync_sim::hostile::HostileFaults;
    use sync_sim::prelude::LinkFaults;

    /// The parts of a value that may be omitted have no default in clap; their help states it in words.
    #[test]
    fn help_states_the_defaults() {
        let links = LinkFaults::default();
        let lie_rate = f64::from(HostileFaults::default().rate.as_ppm()) / 1e6;
        let command = SimArgs::augment_args(Command::new("simulation"));
        for (flag, default) in [
            ("churn", format!("{DEFAULT_AWAY_MS:?}")),
            ("latency-tail", TimeSpan(links.tail_most).to_string()),
            ("bad-links", links.bad_link_slowdown.to_string()),
            ("burst-loss", DEFAULT_BURST_FRAMES.to_string()),
            ("flap", format!("{:?}", links.flap_down_ms)),
            ("clock-jump", format!("{DEFAULT_JUMP_MS:?}")),
            ("clock-freeze", format!("{DEFAULT_FREEZE_MS:?}")),
            ("pause", format!("{DEFAULT_PAUSE_MS:?}")),
            ("lie-rate", lie_rate.to_string()),
        ] {
            let arg = command.get_arguments().find(|arg| arg.get_long() == Some(flag)).unwrap();
            let help = arg.get_long_help().or_else(|| arg.get_help()).unwrap().to_string();
            assert!(
                help.contains(&format!("{default} by default")),
                "--{flag} has the default {default}: {help}"
            );
        }
    }
}
