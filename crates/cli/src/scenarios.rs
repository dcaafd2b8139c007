//! `syncline scenarios`.

use crate::Ending;
use crate::options::{Preset, scenario};
use crate::report::table;
use clap::{Args, ValueEnum};
use serde::Serialize;
use sync_sim::case::{Case, ScenarioSpec};
use sync_sim::prelude::{FaultConfig, SimDuration, Workload};
use sync_sim::scenarios::{NAMED, NamedScenario};
use sync_sim::swarm;

/// The flags of `scenarios`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScenariosArgs {
    /// Print one of them as a case file to start from, or with `swarm:SEED` what is drawn from a seed; run it
    /// with `syncline run FILE`.
    #[arg(long, value_name = "NAME", conflicts_with = "json", value_parser = shown)]
    show: Option<Shown>,

    /// Print the list as JSON, and nothing else.
    #[arg(long)]
    json: bool,
}

/// What can be shown as a case.
#[derive(Clone, Copy, Debug)]
enum Shown {
    Named(NamedScenario),
    Swarm(u64),
}

fn shown(text: &str) -> Result<Shown, String> {
    let Some(seed) = text.strip_prefix("swarm:") else { return scenario(text).map(Shown::Named) };
    seed.parse().map(Shown::Swarm).map_err(|_| format!("{seed:?} is no seed; say swarm:7, for example"))
}

#[derive(Serialize)]
struct Entry {
    name: String,
    summary: String,
}

#[derive(Serialize)]
struct Listing {
    scenarios: Vec<Entry>,
    faults: Vec<Entry>,
}

/// Lists what runs can begin with.
pub(crate) fn list(args: &ScenariosArgs) -> Result<Ending, String> {
    if let Some(shown) = args.show {
        let text = match shown {
            Shown::Named(named) => start(named)?,
            Shown::Swarm(seed) => swarm::draw(seed).to_text().map_err(|error| error.to_string())?,
        };
        print!("{text}");
        return Ok(Ending::Good);
    }
    let scenarios = NAMED.iter().map(|s| Entry { name: s.name.into(), summary: s.summary.into() }).collect();
    let faults = Preset::value_variants().iter().filter_map(|preset| {
        let value = preset.to_possible_value()?;
        let summary = value.get_help().map(ToString::to_string).unwrap_or_default();
        Some(Entry { name: value.get_name().into(), summary })
    });
    let listing = Listing { scenarios, faults: faults.collect() };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&listing).map_err(|error| error.to_string())?);
        return Ok(Ending::Good);
    }
    for (heading, flag, entries) in
        [("scenario", "--scenario", &listing.scenarios), ("faults", "--faults", &listing.faults)]
    {
        let mut shown = table(&[heading, &format!("what it is (use with {flag})")]);
        for entry in entries {
            shown.add_row([&entry.name, &entry.summary]);
        }
        println!("{shown}\n");
    }
    Ok(Ending::Good)
}

/// A scenario as a file to start from: what it is now, and all that can be said besides.
fn start(named: NamedScenario) -> Result<String, String> {
    let case = Case {
        seed: 1,
        scenario: Some(ScenarioSpec { name: named.name.into(), ..ScenarioSpec::default() }),
        faults: FaultConfig::light_chaos(),
        workload: Workload::new(30, SimDuration::from_secs(3)),
        ..Case::default()
    };
    let text = case.to_text().map_err(|error| error.to_string())?;
    let (settings, sections) = text.split_once("\n[").unwrap_or((&text, ""));
    Ok(format!("# {}: {}.\n{HEAD}\n\n{settings}{BODY}\n[{sections}", named.name, named.summary))
}

const HEAD: &str = "\
# Run it with `syncline run FILE`, many seeds of it with `syncline sweep --case FILE`.
# What is left out has its default; flags have the last word. Lines that begin with #: say more once
# that is taken away; those with #| replace the scenario.";

const BODY: &str = r##"
# When the run stops, converged or not, and for how long new things break by chance.
#: max_time = "60s"
#: chaos_for = "20s"

# How many contexts each node keeps; writes of the workload go to any of them.
#: contexts = 2

# mesh, ring, star or line; adaptive or table; a protocol that sessions run wherever it can be run.
#: topology = "ring"
#: selection = "table"
#: protocol = "bloom_filter"

# What is done to frames: drop, pass, duplicate, corrupt, reset or { delay = "5ms" }. Kinds are delta,
# heartbeat, delta_fetch, handshake, delta_sync, exchange and snapshot.
#: rules = [
#:     { do = "drop", from = "alice", to = "bob", kinds = ["handshake"], since = "1s", until = "2s" },
#:     { do = { delay = "40ms" }, least_bytes = 1000, after = 2, one_in = 3, at_most = 9 },
#: ]

# What happens when. A node crashes now, or in its next step: before_commit, after_commit,
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

# What links do to single frames, counted from 1 along each link: lost, takes, again (it arrives twice) or
# flipped (a bit).
#: frames = [
#:     { from = "alice", to = "bob", frame = 3, lost = true },
#:     { from = "alice", to = "bob", frame = 4, takes = "250ms", again = "300ms", flipped = 77 },
#: ]

# Instead of [scenario], the nodes one by one, with what all begin with and what each has besides; then what
# it has in its second context, its third and so on.
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
    fn a_file_to_start_from_is_a_case_with_and_without_what_is_commented_out() {
        for named in NAMED {
            let text = start(named).unwrap();
            let plain: Case = text.parse().unwrap();
            assert_eq!(plain.scenario.as_ref().unwrap().name, named.name);
            let more: Case = text.replace("#: ", "").parse().unwrap();
            assert_eq!((more.script.len(), more.rules.len(), more.frames.len()), (7, 2, 2));
            assert_eq!((plain.contexts, more.contexts), (1, 2));
            assert_eq!(more.faults, plain.faults);
        }
        let text = start(NAMED[0]).unwrap();
        let (before, _) = text.split_once("[faults]").unwrap();
        let nodes: Case = before.replace("#: ", "").replace("#| ", "").parse().unwrap();
        assert_eq!((nodes.nodes.len(), nodes.script.len()), (3, 7));
    }
}
