//! Dependencies between crates point in one direction, and heavy libraries stay where they belong.

use crate::tree::packages;
use std::collections::BTreeMap;

/// A layer of the house: crates, each with the crates of ours that it may depend on. A crate may only depend on
/// crates of lower layers, or on earlier ones of its own.
type Layer = &'static [(&'static str, &'static [&'static str])];

const LAYERS: [(&str, Layer); 4] = [
    (
        "core: the replica and all below it, a function of its arguments",
        &[
            ("syncline-types", &[]),
            ("syncline-crdt", &["syncline-types"]),
            ("syncline-store", &[]),
            ("syncline-storage", &["syncline-types", "syncline-crdt", "syncline-store"]),
            ("syncline-sync", &["syncline-types", "syncline-store", "syncline-storage"]),
            (
                "syncline-replica",
                &["syncline-types", "syncline-crdt", "syncline-store", "syncline-storage", "syncline-sync"],
            ),
        ],
    ),
    (
        "shell: one real medium each",
        &[
            ("syncline-disk", &["syncline-types", "syncline-store", "syncline-storage"]),
            ("syncline-tcp", &["syncline-types", "syncline-sync"]),
            ("syncline-keys", &["syncline-sync"]),
        ],
    ),
    (
        "sim: the simulator; only the engine can be used without replicas",
        &[
            ("sync-sim-test", &[]),
            ("sync-sim-engine", &["syncline-types"]),
            ("sync-sim-cluster", &[CORE, "sync-sim-engine"]),
            ("sync-sim-explore", &[CORE, "sync-sim-engine", "sync-sim-cluster"]),
            ("sync-sim-report", &[CORE, "sync-sim-engine", "sync-sim-cluster"]),
            ("sync-sim-search", &[CORE, "sync-sim-engine", "sync-sim-cluster", "sync-sim-report"]),
            (
                "sync-sim",
                &[
                    CORE,
                    "sync-sim-engine",
                    "sync-sim-cluster",
                    "sync-sim-explore",
                    "sync-sim-report",
                    "sync-sim-search",
                    "sync-sim-test",
                ],
            ),
        ],
    ),
    (
        "what people run",
        &[
            (
                "syncline",
                &["sync-sim", "syncline-disk", "syncline-storage", "syncline-store", "syncline-types"],
            ),
            ("syncline-house", &[]),
        ],
    ),
];

/// Stands for all crates of the first layer.
const CORE: &str = "core";

/// What the simulator's tree must never link: heavy libraries belong in the shell.
const SHELL_ONLY: [&str; 9] =
    ["libp2p", "wasmtime", "wasmi", "rocksdb", "redb", "fjall", "tokio", "axum", "ed25519-dalek"];

/// Each crate with the crates that it may depend on.
fn table() -> BTreeMap<&'static str, Vec<&'static str>> {
    let core: Vec<&str> = LAYERS[0].1.iter().map(|(name, _)| *name).collect();
    let mut table: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, allowed) in LAYERS.iter().flat_map(|(_, layer)| *layer) {
        let allowed = allowed.iter().flat_map(|one| if *one == CORE { core.clone() } else { vec![*one] });
        let allowed: Vec<&str> = allowed.collect();
        for one in &allowed {
            assert!(
                table.contains_key(one),
                "{name} may only depend on crates above it in the table: not {one}"
            );
        }
        assert!(table.insert(name, allowed).is_none(), "{name} is in the table twice");
    }
    table
}

#[test]
fn dependencies_point_down() {
    let packages = packages();
    let table = table();
    for (name, package) in &packages {
        let allowed = table.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in the table"));
        for dependency in package.dependencies.iter().filter(|one| packages.contains_key(*one)) {
            assert!(allowed.contains(&dependency.as_str()), "{name} may not depend on {dependency}");
        }
    }
    for name in table.keys() {
        assert!(packages.contains_key(*name), "{name} is in the table and does not exist");
    }
}

#[test]
fn heavy_libraries_stay_in_the_shell() {
    let shell: Vec<&str> = LAYERS[1].1.iter().map(|(name, _)| *name).collect();
    for (name, package) in packages().iter().filter(|(name, _)| !shell.contains(&name.as_str())) {
        for heavy in SHELL_ONLY {
            assert!(!package.dependencies.iter().any(|one| one == heavy), "{name} may not link {heavy}");
        }
    }
}
