//! The house keeps its shape: who may import whom is a table, and files stay small.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each crate and the crates of ours that it may use. Dependencies point down this list only.
const MAY_IMPORT: [(&str, &[&str]); 12] = [
    ("syncline-types", &[]),
    ("syncline-crdt", &["syncline-types"]),
    ("syncline-store", &[]),
    ("syncline-storage", &["syncline-types", "syncline-crdt", "syncline-store"]),
    ("syncline-sync", &["syncline-types", "syncline-store", "syncline-storage"]),
    (
        "syncline-replica",
        &["syncline-types", "syncline-crdt", "syncline-store", "syncline-storage", "syncline-sync"],
    ),
    ("sync-sim-test", &[]),
    (
        "sync-sim",
        &[
            "syncline-types",
            "syncline-crdt",
            "syncline-store",
            "syncline-storage",
            "syncline-sync",
            "syncline-replica",
            "sync-sim-test",
        ],
    ),
    ("syncline-disk", &["syncline-types", "syncline-store", "syncline-storage"]),
    ("syncline-tcp", &["syncline-types", "syncline-sync"]),
    ("syncline-keys", &["syncline-sync"]),
    ("syncline", &["sync-sim", "syncline-disk", "syncline-storage", "syncline-store", "syncline-types"]),
];

/// What the simulator's tree must never link: heavy things belong in shell crates.
const NEVER_IN_CORE: [&str; 9] =
    ["libp2p", "wasmtime", "wasmi", "rocksdb", "redb", "fjall", "tokio", "axum", "ed25519-dalek"];

/// Crates that stand for one real thing each, which is theirs alone to link.
const SHELL: [&str; 3] = ["syncline-disk", "syncline-tcp", "syncline-keys"];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates/").to_path_buf()
}

fn files(under: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(under).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

/// Name and dependencies (those of tests left out) of each crate.
fn manifests() -> BTreeMap<String, Vec<String>> {
    let mut found = Vec::new();
    files(&crates(), "Cargo.toml", &mut found);
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a manifest");
        let (mut name, mut section, mut dependencies) = (String::new(), String::new(), Vec::new());
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix('[') {
                section = heading.trim_end_matches(']').to_owned();
            } else if section == "package" && name.is_empty() {
                if let Some(value) = line.strip_prefix("name = ") {
                    name = value.trim_matches('"').to_owned();
                }
            } else if section == "dependencies"
                && let Some(dependency) = line.split(['.', ' ', '=']).next()
                && !dependency.is_empty()
            {
                dependencies.push(dependency.to_owned());
            }
        }
        (name, dependencies)
    };
    found.iter().map(read).collect()
}

#[test]
fn dependencies_point_one_way() {
    let manifests = manifests();
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.into_iter().collect();
    for (name, dependencies) in &manifests {
        let allowed = allowed.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in the table"));
        for dependency in dependencies.iter().filter(|dependency| manifests.contains_key(*dependency)) {
            assert!(allowed.contains(&dependency.as_str()), "{name} may not import {dependency}");
        }
        for heavy in NEVER_IN_CORE.iter().filter(|_| !SHELL.contains(&name.as_str())) {
            assert!(
                !dependencies.iter().any(|dependency| dependency == heavy),
                "{name} may not link {heavy}"
            );
        }
    }
    assert_eq!(manifests.len(), MAY_IMPORT.len(), "every crate of the table exists");
}

#[test]
fn files_stay_under_six_hundred_lines() {
    let mut found = Vec::new();
    files(&crates(), ".rs", &mut found);
    assert!(found.len() > 50);
    for path in found {
        let lines = fs::read_to_string(&path).expect("a source file").lines().count();
        assert!(lines <= 600, "{} has {lines} lines", path.display());
    }
}
