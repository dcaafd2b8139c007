//! Runs in child processes: a run that ends its process is a finding with its seed, and the sweep goes on.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const SYNCLINE: &str = env!("CARGO_BIN_EXE_syncline");

/// Keys that begin each other: as deep a tree as so many keys can make.
const DEEP: &str = r#"
max_time = "20s"
nodes = [{ name = "alice" }, { name = "bob" }]

[workload]
grows = "prefixes"
writes = 12
operations = 50
over = "2s"
"#;

/// The least that the command takes: less than any run needs.
const NO_STACK: [&str; 2] = ["--stack-kib", "64"];

fn folder(name: &str) -> PathBuf {
    let at = Path::new(env!("CARGO_TARGET_TMPDIR")).join("isolation").join(name);
    let _ = std::fs::remove_dir_all(&at);
    std::fs::create_dir_all(&at).expect("a folder");
    at
}

fn run(at: &Path, args: &[&str]) -> Output {
    Command::new(SYNCLINE).current_dir(at).args(args).output().expect("the command starts")
}

fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn overflow_is_found_replayed_and_shrunk() {
    let at = folder("overflow");
    let case = "deep.toml";
    std::fs::write(at.join(case), format!("found = \"aborted: stack overflow\"\n{DEEP}")).expect("a file");
    let sweep = ["sweep", "--case", case, "--seeds", "3..5", "--isolate", "--cases", "found"];
    let sweep = run(&at, &[&sweep[..], &NO_STACK].concat());
    let text = text_of(&sweep);
    assert_eq!(sweep.status.code(), Some(1), "{text}");
    assert!(
        text.contains("seed 3 ended_process")
            && text.contains("aborted: stack overflow")
            && text.contains("failed 1 more"),
        "{text}"
    );
    assert!(at.join("found").exists(), "{text}");
    let replay = run(&at, &["replay", case, NO_STACK[0], NO_STACK[1]]);
    assert_eq!(replay.status.code(), Some(1), "{}", text_of(&replay));
    assert!(text_of(&replay).contains("AS IT WAS FOUND"), "{}", text_of(&replay));
    let shrink = ["shrink", case, "--runs", "20", "-o", "small.toml"];
    let shrunk = run(&at, &[&shrink[..], &NO_STACK].concat());
    assert_eq!(shrunk.status.code(), Some(0), "{}", text_of(&shrunk));
    let small = std::fs::read_to_string(at.join("small.toml")).expect("the small case");
    assert!(small.contains("aborted: stack overflow"), "{small}");
}

/// No recursion of the replicas has a depth that comes from data. A tree of these keys once overflowed a stack of
/// this size.
#[test]
fn keys_that_begin_each_other_need_no_stack() {
    let at = folder("deep");
    std::fs::write(at.join("deep.toml"), DEEP).expect("a file");
    let sweep = ["sweep", "--case", "deep.toml", "--seeds", "3..5", "--isolate", "--stack-kib", "256"];
    let sweep = run(&at, &sweep);
    assert_eq!(sweep.status.code(), Some(0), "{}", text_of(&sweep));
}

/// A state that takes seconds to build, and hundreds of megabytes.
const HUGE: &str = "scenario = { name = \"diverged\", nodes = 2, entities = 500000 }\n";

#[test]
fn limits_of_memory_and_time_hold() {
    let at = folder("limits");
    std::fs::write(at.join("huge.toml"), HUGE).expect("a file");
    let sweep = ["sweep", "--case", "huge.toml", "--seeds", "1", "--isolate"];
    let text = text_of(&run(&at, &[&sweep[..], &["--memory-mib", "64"]].concat()));
    assert!(text.contains("killed: memory"), "{text}");
    let text = text_of(&run(&at, &[&sweep[..], &["--cpu-seconds", "1"]].concat()));
    assert!(text.contains("the process of the run ended: hung"), "{text}");
}

#[test]
fn isolation_changes_no_result() {
    let at = folder("same");
    let sweep = |isolate: &str| {
        let output = run(&at, &["sweep", "--seeds", "0..70", "--check-every", "50", "--json", isolate]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.starts_with('{'), "{}", text_of(&output));
        let lines =
            text.lines().filter(|line| !line.contains("\"second") && !line.contains("\"seeds_per_second"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let apart = sweep("--isolate=true");
    let within = sweep("--isolate=false");
    let differs = apart.iter().zip(&within).find(|(apart, within)| apart != within);
    assert!(differs.is_none() && apart.len() == within.len(), "{differs:?}");
}
