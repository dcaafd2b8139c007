//! The report of a verification.

use crate::error::CommandError;
use crate::output::text::{grouped, hex, numbers_from, table, verdict};
use crate::output::writer::Output;
use serde::Serialize;
use syncline_storage::Verification;

/// The result of a verification. The JSON keys are stable.
#[derive(Serialize)]
pub(crate) struct VerifyReport {
    pub(crate) sound: bool,
    /// Why the rows could not be compared, if they could not.
    error: Option<String>,
    stored_root: Option<String>,
    rebuilt_root: Option<String>,
    records: u64,
    /// How many rows were compared.
    rows: u64,
    wrong_rows: u64,
    /// The first of the wrong rows.
    wrong: Vec<WrongRow>,
}

/// A row that differs from the one that the records imply.
#[derive(Serialize)]
struct WrongRow {
    /// The key of the row, in hexadecimal digits.
    key: String,
    what: &'static str,
}

impl VerifyReport {
    /// The report of a comparison.
    pub(crate) fn of(found: &Verification) -> Self {
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
                .map(|row| WrongRow { key: hex(&row.key), what: row.mismatch.as_str() })
                .collect(),
        }
    }

    /// The report of a store that cannot be read.
    pub(crate) const fn failed(error: String) -> Self {
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

    /// Prints the counts, the first wrong rows, and the verdict.
    pub(crate) fn print(&self, out: &mut Output) -> Result<(), CommandError> {
        if let Some(error) = &self.error {
            return writeln!(out, "{}: {error}", verdict(false, "NOT SOUND"));
        }
        let mut figures = table(&["", ""]);
        figures.add_row(["stored root", self.stored_root.as_deref().unwrap_or_default()]);
        figures.add_row(["root rebuilt from the records", self.rebuilt_root.as_deref().unwrap_or_default()]);
        figures.add_row(["records", &grouped(self.records)]);
        figures.add_row(["rows compared", &grouped(self.rows)]);
        figures.add_row(["wrong rows", &grouped(self.wrong_rows)]);
        numbers_from(&mut figures, 1);
        writeln!(out, "{figures}\n")?;
        for wrong in &self.wrong {
            writeln!(out, "row {}: {}", wrong.key, wrong.what)?;
        }
        if self.wrong_rows > self.wrong.len() as u64 {
            writeln!(out, "… and {} more", self.wrong_rows - self.wrong.len() as u64)?;
        }
        if self.sound {
            writeln!(out, "{}: the stored rows are consistent with the records", verdict(true, "SOUND"))
        } else {
            writeln!(
                out,
                "{}: the stored rows are not consistent with the records",
                verdict(false, "NOT SOUND")
            )
        }
    }
}
