//! `syncline scenarios`.

use crate::commands::Ending;
use crate::error::CommandError;
use crate::flags::{FaultPreset, ScenarioOrSeed, ScenariosArgs};
use crate::output::json;
use crate::output::text::table;
use crate::output::writer::Output;
use clap::ValueEnum;
use serde::Serialize;
use sync_sim::case::{Case, ScenarioSpec};
use sync_sim::prelude::{FaultConfig, Workload};
use sync_sim::scenarios::{NAMED, NamedScenario};
use sync_sim::swarm;

/// The scenarios and the presets of faults. The JSON keys are stable.
#[derive(Serialize)]
struct ScenarioListing {
    scenarios: Vec<ListingEntry>,
    faults: Vec<ListingEntry>,
}

#[derive(Serialize)]
struct ListingEntry {
    name: String,
    summary: String,
}

/// Lists the scenarios and the presets of faults, or prints one as a case file.
pub(crate) fn list(args: &ScenariosArgs, out: &mut Output) -> Result<Ending, CommandError> {
    if let Some(shown) = args.show {
        let text = match shown {
            ScenarioOrSeed::Scenario(named) => case_file(named)?,
            ScenarioOrSeed::Swarm(seed) => swarm::draw(seed).to_text().map_err(|error| error.to_string())?,
        };
        write!(out, "{text}")?;
        return Ok(Ending::Good);
    }
    let scenarios = NAMED.iter();
    let scenarios = scenarios.map(|s| ListingEntry { name: s.name.into(), summary: s.summary.into() });
    let faults = FaultPreset::value_variants().iter().filter_map(|preset| {
        let value = preset.to_possible_value()?;
        let summary = value.get_help().map(ToString::to_string).unwrap_or_default();
        Some(ListingEntry { name: value.get_name().into(), summary })
    });
    let listing = ScenarioListing { scenarios: scenarios.collect(), faults: faults.collect() };
    if args.json {
        json::print(&listing, out)?;
        return Ok(Ending::Good);
    }
    for (heading, flag, entries) in
        [("scenario", "--scenario", &listing.scenarios), ("faults", "--faults", &listing.faults)]
    {
        let mut shown = table(&[heading, &format!("description (use with {flag})")]);
        for entry in entries {
            shown.add_row([&entry.name, &entry.summary]);
        }
        writeln!(out, "{shown}\n")?;
    }
    Ok(Ending::Good)
}

/// A scenario as a case file to edit: its settings, and commented-out examples of all others.
fn case_file(named: NamedScenario) -> Result<String, String> {
    let case = Case {
        seed: 1,
        scenario: Some(ScenarioSpec { name: named.name.into(), ..ScenarioSpec::default() }),
        faults: FaultConfig::light_chaos(),
        workload: Workload::default(),
        ..Case::default()
    };
    let text = case.to_text().map_err(|error| error.to_string())?;
    // TOML wants the settings of the case itself before the first section.
    let (settings, sections) = text.split_once("\n[").unwrap_or((&text, ""));
    Ok(format!("# {}: {}.\n{HEAD}\n\n{settings}{BODY}\n[{sections}", named.name, named.summary))
}

const HEAD: &str = "\
# Run it with `syncline run FILE`, many seeds of it with `syncline sweep --case FILE`.
# A missing setting has its default; flags override the file. Remove the #: before a line to activate its
# setting; lines with #| replace the scenario.";

const BODY: &str = r##"
# When the run stops, converged or not, and how long partitions, crashes and departures occur.
#: max_time = "60s"
#: chaos_for = "20s"

# How many contexts each node stores; writes of the workload go to any of them.
#: contexts = 2

# mesh, ring, star or line; adaptive or table; a protocol that sessions run wherever it is applicable.
#: topology = "ring"
#: selection = "table"
#: protocol = "bloom_filter"

# Rules for frames: drop, pass, duplicate, corrupt, reset or { delay = "5ms" }. Kinds are delta,
# heartbeat, delta_fetch, handshake, delta_sync, exchange and snapshot.
#: rules = [
#:     { do = "drop", from = "alice", to = "bob", kinds = ["handshake"], since = "1s", until = "2s" },
#:     { do = { delay = "40ms" }, least_bytes = 1000, after = 2, one_in = 3, at_most = 9 },
#: ]

# Scheduled events. A node crashes at once, or at a point of its next step: before_commit, after_commit,
# after_first_send or after_all_sends.
#: script = [
#:     { at = "500ms", write = { node = "bob", ops = [
#:         { set = { target = "register/1", to = "hello" } },
#:         { increment = { target = "likes/1", by = 2 } },
#:         { change = { target = "stock/1", by = -3 } },
#:         { create = { target = "map", collection = "map" } },
#:         { set = { target = "map > colour", to = "red" } },
#:         { add_element = { target = "set > apple" } },
#:         { remove_element = { target = "set > apple" } },
#:         { insert_text = { target = "text", at = 0, text = "hi" } },
#:         { delete_text = { target = "text", at = 0, count = 1 } },
#:         { insert_item = { list = "list", at = 0, item = { bytes = "first" } } },
#:         { delete = { target = "register/1" } },
#:     ] } },
#:     { at = "550ms", write = { node = "bob", context = 1, ops = [{ set = { target = "a", to = "b" } }] } },
#:     { at = "600ms", crash = { node = "bob", point = "after_commit", down_for = "1s" } },
#:     { at = "700ms", partition = { groups = [["alice"], ["bob", "carol"]], lasting = "2s" } },
#:     { at = "800ms", partition = { one_way = [["carol"], ["bob"]], lasting = "300ms" } },
#:     { at = "900ms", leave = { node = "carol", away_for = "1s" } },
#:     { at = "1s", join = "dave" },
#: ]

# Faults of single frames, counted from 1 along each link: lost, takes (its latency), again (when a
# duplicate arrives) or flipped (the index of a bit).
#: frames = [
#:     { from = "alice", to = "bob", frame = 3, lost = true },
#:     { from = "alice", to = "bob", frame = 4, takes = "250ms", again = "300ms", flipped = 77 },
#: ]

# Instead of [scenario], the nodes one by one: what all of them share initially, and what each has in
# addition, first in its first context and then in its other contexts.
#| shared = ["page/0..20", "folder ~ title = hello"]
#| nodes = [
#|     { name = "alice", entities = ["alice/0..5"] },
#|     { name = "bob", shared = false, contexts = [{ entities = ["bob/0..3"] }] },
#|     { name = "carol", writes = [{ set = { target = "> greeting", to = "hi" } }] },
#| ]
"##;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_files_and_their_examples_parse() {
        for named in NAMED {
            let text = case_file(named).unwrap();
            let plain: Case = text.parse().unwrap();
            assert_eq!(plain.scenario.as_ref().unwrap().name, named.name);
            let more: Case = text.replace("#: ", "").parse().unwrap();
            assert_eq!((more.script.len(), more.rules.len(), more.frames.len()), (7, 2, 2));
            assert_eq!((plain.contexts, more.contexts), (1, 2));
            assert_eq!(more.faults, plain.faults);
        }
        let text = case_file(NAMED[0]).unwrap();
        let (before, _) = text.split_once("[faults]").unwrap();
        let nodes: Case = before.replace("#: ", "").replace("#| ", "").parse().unwrap();
        assert_eq!((nodes.nodes.len(), nodes.script.len()), (3, 7));
    }
}
