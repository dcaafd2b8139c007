//! `syncline verify`.

use crate::commands::Ending;
use crate::error::CommandError;
use crate::flags::VerifyArgs;
use crate::output::json;
use crate::output::verify_report::VerifyReport;
use crate::output::writer::Output;
use syncline_disk::DiskStore;
use syncline_storage::{StorageError, verify as verify_rows};
use syncline_store::StoreError;

/// Rebuilds the derived rows of a store from its records, and compares them with the stored rows. The store is not
/// changed, and need not be writable.
pub(crate) fn verify(args: &VerifyArgs, out: &mut Output) -> Result<Ending, CommandError> {
    let found = DiskStore::open_read_only(&args.path)
        .map_err(StorageError::from)
        .and_then(|store| verify_rows(&store.view()));
    let report = match found {
        Ok(found) => VerifyReport::of(&found),
        // Damage is a finding. Any other error says nothing about the store.
        Err(
            error @ (StorageError::Store(StoreError::Corrupt { .. })
            | StorageError::Row { .. }
            | StorageError::Index { .. }),
        ) => VerifyReport::failed(error.to_string()),
        Err(error) => return Err(error.to_string().into()),
    };
    if args.json {
        json::print(&report, out)?;
    } else {
        report.print(out)?;
    }
    Ok(Ending::of(report.sound))
}
