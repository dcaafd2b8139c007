//! Case files.

use crate::report::typed;
use crate::spec::quoted;
use std::path::{Path, PathBuf};
use sync_sim::case::{Case, Class};

/// Where findings go if nothing else is said.
pub(crate) const FOLDER: &str = "syncline-cases";

/// Reads a case.
pub(crate) fn load(path: &Path) -> Result<Case, String> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("cannot read the case {shown}: {error}"))?;
    text.parse().map_err(|error| format!("in {shown}: {error}"))
}

/// Writes a case.
pub(crate) fn save(case: &Case, path: &Path) -> Result<(), String> {
    let text = case.to_text().map_err(|error| error.to_string())?;
    let written =
        path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, text));
    written.map_err(|error| format!("cannot write the case {}: {error}", path.display()))
}

/// Writes a case that was found to fail, under a name that says how. Another case of that name stays.
pub(crate) fn keep(case: Case, class: &Class, folder: &Path) -> Result<PathBuf, String> {
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

/// What can be done with a case file, as the user would type it.
pub(crate) fn offers(path: &str) -> String {
    let command = |name: &str| typed(&format!("syncline {name} {}", quoted(path)));
    format!("  replay it with: {}\n  make it small with: {}", command("replay"), command("shrink"))
}
