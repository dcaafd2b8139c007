//! The lints against nondeterminism and against printing that panics work: what they forbid, planted into a small
//! crate, fails.

use crate::source::{code, without_tests};
use crate::tree::{crates, files, read, relative};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The source of the planted crate, and the message that must come; `None` if it must pass.
const PLANTED: [(&str, &str, Option<&str>); 3] = [
    ("sound", "pub fn f() -> std::collections::BTreeMap<u8, u8> { std::collections::BTreeMap::new() }", None),
    (
        "map",
        "pub fn f() -> std::collections::HashMap<u8, u8> { std::collections::HashMap::new() }",
        Some("disallowed type `std::collections::HashMap`"),
    ),
    (
        "clock",
        "pub fn f() -> std::time::Instant { std::time::Instant::now() }",
        Some("disallowed method `std::time::Instant::now`"),
    ),
];

/// The folders whose crates must be deterministic; the settings lie in each.
fn deterministic() -> Vec<PathBuf> {
    ["core", "sim"].map(|name| crates().join(name)).into_iter().filter(|path| path.is_dir()).collect()
}

/// Runs clippy on a crate of `source` alone, with the settings of `settings`: whether it passes, and its output.
fn clippy(folder: &Path, settings: &Path, source: &str) -> (bool, String) {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder.join("src")).expect("a folder");
    // A workspace of its own: the folder lies in ours.
    let manifest = "[workspace]\n[package]\nname = \"planted\"\nversion = \"0.0.0\"\nedition = \"2024\"\n";
    fs::write(folder.join("Cargo.toml"), manifest).expect("a manifest");
    fs::write(folder.join("clippy.toml"), read(settings)).expect("settings");
    fs::write(folder.join("src/lib.rs"), source).expect("a source");
    let run = Command::new(env!("CARGO"))
        .args(["clippy", "--offline", "--quiet", "--", "-D", "warnings"])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("CARGO_TERM_COLOR", "never")
        // Those of an outer clippy or coverage run are not meant for this crate.
        .env_remove("RUSTFLAGS")
        .env_remove("CLIPPY_ARGS")
        .env_remove("CLIPPY_CONF_DIR")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .output()
        .expect("cargo clippy runs");
    (run.status.success(), String::from_utf8_lossy(&run.stderr).into_owned())
}

/// Asserts that a source passes with the settings of `of`, or fails with the message.
fn assert_planted(of: &str, settings: &Path, name: &str, source: &str, message: Option<&str>) {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted").join(format!("{of}-{name}"));
    let (passes, output) = clippy(&place, settings, source);
    match message {
        None => assert!(passes, "{of}, {name}: {output}"),
        Some(message) => assert!(!passes && output.contains(message), "{of}, {name}: {output}"),
    }
}

#[test]
fn planted_nondeterminism_is_refused() {
    let folders = deterministic();
    assert!(!folders.is_empty());
    for folder in folders {
        let settings = folder.join("clippy.toml");
        assert!(settings.is_file(), "{} has no clippy.toml", folder.display());
        let of = folder.file_name().expect("a name").to_string_lossy().into_owned();
        for (name, source, message) in PLANTED {
            assert_planted(&of, &settings, name, source, message);
        }
    }
}

/// Sources that may use what the lints forbid, each with the reason.
const EXCEPTED: [(&str, &str); 2] = [
    ("crates/sim/facade/tests/canaries.rs", "reports the real time of a measurement; no run depends on it"),
    ("crates/sim/search/src/test_harness.rs", "the edge to `cargo test`; no run depends on it"),
];

/// The lints, and the groups that contain them.
const SWITCHES: [&str; 5] = [
    "clippy::disallowed_methods",
    "clippy::disallowed_types",
    "clippy::disallowed_macros",
    "clippy::style",
    "clippy::all",
];

#[test]
fn no_source_turns_the_lints_off() {
    let mut found = Vec::new();
    for folder in deterministic() {
        for path in files(&folder, ".rs") {
            let text = code(&read(&path));
            if SWITCHES.iter().any(|lint| text.contains(lint)) {
                found.push(relative(&path));
            }
        }
    }
    let excepted = EXCEPTED.map(|(file, _)| file.to_owned());
    assert_eq!(found, excepted, "the sources that name a lint against nondeterminism");
}

/// Tests read the environment to know whether to rewrite what they compare with; what is tested does not.
#[test]
fn no_source_reads_the_environment() {
    let mut found = Vec::new();
    for folder in deterministic() {
        for path in files(&folder, ".rs") {
            let (text, _) = without_tests(&code(&read(&path)));
            let file = relative(&path);
            if file.contains("/src/") && text.contains("var_os") {
                found.push(file);
            }
        }
    }
    assert_eq!(found, [""; 0], "pass the value as an argument");
}

#[test]
fn no_deeper_settings_replace_these() {
    // Clippy reads the first settings that it finds from a crate upwards.
    for folder in deterministic() {
        let found = files(&folder, "clippy.toml");
        assert_eq!(
            found,
            [folder.join("clippy.toml")],
            "one clippy.toml for all crates of {}",
            folder.display()
        );
    }
}

#[test]
fn planted_printing_is_refused() {
    let settings = crates().join("cli").join("clippy.toml");
    for (name, source, message) in [
        ("written", "pub fn f() { let _ = std::io::Write::write_all(&mut std::io::stdout(), b\"\"); }", None),
        ("printed", "pub fn f() { println!(\"text\"); }", Some("disallowed macro `std::println`")),
        ("complained", "pub fn f() { eprintln!(\"text\"); }", Some("disallowed macro `std::eprintln`")),
    ] {
        assert_planted("cli", &settings, name, source, message);
    }
}
