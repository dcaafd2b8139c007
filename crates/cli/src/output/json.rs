//! Reports as JSON on the standard output.

use serde::Serialize;

/// Prints a report, indented and with a newline at the end.
pub(crate) fn print(report: &impl Serialize) -> Result<(), String> {
    println!("{}", serde_json::to_string_pretty(report).map_err(|error| error.to_string())?);
    Ok(())
}
