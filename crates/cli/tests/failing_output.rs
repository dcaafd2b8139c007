//! Output that cannot be written: a pipe that its reader has closed, and a full disk.
#![cfg(target_os = "linux")]

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("failing-output").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn syncline(place: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.current_dir(place).args(args).stdin(Stdio::null());
    command
}

/// A pipe that nobody reads any more.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").expect("a full device")
}

/// Puts a store, a failing case and the report of a shard where the commands run. Gives the paths of the first two.
fn prepare(place: &Path) -> (String, String) {
    let case = "cases/max-time-5.toml".to_owned();
    for args in [
        &["run", "--seed", "3", "--keep", "store"][..],
        &["run", "--seed", "5", "--max-time", "20ms", "--write-for", "10ms", "--cases", "cases"],
        &["sweep", "--seeds", "0..2", "--faults", "heavy", "--shard", "1/1", "--report", "shard.json"],
    ] {
        syncline(place, args).output().expect("the command starts");
    }
    assert!(place.join(&case).is_file());
    ("store/alice".to_owned(), case)
}

/// Every command that prints, in each of its forms.
fn printing<'a>(store: &'a str, case: &'a str) -> Vec<Vec<&'a str>> {
    vec![
        vec!["--help"],
        vec!["--version"],
        vec!["sweep", "--help"],
        vec!["run", "--seed", "1"],
        vec!["run", "--seed", "1", "--json"],
        vec!["run", "--seed", "1", "--trace"],
        vec!["run", "--seed", "1", "--follow"],
        vec!["run", "--seed", "1", "--trace-only"],
        vec!["run", "--until-failure", "--max-time", "20ms", "--write-for", "10ms"],
        vec!["sweep", "--seeds", "0..3", "--faults", "heavy"],
        vec!["sweep", "--seeds", "0..3", "--json"],
        vec!["sweep", "--seeds", "0..2", "--protocol", "each"],
        vec!["merge", "shard.json"],
        vec!["merge", "shard.json", "--json"],
        vec!["replay", case],
        vec!["replay", case, "--json"],
        vec!["shrink", case, "--runs", "5"],
        vec!["shrink", case, "--runs", "5", "--json"],
        vec!["shrink", case, "--runs", "5", "--rust"],
        vec!["compare", "-n", "50", "-d", "5", "--explain"],
        vec!["compare", "-n", "50", "-d", "5", "--json"],
        vec!["view", "--seed", "1", "--out", "-"],
        vec!["view", "--seed", "1"],
        vec!["view", "--seed", "1", "--format", "shiviz", "--out", "-"],
        vec!["explore", "--nodes", "2", "--writes", "1"],
        vec!["explore", "--nodes", "2", "--writes", "1", "--json"],
        vec!["scenarios"],
        vec!["scenarios", "--json"],
        vec!["scenarios", "--show", "fresh"],
        vec!["verify", store],
        vec!["verify", store, "--json"],
        vec!["inspect", store],
        vec!["inspect", store, "--json"],
        vec!["completions", "bash"],
        vec!["man"],
    ]
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn no_command_panics_without_output() {
    let place = folder("printing");
    let (store, case) = prepare(&place);
    for args in printing(&store, &case) {
        let closed = syncline(&place, &args).stdout(closed_pipe()).output().expect("the command starts");
        assert_eq!(closed.status.code(), Some(141), "closed pipe, {args:?}: {}", said(&closed));
        assert!(!said(&closed).contains("error"), "closed pipe, {args:?}: {}", said(&closed));
        let full = syncline(&place, &args).stdout(full()).output().expect("the command starts");
        assert_eq!(full.status.code(), Some(2), "full disk, {args:?}: {}", said(&full));
        let problem = "cannot write to the standard output: No space left on device";
        assert!(said(&full).contains(problem), "full disk, {args:?}: {}", said(&full));
    }
}

#[test]
fn closed_standard_error_is_no_panic() {
    let place = folder("complaints");
    for (args, code) in [(&["frobnicate"][..], 2), (&["run", "--loss", "2"], 2), (&["merge", "none.json"], 2)]
    {
        for stderr in [closed_pipe(), full().into()] {
            let status = syncline(&place, args).stdout(Stdio::null()).stderr(stderr).status();
            assert_eq!(status.expect("the command starts").code(), Some(code), "{args:?}");
        }
    }
}

#[test]
fn full_disk_is_named_error() {
    let place = folder("writing");
    let (_, case) = prepare(&place);
    let failing = ["--max-time", "20ms", "--write-for", "10ms"];
    let cases = [&["run", "--seed", "5", "--cases", "/dev/full"][..], &failing].concat();
    let sweep_cases = [&["sweep", "--seeds", "5", "--cases", "/dev/full"][..], &failing].concat();
    let writing: [(&[&str], &str); 9] = [
        (&["view", "--seed", "1", "--out", "/dev/full"], "No space left on device"),
        (&["shrink", &case, "--runs", "9", "--output", "/dev/full"], "No space left on device"),
        (&["replay", &case, "--pin", "/dev/full"], "No space left on device"),
        (&["sweep", "--seeds", "0..2", "--shard", "1/1", "--report", "/dev/full"], "No space left on device"),
        (&["compare", "-n", "50", "-d", "5", "--plot", "/dev/full"], "cannot make the folder /dev/full"),
        (&["man", "--to", "/dev/full"], "cannot write the pages to /dev/full"),
        (&["run", "--seed", "1", "--keep", "/dev/full"], "cannot write the states to /dev/full"),
        (&cases, "cannot write the case /dev/full/"),
        (&sweep_cases, "cannot write the case /dev/full/"),
    ];
    for (args, problem) in writing {
        let output = syncline(&place, args).output().expect("the command starts");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(problem), "{args:?}: {}", said(&output));
    }
    // A device has no end to read to.
    let output = syncline(&place, &["run", "--case", "/dev/full"]).output().expect("the command starts");
    assert!(said(&output).contains("cannot read the case /dev/full"), "{}", said(&output));
    assert!(!File::open("/dev/full").expect("it is there").metadata().expect("a device").is_file());
}
