//! Runs in child processes: a run that ends its process is a finding with its seed, and the sweep goes on.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

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
    // The commands that the sweep prints find the same under the same limits.
    let again = printed(&at, &text, "repeat it with: ");
    assert!(again.contains("seed 3 ended_process") && again.contains("stack overflow"), "{again}");
    let replay = printed(&at, &text, "replay it with: ");
    assert!(replay.contains("\nAS IT WAS FOUND: aborted: stack overflow"), "{replay}");
    assert!(text.contains("minimize it with: ") && text.trim_end().ends_with(" --stack-kib 64"), "{text}");
    let replay = run(&at, &["replay", case, NO_STACK[0], NO_STACK[1], "--pin", "pinned.toml"]);
    assert_eq!(replay.status.code(), Some(1), "{}", text_of(&replay));
    let pinned = std::fs::read_to_string(at.join("pinned.toml")).expect("the pinned case");
    assert!(pinned.contains("aborted: stack overflow"), "{pinned}");
    let shrink = ["shrink", case, "--runs", "20", "-o", "small.toml"];
    let shrunk = run(&at, &[&shrink[..], &NO_STACK].concat());
    assert_eq!(shrunk.status.code(), Some(0), "{}", text_of(&shrunk));
    let small = std::fs::read_to_string(at.join("small.toml")).expect("the small case");
    assert!(small.contains("aborted: stack overflow"), "{small}");
    let replay = printed(&at, &text_of(&shrunk), "replay it with: ");
    assert!(replay.contains("\nAS IT WAS FOUND"), "{replay}");
}

/// Runs the command that a text shows after these words, and gives what it says.
fn printed(at: &Path, text: &str, after: &str) -> String {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(after));
    let words: Vec<&str> = line.unwrap_or_else(|| panic!("no {after:?} in {text}")).split(' ').collect();
    text_of(&run(at, words.get(1..).expect("a command")))
}

/// A limit is never ignored: it is given to a process of its own, or refused.
#[test]
fn limits_hold_without_isolate() {
    let at = folder("given");
    std::fs::write(at.join("deep.toml"), DEEP).expect("a file");
    let with_limit = |args: &[&str]| run(&at, &[args, &NO_STACK].concat());
    let replay = text_of(&with_limit(&["replay", "deep.toml"]));
    assert!(
        replay.contains("NOT CONVERGED: the process of the run ended: aborted: stack overflow"),
        "{replay}"
    );
    let wide = text_of(&run(&at, &["replay", "deep.toml", "--stack-kib", "2048"]));
    assert!(wide.starts_with("CONVERGED after "), "{wide}");
    let shrunk = text_of(&with_limit(&["shrink", "deep.toml", "--runs", "5"]));
    assert!(shrunk.starts_with("aborted: stack overflow"), "{shrunk}");
    let sweep = ["sweep", "--case", "deep.toml", "--seeds", "3"];
    let said = text_of(&with_limit(&sweep));
    assert!(said.contains("seed 3 ended_process"), "{said}");
    let within = with_limit(&[&sweep[..], &["--isolate=false"]].concat());
    assert_eq!(within.status.code(), Some(2), "{}", text_of(&within));
    assert!(text_of(&within).contains("leave out either --isolate=false or --stack-kib 64"));
    let run = text_of(&with_limit(&["run", "deep.toml"]));
    assert!(run.contains("unexpected argument '--stack-kib'"), "{run}");
}

/// The time of a search ends in the middle of a run, too.
#[test]
fn time_to_shrink_ends_a_run() {
    let at = folder("time");
    std::fs::write(at.join("huge.toml"), format!("found = \"hung\"\n{HUGE}")).expect("a file");
    let started = Instant::now();
    let shrunk = run(&at, &["shrink", "huge.toml", "--time", "500ms"]);
    let took = started.elapsed();
    assert_eq!(shrunk.status.code(), Some(2), "{}", text_of(&shrunk));
    assert!(text_of(&shrunk).contains("does not run to its end within 500ms"), "{}", text_of(&shrunk));
    assert!(took < Duration::from_secs(10), "{took:?}");
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
