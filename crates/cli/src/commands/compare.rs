//! `syncline compare`.

use crate::commands::Ending;
use crate::error::CommandError;
use crate::flags::CompareArgs;
use crate::interrupt;
use crate::output::charts::{Chart, ChartLine};
use crate::output::compare_report::{CompareReport, CostEstimate, ProtocolRow, SelectedProtocol};
use crate::output::text::grouped;
use crate::output::writer::Output;
use crate::output::{json, progress};
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::time::Instant;
use sync_sim::compare_protocols::{Measurement, Selection, StatePair, SyncProtocolKind};

/// Runs every protocol on the same two states, and both selections.
pub(crate) fn compare(args: &CompareArgs, out: &mut Output) -> Result<Ending, CommandError> {
    interrupt::watch();
    let ground = ground(args, args.entities, args.difference)?;
    let (estimated_difference, estimates) = ground.estimated_costs().map_err(|error| error.to_string())?;
    let mut protocols = Vec::new();
    for kind in contenders(!args.no_history) {
        if interrupt::requested() {
            return interrupt::report(&format!("interrupted: {}", so_far(&protocols)), out);
        }
        let measured = measure(&ground, Some(kind), Selection::Table)?;
        // Where nothing differs, no protocol runs. Where a session falls back to another protocol, its figures
        // would be those of the other.
        if measured.protocol == kind || measured.protocol == SyncProtocolKind::None {
            protocols.push(ProtocolRow::of(&kind.to_string(), &measured));
            interrupt::learned(so_far(&protocols));
        }
    }
    let selected = |how| measure(&ground, None, how).map(|measured| SelectedProtocol::of(&measured));
    let report = CompareReport {
        entities: args.entities,
        difference: args.difference,
        shape: args.shape.to_possible_value().map_or_else(String::new, |shape| shape.get_name().to_owned()),
        rtt_us: args.rtt.0.as_micros(),
        bytes_per_second: args.bandwidth.bytes_per_second,
        estimated_difference,
        adaptive: selected(Selection::Adaptive)?,
        table: selected(Selection::Table)?,
        reckoned: estimates.iter().map(CostEstimate::of).collect(),
        protocols,
    };
    let charts = match &args.plot {
        Some(folder) => charts(args, folder)?,
        None => Vec::new(),
    };
    if args.json {
        json::print(&report, out)?;
    } else {
        report.print(args.explain, out)?;
        charts.iter().try_for_each(|path| writeln!(out, "chart: {}", path.display()))?;
    }
    if interrupt::requested() {
        return interrupt::report("interrupted: not all charts were drawn", out);
    }
    Ok(Ending::of(report.is_good()))
}

/// The measurements so far in words, for a command that is interrupted.
fn so_far(measured: &[ProtocolRow]) -> String {
    let measured: Vec<String> = measured.iter().map(ProtocolRow::in_words).collect();
    match measured.as_slice() {
        [] => "no protocol was measured yet".to_owned(),
        rows => format!("measured so far:\n  {}", rows.join("\n  ")),
    }
}

fn ground(args: &CompareArgs, entities: u64, difference: u64) -> Result<StatePair, String> {
    StatePair::new(args.case(entities, difference)).map_err(|error| error.to_string())
}

/// The protocols that can synchronize two non-empty states. DeltaSync needs the deltas.
fn contenders(history: bool) -> impl Iterator<Item = SyncProtocolKind> {
    SyncProtocolKind::EXECUTABLE.into_iter().filter(move |kind| match kind {
        SyncProtocolKind::None | SyncProtocolKind::Snapshot => false,
        SyncProtocolKind::DeltaSync => history,
        _ => true,
    })
}

fn measure(
    ground: &StatePair,
    protocol: Option<SyncProtocolKind>,
    how: Selection,
) -> Result<Measurement, String> {
    let begun = Instant::now();
    let mut stopwatch = || u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    ground.run(protocol, how, &mut stopwatch).map_err(|error| error.to_string())
}

/// One point of an axis of a chart.
struct AxisPoint {
    /// The value on the axis: either the entities or the difference.
    x: u64,
    entities: u64,
    difference: u64,
}

/// A protocol, and its session at each point of an axis.
type ProtocolSeries = (String, Vec<(u64, ProtocolRow)>);

/// Writes the charts of time and bytes over the difference and over the number of entities.
fn charts(args: &CompareArgs, folder: &Path) -> Result<Vec<PathBuf>, String> {
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
    let at_difference = |&d: &u64| AxisPoint { x: d, entities: args.entities, difference: d };
    let at_entities = |&n: &u64| AxisPoint { x: n, entities: n, difference: args.difference };
    let over_difference: Vec<AxisPoint> = args.plot_differences.0.iter().map(at_difference).collect();
    let over_entities: Vec<AxisPoint> = args.plot_entities.0.iter().map(at_entities).collect();
    let fixed_entities = format!("{} entities", grouped(args.entities));
    let fixed_difference = format!("difference {}", grouped(args.difference));
    let mut written = Vec::new();
    for (axis, points, fixed) in
        [("difference", over_difference, fixed_entities), ("entities", over_entities, fixed_difference)]
    {
        let series = series(args, &points)?;
        for (what, unit, of) in [
            ("time", "ms of virtual time", ProtocolRow::time_ms as fn(&ProtocolRow) -> f64),
            ("bytes", "bytes other than records", ProtocolRow::control_bytes as fn(&ProtocolRow) -> f64),
        ] {
            let path = folder.join(format!("{what}-over-{axis}.svg"));
            let lines = series.iter().map(|(name, rows)| ChartLine {
                name: name.clone(),
                points: rows.iter().map(|(x, row)| (*x as f64, of(row))).collect(),
            });
            let chart = Chart { title: format!("{unit}, {fixed}"), x: axis, y: unit, lines: lines.collect() };
            chart.write(&path)?;
            written.push(path);
        }
    }
    Ok(written)
}

/// Measures each protocol at each point.
fn series(args: &CompareArgs, points: &[AxisPoint]) -> Result<Vec<ProtocolSeries>, String> {
    let bar = progress::bar("{bar:40} {pos}/{len} points, {eta} left", points.len() as u64, true);
    let mut series: Vec<ProtocolSeries> =
        contenders(!args.no_history).map(|kind| (kind.to_string(), Vec::new())).collect();
    for point in points {
        // The charts show the points that were measured.
        if interrupt::requested() {
            break;
        }
        let ground = ground(args, point.entities, point.difference)?;
        for (kind, (name, rows)) in contenders(!args.no_history).zip(&mut series) {
            let measured = measure(&ground, Some(kind), Selection::Table)?;
            if measured.protocol == kind {
                rows.push((point.x, ProtocolRow::of(name, &measured)));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(series)
}
