//! `syncline verify`.

use crate::Ending;
use crate::report::{grouped, numbers_from, table, verdict};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use syncline_disk::DiskStore;
use syncline_storage::{Verification, verify as verify_state};
use syncline_store::Store;

/// The flags of `verify`.
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyArgs {
    /// The folder of the store.
    path: PathBuf,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    json: bool,
}

/// What was found, as machines read it. Field names are stable.
#[derive(Serialize)]
struct VerifyReport {
    sound: bool,
    /// Why nothing could be compared, if so.
    error: Option<String>,
    stored_root: Option<String>,
    rebuilt_root: Option<String>,
    records: u64,
    rows: u64,
    wrong_rows: u64,
    /// The first few.
    wrong: Vec<Wrong>,
}

#[derive(Serialize)]
struct Wrong {
    key: String,
    what: &'static str,
}

impl VerifyReport {
    fn of(found: &Verification) -> Self {
        let hex = |key: &[u8]| key.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            sound: found.is_sound(),
            error: None,
            stored_root: Some(format!("{:#}", found.stored.root)),
            rebuilt_root: Some(format!("{:#}", found.rebuilt_root)),
            records: found.stored.records,
            rows: found.rows,
            wrong_rows: found.mismatched_rows,
            wrong: found
                .mismatches
                .iter()
                .map(|row| Wrong { key: hex(&row.key), what: row.mismatch.as_str() })
                .collect(),
        }
    }

    const fn failed(error: String) -> Self {
        Self {
            sound: false,
            error: Some(error),
            stored_root: None,
            rebuilt_root: None,
            records: 0,
            rows: 0,
            wrong_rows: 0,
            wrong: Vec::new(),
        }
    }
}

/// Verifies a store.
pub(crate) fn verify(args: &VerifyArgs) -> Result<Ending, String> {
    if !args.path.join("rows").is_dir() {
        return Err(format!("there is no store at {}", args.path.display()));
    }
    let opened = DiskStore::open_existing(&args.path).map_err(|error| error.to_string());
    let found = opened.and_then(|store| verify_state(&store.view()).map_err(|error| error.to_string()));
    let report = found.as_ref().map_or_else(|error| VerifyReport::failed(error.clone()), VerifyReport::of);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?);
    } else {
        print(&report);
    }
    Ok(if report.sound { Ending::Good } else { Ending::Finding })
}

fn print(report: &VerifyReport) {
    if let Some(error) = &report.error {
        println!("{}: {error}", verdict(false, "NOT SOUND"));
        return;
    }
    let mut figures = table(&["", ""]);
    figures.add_row(["stored root", report.stored_root.as_deref().unwrap_or_default()]);
    figures.add_row(["root of the records", report.rebuilt_root.as_deref().unwrap_or_default()]);
    figures.add_row(["records", &grouped(report.records)]);
    figures.add_row(["rows compared", &grouped(report.rows)]);
    figures.add_row(["rows that are wrong", &grouped(report.wrong_rows)]);
    numbers_from(&mut figures, 1);
    println!("{figures}\n");
    for wrong in &report.wrong {
        println!("row {}: {}", wrong.key, wrong.what);
    }
    if report.wrong_rows > report.wrong.len() as u64 {
        println!("… and {} more", report.wrong_rows - report.wrong.len() as u64);
    }
    let words = if report.sound { "SOUND" } else { "NOT SOUND" };
    println!(
        "{}: everything is {}what the records say",
        verdict(report.sound, words),
        if report.sound { "" } else { "not " }
    );
}
