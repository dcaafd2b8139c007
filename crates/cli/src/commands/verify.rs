//! `syncline verify`.

use crate::commands::Ending;
use crate::error::CommandError;
use crate::flags::VerifyArgs;
use crate::output::json;
use crate::output::verify_report::VerifyReport;
use crate::output::writer::Output;
use syncline_disk::DiskStore;
use syncline_storage::verify as verify_rows;
use syncline_store::Store;

/// Rebuilds the derived rows of a store from its records, and compares them with the stored rows.
pub(crate) fn verify(args: &VerifyArgs, out: &mut Output) -> Result<Ending, CommandError> {
    if !args.path.join("rows").is_dir() {
        return Err(format!("there is no store at {}", args.path.display()).into());
    }
    let opened = DiskStore::open_existing(&args.path).map_err(|error| error.to_string());
    let found = opened.and_then(|store| verify_rows(&store.view()).map_err(|error| error.to_string()));
    // A store that does not open is a finding, not bad usage.
    let report = found.as_ref().map_or_else(|error| VerifyReport::failed(error.clone()), VerifyReport::of);
    if args.json {
        json::print(&report, out)?;
    } else {
        report.print(out)?;
    }
    Ok(Ending::of(report.sound))
}
