//! `syncline merge`.

use crate::commands::Ending;
use crate::error::CommandError;
use crate::flags::MergeArgs;
use crate::output::json;
use crate::output::sweep_report::{SweepReport, print};
use crate::output::text::grouped;
use crate::output::totals::SweepTotals;
use crate::output::writer::{Output, complain};
use crate::simulation::Simulation;
use crate::sweeping::checkpoint::ShardReport;
use crate::sweeping::shard::Shard;
use std::collections::BTreeMap;
use std::path::PathBuf;
use sync_sim::case::Case;

/// The most missing shards that an error or a warning names.
const MISSING_SHOWN: usize = 20;

/// Merges the reports of a sweep's shards into the report of the sweep.
pub(crate) fn merge(args: &MergeArgs, out: &mut Output) -> Result<Ending, CommandError> {
    let mut reports: BTreeMap<Shard, (&PathBuf, ShardReport)> = BTreeMap::new();
    for path in &args.files {
        let report = ShardReport::load(path)?;
        if let Some((first, other)) = reports.values().next()
            && (report.plan != other.plan || report.shard.of != other.shard.of)
        {
            let shown = format!("{} and {}", first.display(), path.display());
            return Err(format!("{shown} are shards of different sweeps").into());
        }
        if let Some((first, report)) = reports.insert(report.shard, (path, report)) {
            let shard = report.shard;
            let shown = format!("{} and {}", first.display(), path.display());
            return Err(format!("{shown} are both shard {shard}").into());
        }
    }
    let shards = grouped(reports.len() as u64);
    let of = reports.keys().next().map_or(0, |shard| shard.of);
    let missing = (1..=of).map(|index| Shard { index, of }).filter(|shard| !reports.contains_key(shard));
    let missing: Vec<String> = missing.take(MISSING_SHOWN).map(|shard| shard.to_string()).collect();
    if !missing.is_empty() {
        let problem = format!("no report contains shard {}", missing.join(", "));
        if !args.partial {
            return Err(format!("{problem}; --partial merges the shards that there are").into());
        }
        complain(format_args!("warning: {problem}"));
    }
    let report = merged(reports.into_values().map(|(_, report)| report))?;
    if args.json {
        json::print(&report, out)?;
    } else {
        print(&report, &format!("{shards} shards"), out)?;
    }
    Ok(Ending::of(report.is_good()))
}

/// Adds up the reports, which come in the order of their shards.
fn merged(reports: impl Iterator<Item = ShardReport>) -> Result<SweepReport, String> {
    let mut totals = SweepTotals::default();
    let mut seconds = 0f64;
    let mut first = None;
    for report in reports {
        totals.merge(report.totals);
        // Shards run in parallel: the sweep took as long as its slowest shard.
        seconds = seconds.max(report.seconds);
        first.get_or_insert((report.case, report.protocol, report.drawn, report.demanded));
    }
    let (case, protocol, drawn, demanded) = first.ok_or("there is nothing to merge")?;
    let case: Case = case.parse().map_err(|error| format!("the reports contain no valid case: {error}"))?;
    let simulation = Simulation { case, flags: Vec::new(), swarm: None };
    let report = totals.report(&simulation, seconds, demanded);
    let topology = report.topology.filter(|_| !drawn);
    Ok(SweepReport { protocol, topology, ..report })
}
