//! `syncline explore`.

use crate::Ending;
use crate::options::Protocol;
use crate::report::{bytes, grouped, numbers_from, table, verdict};
use crate::values;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::time::{Duration, Instant};
use sync_sim::explore::{Counterexample, Cut, Explorer, Kind, Progress, Report, Scope};
use sync_sim::prelude::{Scenario, SimConfig, SimDuration, SimRuntime};

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Writes {
    /// One register, set to another value each time.
    Register,
    /// One counter, raised.
    Counter,
    /// One register, set, deleted, and so on.
    Delete,
    /// One element of a set, added, removed, and so on.
    Set,
    /// An entry of a map, set, the map deleted, and so on.
    Map,
    /// One text, inserted at its beginning.
    Text,
}

impl Writes {
    const fn kind(self) -> Kind {
        match self {
            Self::Register => Kind::Register,
            Self::Counter => Kind::Counter,
            Self::Delete => Kind::Delete,
            Self::Set => Kind::Set,
            Self::Map => Kind::Map,
            Self::Text => Kind::Text,
        }
    }
}

/// Where it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Beginning {
    /// All have the same entities.
    Synced,
    /// Each has entities of its own.
    Diverged,
    /// The last has nothing and must take a snapshot, the others agree.
    Fresh,
}

/// The flags of `explore`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ExploreArgs {
    /// How many replicas take part, with one context each.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    nodes: u8,

    /// How many writes applications make, each replica in its turn, at any moment.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=64))]
    writes: u8,

    /// What they write to: always the same place.
    #[arg(long, value_name = "KIND", value_enum, default_value_t = Writes::Register)]
    kind: Writes,

    /// Where it begins.
    #[arg(long, value_name = "STATE", value_enum, default_value_t = Beginning::Synced)]
    begin: Beginning,

    /// How many entities each replica begins with.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    entities: u32,

    /// The protocol that sessions run wherever it can be run; without it they negotiate one.
    #[arg(long, value_name = "NAME", value_enum)]
    protocol: Option<Protocol>,

    /// How many frames may be lost.
    #[arg(long, value_name = "N", default_value_t = 0)]
    drops: u8,

    /// How many frames may arrive twice.
    #[arg(long, value_name = "N", default_value_t = 0)]
    duplicates: u8,

    /// How often a replica may crash, between any two effects of a step.
    #[arg(long, value_name = "N", default_value_t = 0)]
    crashes: u8,

    /// How often a link may be cut, both ways, for as long as may be.
    #[arg(long, value_name = "N", default_value_t = 0)]
    partitions: u8,

    /// How often a timer may run out although frames are on their way.
    #[arg(long, value_name = "N", default_value_t = 0)]
    early: u8,

    /// How many heartbeats each replica sends at most.
    #[arg(long, value_name = "N", default_value_t = 1)]
    ticks: u8,

    /// Frames of one link arrive in the order in which they were sent.
    #[arg(long)]
    fifo: bool,

    /// Moves after which nothing is followed any further.
    #[arg(long, value_name = "N", default_value_t = u32::MAX)]
    depth: u32,

    /// States after which the search stops.
    #[arg(long, value_name = "N", default_value_t = 100_000_000, value_parser = clap::value_parser!(u32).range(1..=4_000_000_000))]
    states: u32,

    /// Memory after which the search stops, in megabytes (where the system tells how much it uses).
    #[arg(long, value_name = "MB", default_value_t = 4_000)]
    memory: u64,

    /// Time after which the search stops.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = values::span)]
    time: SimDuration,

    /// Where nothing is found, show the way to the deepest state, which may tell why there are so many.
    #[arg(long)]
    deepest: bool,

    /// Print the report as JSON, and nothing else.
    #[arg(long)]
    json: bool,
}

/// A search, as machines read it. Field names are stable.
#[derive(Clone, Debug, Serialize)]
struct ExploreReport {
    exhaustive: bool,
    /// `found`, `depth`, `states` or `stopped`; absent if nothing was left out.
    cut: Option<Cut>,
    /// What stopped it, if something outside the search did.
    stopped_by: Option<&'static str>,
    states: u64,
    moves: u64,
    depth: u32,
    ends: u64,
    outcomes: u64,
    replica_states: u64,
    replica_steps: u64,
    frames: u64,
    seconds: f64,
    states_per_second: u64,
    peak_bytes: Option<u64>,
    counterexample: Option<CounterexampleReport>,
    /// The way to the deepest state, if it was asked for and nothing was found.
    deepest: Option<Vec<String>>,
}

#[derive(Clone, Debug, Serialize)]
struct CounterexampleReport {
    found: String,
    steps: Vec<String>,
}

impl From<&Counterexample> for CounterexampleReport {
    fn from(counterexample: &Counterexample) -> Self {
        Self { found: counterexample.found.to_string(), steps: counterexample.steps.clone() }
    }
}

/// Explores a small scope and says what was found.
pub(crate) fn explore(args: &ExploreArgs) -> Result<Ending, String> {
    let mut explorer = explorer(args)?;
    let started = Instant::now();
    let watch = Watch { started, limit: Duration::from_micros(args.time.as_micros()), memory: args.memory };
    let bar = if args.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        bar.set_style(style);
    }
    let mut stopped_by = None;
    let report = explorer.run(&mut |progress| {
        stopped_by = watch.stops();
        bar.set_message(words_of(progress, started.elapsed()));
        bar.tick();
        stopped_by.is_none()
    });
    bar.finish_and_clear();
    let took = started.elapsed();
    let found = report.found.is_some();
    let shown = ExploreReport {
        exhaustive: report.is_exhaustive(),
        cut: report.cut,
        stopped_by,
        states: report.progress.states,
        moves: report.progress.moves,
        depth: report.progress.depth,
        ends: report.ends,
        outcomes: report.outcomes,
        replica_states: report.locals,
        replica_steps: report.progress.steps,
        frames: report.frames,
        seconds: took.as_secs_f64(),
        states_per_second: per_second(report.progress.states, took),
        peak_bytes: peak_bytes(),
        counterexample: report.found.as_ref().map(Into::into),
        deepest: args.deepest.then(|| report.deepest.clone()),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&shown).map_err(|error| error.to_string())?);
    } else {
        print(args, &report, &shown, took);
    }
    Ok(if found { Ending::Finding } else { Ending::Good })
}

fn explorer(args: &ExploreArgs) -> Result<Explore, String> {
    let protocol = match args.protocol {
        Some(Protocol::Each) => return Err("a search has one protocol; --protocol each is for sweep".into()),
        Some(protocol) => protocol.kind(),
        None => None,
    };
    let mut rt = SimRuntime::with_config(SimConfig { protocol, ..SimConfig::with_seed(0) });
    let (nodes, entities) = (usize::from(args.nodes), args.entities as usize);
    rt.apply_scenario(match args.begin {
        Beginning::Synced => Scenario::n_nodes_synced(nodes, entities),
        Beginning::Diverged => Scenario::n_nodes_diverged(nodes, entities),
        Beginning::Fresh => Scenario::fresh_joiner(nodes, entities),
    });
    let scope = Scope {
        drops: args.drops,
        duplicates: args.duplicates,
        crashes: args.crashes,
        partitions: args.partitions,
        early: args.early,
        ticks: args.ticks,
        fifo: args.fifo,
        depth: args.depth,
        states: args.states,
        ..Scope::default()
    };
    let mut explorer = Explorer::of(&rt, scope);
    explorer.write_concurrently(args.kind.kind(), args.writes.into());
    Ok(explorer)
}

type Explore = Explorer<sync_sim::prelude::SimNode, sync_sim::explore::ReplicaWatch>;

/// Stops a search that takes too much.
struct Watch {
    started: Instant,
    limit: Duration,
    memory: u64,
}

impl Watch {
    fn stops(&self) -> Option<&'static str> {
        if self.started.elapsed() >= self.limit {
            return Some("time");
        }
        let resident = status("VmRSS:").is_some_and(|bytes| bytes >= self.memory * 1_000_000);
        resident.then_some("memory")
    }
}

/// The most memory that this process has held, in bytes, where the system tells.
fn peak_bytes() -> Option<u64> {
    status("VmHWM:")
}

fn status(what: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with(what))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1_024)
}

fn per_second(count: u64, took: Duration) -> u64 {
    (u128::from(count) * 1_000_000 / took.as_micros().max(1)) as u64
}

fn words_of(progress: &Progress, took: Duration) -> String {
    format!(
        "depth {}, {} states, {} to follow, {} states/s",
        progress.depth,
        grouped(progress.states),
        grouped(progress.frontier),
        grouped(per_second(progress.states, took))
    )
}

fn print(args: &ExploreArgs, report: &Report, shown: &ExploreReport, took: Duration) {
    println!(
        "{} replicas, {} writes to one {:?}; {} drops, {} duplicates, {} crashes, {} partitions, {} early \
         timers, {} heartbeats each; {}",
        args.nodes,
        args.writes,
        args.kind,
        args.drops,
        args.duplicates,
        args.crashes,
        args.partitions,
        args.early,
        args.ticks,
        if args.fifo { "frames of a link in order" } else { "frames in any order" },
    );
    println!();
    let mut rows = table(&["explored", ""]);
    let counts = [
        ("states", shown.states),
        ("moves between them", shown.moves),
        ("depth", shown.depth.into()),
        ("states of single replicas", shown.replica_states),
        ("steps of the real code", shown.replica_steps),
        ("different frames", shown.frames),
        ("ends, each of which converges", shown.ends),
        ("states per second", shown.states_per_second),
    ];
    for (name, count) in counts {
        rows.add_row([name.to_owned(), grouped(count)]);
    }
    if let Some(peak) = shown.peak_bytes {
        rows.add_row(["memory".to_owned(), bytes(peak)]);
    }
    numbers_from(&mut rows, 1);
    println!("{rows}\n");
    if args.deepest && report.found.is_none() {
        println!("the way to the deepest state:\n");
        steps(&report.deepest);
    }
    match (&report.found, report.cut) {
        (Some(counterexample), _) => {
            println!("{} a shortest counterexample:\n", verdict(false, "FOUND"));
            steps(&counterexample.steps);
        }
        (None, None) => {
            println!(
                "{} in {took:.1?}: every state that this scope allows was reached and checked",
                verdict(true, "EXHAUSTIVE")
            );
        }
        (None, Some(cut)) => {
            let why = match (cut, shown.stopped_by) {
                (Cut::Depth, _) => "nothing was followed beyond the depth that was given".to_owned(),
                (Cut::States, _) => "there were more states than were allowed".to_owned(),
                (_, by) => format!("it was stopped by its bound on {}", by.unwrap_or("nothing")),
            };
            println!(
                "{} in {took:.1?}: {why}; all states up to depth {} were reached and checked, and nothing found",
                verdict(true, "NOT EXHAUSTIVE"),
                shown.depth
            );
        }
    }
}

fn steps(steps: &[String]) {
    for (number, step) in (1..).zip(steps) {
        println!("{number:>4}. {step}");
    }
}
