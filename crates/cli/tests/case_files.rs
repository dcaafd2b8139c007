//! Case files on the command line: written by findings, replayed, shrunk, overridden by flags; resumed sweeps.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// An empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("case-files").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn syncline(at: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_syncline"))
        .current_dir(at)
        .args(args)
        .output()
        .expect("the command starts")
}

fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn json(at: &Path, args: &[&str]) -> Value {
    let output = syncline(at, args);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"))
}

fn refused(at: &Path, args: &[&str], words: &[&str]) {
    let output = syncline(at, args);
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{args:?} should mention {word:?}: {text}");
    }
}

/// A permanent partition: bob never reaches the others.
const LONELY: &str = r#"
    seed = 3
    max_time = "5s"
    script = [{ at = "20ms", partition = { groups = [["bob"], ["alice", "carol"]] } }]
    [scenario]
    [faults]
    message_loss_rate = 0.1
    [workload]
    writes = 20
"#;

#[test]
fn findings_leave_a_case_file() {
    let at = folder("found");
    let args = ["run", "--seed", "5", "--max-time", "20ms", "--write-for", "10ms", "--cases", "here"];
    let output = syncline(&at, &args);
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let file = "here/max-time-5.toml";
    assert!(text.contains(&format!("replay {file}")) && text.contains(&format!("shrink {file}")), "{text}");
    let found = json(&at, &[&args[..], &["--json"]].concat());
    assert_eq!(found["case"], file);
    let replayed = syncline(&at, &["replay", file]);
    assert_eq!(replayed.status.code(), Some(1));
    assert!(text_of(&replayed).contains("AS IT WAS FOUND: max_time"), "{}", text_of(&replayed));
    let again = json(&at, &["replay", file, "--json"]);
    assert_eq!(again["trace_digest"], found["trace_digest"]);

    let small = json(&at, &["shrink", file, "--json"]);
    assert_eq!((&small["class"], &small["finished"]), (&Value::from("max_time"), &Value::from(true)));
    assert!(small["causes"].as_u64() < Some(3) && small["from"]["writes"].as_u64() >= Some(30), "{small}");
    assert_eq!(small["case"], "here/max-time-5.small.toml");
    let output = syncline(&at, &["replay", "here/max-time-5.small.toml"]);
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
}

#[test]
fn converged_runs_leave_no_file() {
    let at = folder("clean");
    assert_eq!(syncline(&at, &["run", "--seed", "1"]).status.code(), Some(0));
    std::fs::write(at.join("a.toml"), "[scenario]\n").expect("a file");
    let replay = syncline(&at, &["replay", "a.toml"]);
    assert_eq!(replay.status.code(), Some(0));
    let said = text_of(&replay);
    assert!(said.contains("replay it with: ") && !said.contains("minimize it with: "), "{said}");
    refused(&at, &["shrink", "a.toml"], &["a.toml", "nothing to shrink"]);
    let left = std::fs::read_dir(&at).expect("a folder").count();
    assert_eq!(left, 1, "only the file that was there");
}

#[test]
fn shrink_prints_its_progress_and_test() {
    let at = folder("shrunk");
    std::fs::write(at.join("lonely.toml"), LONELY).expect("a file");
    let output = syncline(&at, &["shrink", "lonely.toml", "-o", "small.toml"]);
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for word in ["from 3 nodes", " writes", "to 2 nodes", "1 fault", " runs and ", " causes, ", " bytes"] {
        assert!(text.contains(word), "{word:?} in {text}");
    }
    let rust = syncline(&at, &["shrink", "lonely.toml", "--rust"]);
    assert!(
        text_of(&rust).starts_with("/// Found as `max_time`")
            && text_of(&rust).contains("#[test]\nfn no_longer_max_time()")
    );
    assert!(!text.contains("the search ended"), "{text}");
    let short = json(&at, &["shrink", "lonely.toml", "--runs", "9", "--json"]);
    assert_eq!((&short["finished"], &short["runs"]), (&Value::from(false), &Value::from(9)));
    let unfinished = short["unfinished"].as_array().expect("a list");
    assert_eq!(
        (&unfinished[0], unfinished.last()),
        (&"nodes".into(), Some(&"durations and gaps".into())),
        "{short}"
    );
    let text = text_of(&syncline(&at, &["shrink", "lonely.toml", "--runs", "9"]));
    assert!(text.contains("the search ended before these were done: nodes, what happens"), "{text}");
    // The case itself takes longer to run than the search may.
    let text = text_of(&syncline(&at, &["shrink", "lonely.toml", "--for", "1ms"]));
    assert!(text.contains("within 1ms") && text.contains("nothing was removed"), "{text}");
    let pinned = syncline(&at, &["replay", "lonely.toml", "--pin", "pinned.toml"]);
    assert_eq!(pinned.status.code(), Some(1));
    let text = std::fs::read_to_string(at.join("pinned.toml")).expect("a file");
    assert!(
        text.contains("lost = true") && text.contains("write = ") && !text.contains("loss_rate"),
        "{text}"
    );
}

#[test]
fn flags_override_a_case_file() {
    let at = folder("flags");
    std::fs::write(at.join("lonely.toml"), LONELY).expect("a file");
    let plain = json(&at, &["run", "lonely.toml", "--json"]);
    assert_eq!((&plain["seed"], &plain["stop"]), (&Value::from(3), &Value::from("max_time")));
    assert_eq!(plain["trace_digest"], json(&at, &["replay", "lonely.toml", "--json"])["trace_digest"]);
    let flags = ["--seed", "8", "--nodes", "5", "--topology", "ring", "--max-time", "9000ms", "--loss", "0"];
    let changed = json(&at, &[&["run", "--case", "lonely.toml", "--json"][..], &flags].concat());
    assert_eq!(
        (changed["nodes"].as_array().map(Vec::len), &changed["topology"]),
        (Some(5), &Value::from("ring"))
    );
    assert_eq!(changed["fates"]["dropped"]["loss"], Value::Null);
    assert_eq!(changed["virtual_time_us"].as_u64().map(|us| us / 1_000_000), Some(8));
    let line = changed["reproduce"].as_str().expect("a command");
    assert_eq!(
        line,
        "syncline run --seed 8 --case lonely.toml --nodes 5 --topology ring --loss 0 --max-time 9000ms"
    );
    let repeat: Vec<&str> = line.split(' ').skip(1).chain(["--json"]).collect();
    assert_eq!(json(&at, &repeat)["trace_digest"], changed["trace_digest"]);
    let swept = json(&at, &["sweep", "--case", "lonely.toml", "--seeds", "3..6", "--json"]);
    assert_eq!((&swept["seeds"], &swept["converged"]), (&Value::from(3), &Value::from(0)));
    assert_eq!(swept["failures"][0]["case"], "syncline-cases/max-time-3.toml");
    std::fs::write(at.join("own.toml"), "nodes = [{ name = \"a\" }]").expect("a file");
    refused(&at, &["run", "own.toml", "--nodes", "4"], &["--nodes", "one by one"]);
}

#[test]
fn until_failure_stops_at_first_failure() {
    let at = folder("until");
    // With so little time, some seeds converge and some do not.
    let args = [
        "run",
        "--until-failure",
        "--from",
        "2",
        "--max-time",
        "700ms",
        "--write-for",
        "10ms",
        "--writes",
        "4",
    ];
    let found = json(&at, &[&args[..], &["--json"]].concat());
    assert_eq!(found["stop"], "max_time");
    let seed = found["seed"].as_u64().expect("a seed");
    for before in 2..seed {
        let before = before.to_string();
        let args = ["run", "--seed", &before, "--max-time", "700ms", "--write-for", "10ms", "--writes", "4"];
        assert_eq!(syncline(&at, &args).status.code(), Some(0), "seed {before}");
    }
    let output = syncline(&at, &[&args[..], &["--shrink"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(text_of(&output).contains("as a test:"), "{}", text_of(&output));
    let small = format!("syncline-cases/max-time-{seed}.small.toml");
    assert!(at.join(&small).exists());
    // One document: the run, and in it the small case.
    let both = json(&at, &[&args[..], &["--shrink", "--json"]].concat());
    assert_eq!(
        (&both["stop"], &both["shrunk"]["class"]),
        (&Value::from("max_time"), &Value::from("max_time"))
    );
    assert_eq!(
        (&both["trace_digest"], &both["shrunk"]["case"]),
        (&found["trace_digest"], &Value::from(small))
    );
    let bytes = |key: &str| both["shrunk"][key].as_u64().expect("a number");
    assert!(bytes("to_bytes") < bytes("from_bytes"), "{both}");
    assert_eq!(found.get("shrunk"), None, "a run that is not shrunk has no such key");
}

#[test]
fn killed_sweeps_resume_to_equal_totals() {
    let at = folder("resumed");
    let args = ["sweep", "--seeds", "0..600", "--faults", "heavy", "--max-time", "5s", "--json"];
    let totals = |args: &[&str]| {
        let mut report = json(&at, args);
        let report = report.as_object_mut().expect("an object");
        report.remove("seconds");
        report.remove("seeds_per_second");
        report.clone()
    };
    let whole = totals(&args);
    assert!(whole["failures"].as_array().is_some_and(|failures| !failures.is_empty()), "some take longer");
    let resumable = [&args[..], &["--resume", "state.json", "--jobs", "2"]].concat();
    let mut child = Command::new(env!("CARGO_BIN_EXE_syncline"))
        .current_dir(&at)
        .args(&resumable)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the command starts");
    // Kill the sweep as soon as it has written a checkpoint.
    while !at.join("state.json").exists() && child.try_wait().expect("a child").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().expect("a child to kill");
    child.wait().expect("a child");
    let state: Value =
        serde_json::from_str(&std::fs::read_to_string(at.join("state.json")).expect("a state"))
            .expect("JSON");
    assert!(state["done"].as_u64() > Some(0));
    assert_eq!(totals(&resumable), whole);
    // All seeds are done: the sweep runs none again.
    assert_eq!(totals(&resumable), whole);
    refused(&at, &["sweep", "--seeds", "0..9", "--resume", "state.json"], &["state.json", "another sweep"]);
    refused(&at, &["sweep", "--protocol", "each", "--resume", "state.json"], &["--resume", "each"]);
    std::fs::write(at.join("state.json"), "{").expect("a file");
    refused(&at, &resumable, &["no state of a sweep"]);
}

#[test]
fn bad_case_files_get_precise_errors() {
    let at = folder("bad");
    let bad = |text: &str, words: &[&str]| {
        std::fs::write(at.join("bad.toml"), text).expect("a file");
        for command in [&["run", "bad.toml"][..], &["replay", "bad.toml"], &["shrink", "bad.toml"]] {
            refused(&at, command, &[&["bad.toml"][..], words].concat());
        }
        refused(&at, &["sweep", "--case", "bad.toml"], words);
    };
    bad("[scenario]\nnods = 3", &["line 2, column 1", "did you mean \"nodes\"?"]);
    bad("seed = true\n[scenario]", &["line 1, column 8", "whole number"]);
    bad("[scenario]\n[faults]\nduplicate_rate = 7.0", &["line 3, column 18", "between 0 and 1"]);
    bad("script = [{ at = \"1s\", join = \"bob\" }]\n[scenario]", &["two nodes are called \"bob\""]);
    bad("[scenario", &["line 1"]);
    let long = format!("[scenario]\nname = \"{}\" nods = 3", "x".repeat(10_000_000));
    std::fs::write(at.join("long.toml"), long).expect("a file");
    let text = text_of(&syncline(&at, &["replay", "long.toml"]));
    assert!(text.contains("line 2") && text.contains("…x") && text.len() < 2_000, "{} bytes", text.len());
    bad("", &["neither"]);
    refused(&at, &["replay", "nowhere.toml"], &["nowhere.toml", "cannot read"]);
    refused(&at, &["run", "--until-failure", "--seed", "3"], &["--until-failure", "--seed"]);
    refused(&at, &["scenarios", "--show", "frsh"], &["frsh", "fresh"]);
}

#[test]
fn scenario_files_equal_scenario_flags() {
    let at = folder("shown");
    let listing = json(&at, &["scenarios", "--json"]);
    for scenario in listing["scenarios"].as_array().expect("a list") {
        let name = scenario["name"].as_str().expect("a name");
        let shown = syncline(&at, &["scenarios", "--show", name]);
        assert_eq!(shown.status.code(), Some(0));
        std::fs::write(at.join("a.toml"), &shown.stdout).expect("a file");
        let from_file = json(&at, &["run", "a.toml", "--json"]);
        let from_flags = json(&at, &["run", "--seed", "1", "--scenario", name, "--json"]);
        assert_eq!(from_file["trace_digest"], from_flags["trace_digest"], "{name}");
    }
}

/// The counter goes on from its old count: a known finding.
const COUNTER: &str = include_str!("../../sim/search/known/recreate-counter.toml");

#[test]
fn known_findings_are_named_and_do_not_fail_a_sweep() {
    let at = folder("known");
    std::fs::write(at.join("counter.toml"), COUNTER).expect("a file");
    let run = json(&at, &["run", "counter.toml", "--json"]);
    assert_eq!((&run["converged"], &run["known"]), (&Value::from(false), &Value::from("counter-not-reset")));
    let output = syncline(&at, &["replay", "counter.toml"]);
    assert_eq!(output.status.code(), Some(1), "a known finding is a failure of this run");
    assert!(text_of(&output).contains("the known finding counter-not-reset"), "{}", text_of(&output));
    let sweep = ["sweep", "--case", "counter.toml", "--seeds", "0..3", "--check-every", "0"];
    let output = syncline(&at, &[&sweep[..], &["--cases", "swept"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    assert!(text_of(&output).contains("NO NEW FINDING"), "{}", text_of(&output));
    assert!(!at.join("swept").exists(), "a known finding has a pinned case");
    let report = json(&at, &[&sweep[..], &["--json"]].concat());
    assert_eq!(report["known"]["counter-not-reset"]["count"], 3);
    assert_eq!(report["failures"], Value::Array(Vec::new()));
}

#[test]
fn failures_of_one_cause_share_a_case_file() {
    let at = folder("causes");
    std::fs::write(at.join("lonely.toml"), LONELY).expect("a file");
    let sweep = ["sweep", "--case", "lonely.toml", "--seeds", "3..9", "--check-every", "0"];
    let report = json(&at, &[&sweep[..], &["--json"]].concat());
    let causes = report["causes"].as_array().expect("a list");
    let counted: u64 = causes.iter().filter_map(|cause| cause["count"].as_u64()).sum();
    assert_eq!((causes.len(), counted), (1, 6), "{causes:?}");
    assert_eq!(causes[0]["case"], "syncline-cases/max-time-3.toml");
    let files = std::fs::read_dir(at.join("syncline-cases")).expect("a folder").count();
    assert_eq!(files, causes.len());
    let text = text_of(&syncline(&at, &sweep));
    assert!(text.contains("the same cause has failed 5 more: 4, 5, 6, 7, 8"), "{text}");
}
