//! `syncline scenarios`.

use crate::Ending;
use crate::options::Preset;
use crate::report::table;
use clap::{Args, ValueEnum};
use serde::Serialize;
use sync_sim::scenarios::NAMED;

/// The flags of `scenarios`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScenariosArgs {
    /// Print the list as JSON, and nothing else.
    #[arg(long)]
    json: bool,
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
