//! The files and crates of the workspace.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

/// The folder of all crates.
pub(crate) fn crates() -> PathBuf {
    root().join("crates")
}

/// Every file under `folder` whose name ends in `ending`, build outputs left out, sorted.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(folder, ending, &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        if path.is_dir() && name != "target" && name != "node_modules" {
            collect(&path, ending, found);
        } else if path.is_file() && name.ends_with(ending) {
            found.push(path);
        }
    }
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `path` from the root of the workspace, with `/` on every system.
pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("a file of the workspace").to_string_lossy().replace('\\', "/")
}

/// A crate of the workspace.
pub(crate) struct Package {
    pub(crate) folder: PathBuf,
    /// What it depends on, dependencies of tests left out.
    pub(crate) dependencies: Vec<String>,
}

/// The crates by name.
pub(crate) fn packages() -> BTreeMap<String, Package> {
    let mut found = BTreeMap::new();
    for manifest in files(&crates(), "Cargo.toml") {
        let (name, dependencies) = parse_manifest(&read(&manifest));
        let folder = manifest.parent().expect("a folder").to_path_buf();
        assert!(!name.is_empty(), "{} names no package", manifest.display());
        found.insert(name, Package { folder, dependencies });
    }
    found
}

/// The name of a package, and what it depends on by the names of these packages. Reads the parts of a manifest that
/// matter here; this is no TOML parser.
fn parse_manifest(text: &str) -> (String, Vec<String>) {
    let mut name = String::new();
    let mut section = String::new();
    let mut dependencies = Vec::new();
    for line in text.lines().map(str::trim_start) {
        // The name of a dependency in this manifest may differ from that of its package.
        let renamed = line.split_once("package = \"").and_then(|(_, rest)| rest.split('"').next());
        if let Some(heading) = line.strip_prefix('[') {
            section = heading.trim_end().trim_end_matches(']').to_owned();
            dependencies.extend(dependency_of(&section).map(str::to_owned));
        } else if section == "package" && line.starts_with("name = ") {
            name = line["name = ".len()..].trim_matches('"').to_owned();
        } else if section == "dependencies" || section.ends_with(".dependencies") {
            let dependency = line.split(['.', ' ', '=', '#']).next().filter(|name| !name.is_empty());
            dependencies.extend(renamed.or(dependency).map(str::to_owned));
        } else if dependency_of(&section).is_some() {
            dependencies.extend(renamed.map(str::to_owned));
        }
    }
    (name, dependencies)
}

/// The dependency of a heading like `dependencies.name`, of one target or of all.
fn dependency_of(section: &str) -> Option<&str> {
    let (before, name) = section.rsplit_once("dependencies.")?;
    (before.is_empty() || before.ends_with('.')).then_some(name)
}

#[test]
fn dependencies_of_every_form_are_found() {
    let manifest = "[package]\nname = \"p\"\n[dependencies]\na.workspace = true\nb = { package = \"c\", path = \"..\" }\n\
                    [dependencies.d]\npath = \"..\"\n[target.'cfg(unix)'.dependencies.e]\npackage = \"f\"\n\
                    [target.'cfg(unix)'.dependencies]\ng = \"1\"\n[dev-dependencies]\nh = \"1\"\n[dev-dependencies.i]\n";
    let (name, dependencies) = parse_manifest(manifest);
    assert_eq!((name.as_str(), dependencies.join(" ").as_str()), ("p", "a c d e f g"));
}

/// Compares the reviewed list in `crates/house` with what the tree gives; writes it anew if asked to.
pub(crate) fn list(file: &str, from_tree: impl Fn(&str) -> String) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let stored = fs::read_to_string(&path).unwrap_or_default();
    if std::env::var_os("SYNCLINE_UPDATE_HOUSE").is_none() {
        return stored;
    }
    let text = from_tree(&stored);
    fs::write(&path, &text).expect("a list of crates/house");
    text
}

/// How a failed comparison is resolved.
pub(crate) const UPDATE: &str = "If this is meant, write the list anew with\n  \
     SYNCLINE_UPDATE_HOUSE=1 cargo test -p syncline-house\nread the difference, and replace each TODO with a reason.";

/// Whether an exception in a list is explained.
pub(crate) fn is_reason(text: &str) -> bool {
    !text.is_empty() && !text.starts_with("TODO")
}
