//! Case files: reading them, and writing those of findings.

use crate::files;
use crate::output::text::{quoted, typed};
use std::path::{Path, PathBuf};
use sync_sim::case::{Case, Class};

/// The folder of findings unless `--cases` names another.
pub(crate) const FOLDER: &str = "syncline-cases";

/// The largest case file. A case of 10,000 nodes and 100,000 writes has a tenth of it.
const MAX_BYTES: u64 = 64 << 20;

/// Reads a case; `-` is the standard input. The error names the file and the place in it.
pub(crate) fn load(path: &Path) -> Result<Case, String> {
    if path == Path::new("-") {
        let text = files::read_input_at_most("the case", MAX_BYTES)?;
        return text.parse().map_err(|error| format!("in the standard input: {error}"));
    }
    let shown = path.display();
    let text = files::read_at_most(path, "the case", MAX_BYTES)?;
    text.parse().map_err(|error| format!("in {shown}: {error}"))
}

/// Writes a case, and the folders above it if they do not exist.
pub(crate) fn save(case: &Case, path: &Path) -> Result<(), String> {
    let text = case.to_text().map_err(|error| error.to_string())?;
    files::write(path, "the case", text.as_bytes())
}

/// Writes the case of a finding into `folder`, under a name made of the kind of failure, the protocol and the
/// seed. An existing file with a different case is not overwritten: a number is appended to the name of the
/// new file.
pub(crate) fn save_finding(case: Case, class: &Class, folder: &Path) -> Result<PathBuf, String> {
    let protocol = case.protocol.map_or_else(String::new, |kind| format!("-{kind}").to_lowercase());
    let name = format!("{}{protocol}-{}", class.slug(), case.seed);
    let case = Case { found: Some(class.clone()), ..case };
    let mut path = folder.join(format!("{name}.toml"));
    let mut copies = 2..;
    while load(&path).is_ok_and(|other| other != case) {
        path = folder.join(format!("{name}-{}.toml", copies.next().unwrap_or(0)));
    }
    save(&case, &path)?;
    Ok(path)
}

/// The command that runs a case file again, as the user would type it, with the flags of the limits under which it fails.
pub(crate) fn replay_step(path: &str, limits: &[String]) -> String {
    format!("  replay it with: {}", step("replay", path, limits))
}

/// The commands for the case file of a failure. See [`replay_step`].
pub(crate) fn failure_steps(path: &str, limits: &[String]) -> String {
    format!("{}\n  minimize it with: {}", replay_step(path, limits), step("shrink", path, limits))
}

/// A command for a case file, as the user would type it.
pub(crate) fn step(command: &str, path: &str, limits: &[String]) -> String {
    let flags: String = limits.iter().map(|flag| format!(" {flag}")).collect();
    typed(&format!("syncline {command} {}{flags}", quoted(path)))
}
