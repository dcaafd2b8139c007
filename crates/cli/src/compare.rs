//! `syncline compare`.

use crate::Ending;
use crate::plot::{Chart, Line};
use crate::report::{bytes, grouped, numbers_from, table, verdict};
use crate::values::{self, Rising};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;
use sync_sim::compare_protocols::{
    Case, ProtocolCost, Ground, Link, Measured, Outcome, Selection, Shape, Spread, SyncProtocolKind,
};
use sync_sim::prelude::SimDuration;

/// The flags of `compare`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompareArgs {
    /// Entities that both sides have.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
    entities: u64,

    /// Entities that only one side has, half of them on each.
    #[arg(long, short = 'd', value_name = "D", default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=2_000_000))]
    difference: u64,

    /// How entities hang together.
    #[arg(long, value_name = "SHAPE", value_enum, default_value_t = ShapeArg::Flat)]
    shape: ShapeArg,

    /// Where the differing entities are.
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = SpreadArg::Random)]
    spread: SpreadArg,

    /// Bytes of each value.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    value_bytes: u64,

    /// The differing entities are not kept as deltas, as after a log was pruned.
    #[arg(long)]
    no_history: bool,

    /// How long an answer takes, the time of its bytes not counted.
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = values::span)]
    rtt: SimDuration,

    /// What the link carries, in bits per second.
    #[arg(long, value_name = "BITS", default_value = "20M", value_parser = values::bandwidth)]
    bandwidth: u64,

    /// Also say what the adaptive selection reckoned for each protocol.
    #[arg(long)]
    explain: bool,

    /// Also write charts to this folder: time and bytes of each protocol over the difference, and over
    /// the number of entities.
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,

    /// The differences of the charts.
    #[arg(long, value_name = "D,D,…", default_value = "1,10,100,1000", value_parser = values::rising, requires = "plot")]
    plot_differences: Rising,

    /// The numbers of entities of the charts.
    #[arg(long, value_name = "N,N,…", default_value = "100,1000,10000,100000", value_parser = values::rising, requires = "plot")]
    plot_entities: Rising,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum ShapeArg {
    /// All directly under the root.
    Flat,
    /// In up to a thousand collections of ten entities at least.
    Wide,
    /// In eight branches, five deep.
    Deep,
    /// Each under the one before, a thousand to a chain.
    Chain,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum SpreadArg {
    /// Anywhere among the others.
    Random,
    /// All in one collection of their own.
    Clustered,
}

/// What was measured, as machines read it. Field names are stable; `cpu_us` alone depends on the machine.
#[derive(Serialize)]
struct CompareReport {
    entities: u64,
    difference: u64,
    shape: String,
    rtt_us: u64,
    bytes_per_second: u64,
    estimated_difference: u64,
    protocols: Vec<Row>,
    adaptive: Choice,
    table: Choice,
    reckoned: Vec<Reckoned>,
}

#[derive(Serialize)]
struct Choice {
    protocol: String,
    reason: String,
    time_us: u64,
}

#[derive(Serialize)]
struct Reckoned {
    protocol: String,
    round_trips: u64,
    bytes: u64,
    cpu_us: u64,
    time_us: u64,
}

#[derive(Serialize)]
struct Row {
    protocol: String,
    converged: bool,
    outcome: String,
    messages: u64,
    round_trips: u64,
    bytes_out: u64,
    bytes_in: u64,
    control_bytes: u64,
    entities_received: u64,
    entities_pushed: u64,
    walks: u64,
    cpu_us: [u64; 2],
    time_us: u64,
}

impl Row {
    fn of(name: &str, measured: &Measured) -> Self {
        let Measured { outcome, stats, bytes_out, bytes_in, payload_bytes, .. } = measured;
        Self {
            protocol: name.to_owned(),
            converged: matches!(outcome, Outcome::Converged { .. }),
            outcome: match outcome {
                Outcome::Converged { .. } => "converged".into(),
                Outcome::SyncPending(reason) => format!("owed: {reason:?}"),
                Outcome::Failed(reason) => format!("failed: {reason}"),
            },
            messages: measured.messages,
            round_trips: stats.round_trips,
            bytes_out: *bytes_out,
            bytes_in: *bytes_in,
            control_bytes: (bytes_out + bytes_in).saturating_sub(*payload_bytes),
            entities_received: stats.records_received + stats.deltas_received,
            entities_pushed: stats.records_pushed + stats.deltas_pushed,
            walks: stats.walks,
            cpu_us: measured.cpu,
            time_us: measured.time_us,
        }
    }
}

/// The protocols that two states with something in both can run.
fn contenders(history: bool) -> impl Iterator<Item = SyncProtocolKind> {
    SyncProtocolKind::EXECUTABLE.into_iter().filter(move |kind| match kind {
        SyncProtocolKind::None | SyncProtocolKind::Snapshot => false,
        SyncProtocolKind::DeltaSync => history,
        _ => true,
    })
}

fn measure(ground: &Ground, protocol: Option<SyncProtocolKind>, how: Selection) -> Result<Measured, String> {
    let begun = Instant::now();
    let stopwatch = || u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    ground.run(protocol, how, stopwatch).map_err(|error| error.to_string())
}

pub(crate) fn compare(args: &CompareArgs) -> Result<Ending, String> {
    let ground = Ground::new(args.case(args.entities, args.difference)).map_err(|error| error.to_string())?;
    let (estimated_difference, reckoned) = ground.reckoned().map_err(|error| error.to_string())?;
    let mut protocols = Vec::new();
    for kind in contenders(!args.no_history) {
        let measured = measure(&ground, Some(kind), Selection::Table)?;
        if measured.protocol == kind || measured.protocol == SyncProtocolKind::None {
            protocols.push(Row::of(&kind.to_string(), &measured));
        }
    }
    let choice = |how| {
        let measured = measure(&ground, None, how)?;
        let (protocol, reason) = (measured.protocol.to_string(), measured.reason.to_string());
        Ok::<_, String>(Choice { protocol, reason, time_us: measured.time_us })
    };
    let report = CompareReport {
        entities: args.entities,
        difference: args.difference,
        shape: format!("{:?}", args.shape).to_lowercase(),
        rtt_us: args.rtt.as_micros(),
        bytes_per_second: args.bandwidth,
        estimated_difference,
        adaptive: choice(Selection::Adaptive)?,
        table: choice(Selection::Table)?,
        reckoned: reckoned.iter().map(Reckoned::of).collect(),
        protocols,
    };
    let charts = match &args.plot {
        Some(folder) => args.charts(folder)?,
        None => Vec::new(),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
    } else {
        report.show(args.explain);
        charts.iter().for_each(|path| println!("chart: {}", path.display()));
    }
    let all = report.protocols.iter().all(|row| row.converged);
    Ok(if all { Ending::Good } else { Ending::Finding })
}

/// A protocol, and what it took at each place of an axis.
type Series = (String, Vec<(u64, Row)>);

impl CompareArgs {
    const fn case(&self, entities: u64, difference: u64) -> Case {
        Case {
            entities,
            difference,
            shape: match self.shape {
                ShapeArg::Flat => Shape::Flat,
                ShapeArg::Wide => Shape::Wide,
                ShapeArg::Deep => Shape::Deep,
                ShapeArg::Chain => Shape::Chain,
            },
            spread: match self.spread {
                SpreadArg::Random => Spread::Random,
                SpreadArg::Clustered => Spread::Clustered,
            },
            value_bytes: self.value_bytes as usize,
            history: !self.no_history,
            link: Link { round_trip_us: self.rtt.as_micros(), bytes_per_second: self.bandwidth },
        }
    }

    fn charts(&self, folder: &std::path::Path) -> Result<Vec<PathBuf>, String> {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let over_d: Vec<(u64, u64, u64)> =
            self.plot_differences.0.iter().map(|d| (*d, self.entities, *d)).collect();
        let over_n: Vec<(u64, u64, u64)> =
            self.plot_entities.0.iter().map(|n| (*n, *n, self.difference)).collect();
        let mut written = Vec::new();
        for (axis, points) in [("difference", over_d), ("entities", over_n)] {
            let lines = self.lines(&points)?;
            for (what, unit, of) in [
                ("time", "ms of virtual time", Row::time_ms as fn(&Row) -> f64),
                ("bytes", "bytes beside the records", Row::control as fn(&Row) -> f64),
            ] {
                let path = folder.join(format!("{what}-over-{axis}.svg"));
                let fixed = if axis == "difference" {
                    format!("{} entities", grouped(self.entities))
                } else {
                    format!("{} of them differ", grouped(self.difference))
                };
                let lines = lines.iter().map(|(name, rows)| Line {
                    name: name.clone(),
                    points: rows.iter().map(|(x, row)| (*x as f64, of(row))).collect(),
                });
                let chart =
                    Chart { title: format!("{unit}, {fixed}"), x: axis, y: unit, lines: lines.collect() };
                chart.write(&path)?;
                written.push(path);
            }
        }
        Ok(written)
    }

    /// Each protocol's figures at each point: what the axis shows, entities, difference.
    fn lines(&self, points: &[(u64, u64, u64)]) -> Result<Vec<Series>, String> {
        let bar = crate::sweep::progress(points.len() as u64, "points");
        let mut lines: Vec<Series> =
            contenders(!self.no_history).map(|kind| (kind.to_string(), Vec::new())).collect();
        for &(x, entities, difference) in points {
            let ground = Ground::new(self.case(entities, difference)).map_err(|error| error.to_string())?;
            for (kind, (name, rows)) in contenders(!self.no_history).zip(&mut lines) {
                let measured = measure(&ground, Some(kind), Selection::Table)?;
                if measured.protocol == kind {
                    rows.push((x, Row::of(name, &measured)));
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(lines)
    }
}

impl Row {
    fn time_ms(&self) -> f64 {
        self.time_us as f64 / 1_000.0
    }

    fn control(&self) -> f64 {
        self.control_bytes as f64
    }
}

impl Reckoned {
    fn of(cost: &ProtocolCost) -> Self {
        let ProtocolCost { protocol, round_trips, bytes, cpu_us, time_us } = *cost;
        Self { protocol: protocol.to_string(), round_trips, bytes, cpu_us, time_us }
    }
}

impl CompareReport {
    fn show(&self, explain: bool) {
        println!(
            "{} entities shared ({}), {} on one side only; {} ms there and back, {} a second\n",
            grouped(self.entities),
            self.shape,
            grouped(self.difference),
            self.rtt_us / 1_000,
            bytes(self.bytes_per_second)
        );
        let headings = [
            "protocol",
            "round trips",
            "out",
            "in",
            "of it control",
            "received",
            "pushed",
            "cpu, µs",
            "time",
            "",
        ];
        let mut rows = table(&headings);
        for row in &self.protocols {
            let mut notes = Vec::new();
            if row.protocol == self.adaptive.protocol {
                notes.push("adaptive");
            }
            if row.protocol == self.table.protocol {
                notes.push("table");
            }
            if !row.converged {
                notes.push(&row.outcome);
            } else if row.walks > 0 && row.protocol != "HashComparison" {
                notes.push("ended in a walk");
            }
            let [ours, theirs] = row.cpu_us;
            rows.add_row([
                row.protocol.clone(),
                row.round_trips.to_string(),
                bytes(row.bytes_out),
                bytes(row.bytes_in),
                bytes(row.control_bytes),
                grouped(row.entities_received),
                grouped(row.entities_pushed),
                format!("{} + {}", grouped(ours), grouped(theirs)),
                millis(row.time_us),
                notes.join(", "),
            ]);
        }
        numbers_from(&mut rows, 1);
        println!("{rows}\n");
        for (how, choice) in [("adaptive selection", &self.adaptive), ("the decision table", &self.table)] {
            println!("{how} takes {}, {}: {}", choice.protocol, choice.reason, millis(choice.time_us));
        }
        if explain {
            self.explain();
        }
        let all = self.protocols.iter().all(|row| row.converged);
        println!("\n{}", verdict(all, if all { "ALL CONVERGED" } else { "NOT ALL CONVERGED" }));
    }

    fn explain(&self) {
        println!(
            "\nThe sketches of the handshake show about {} records that differ. After the handshake, beside the\n\
             records themselves, each protocol should then take:\n",
            grouped(self.estimated_difference)
        );
        let mut rows = table(&["protocol", "round trips", "bytes", "cpu, µs", "time"]);
        for cost in &self.reckoned {
            rows.add_row([
                cost.protocol.clone(),
                cost.round_trips.to_string(),
                bytes(cost.bytes),
                grouped(cost.cpu_us),
                millis(cost.time_us),
            ]);
        }
        numbers_from(&mut rows, 1);
        println!("{rows}");
    }
}

fn millis(us: u64) -> String {
    format!("{}.{} ms", grouped(us / 1_000), us / 100 % 10)
}
