//! Reports as JSON on the standard output.

use crate::error::CommandError;
use crate::output::writer::Output;
use serde::Serialize;

/// Prints a report, indented and with a newline at the end.
pub(crate) fn print(report: &impl Serialize, out: &mut Output) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(report).map_err(|error| error.to_string())?;
    writeln!(out, "{text}")
}
