//! Sharded sweeps: parallel processes that get their shards from the variables of batch systems.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const SYNCLINE: &str = env!("CARGO_BIN_EXE_syncline");

/// Some of these seeds fail, so that failures are merged too.
const SWEEP: [&str; 7] = ["sweep", "--seeds", "0..50,60..91", "--faults", "heavy", "--max-time", "12s"];

fn folder(name: &str) -> PathBuf {
    let at = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shards").join(name);
    let _ = std::fs::remove_dir_all(&at);
    std::fs::create_dir_all(&at).expect("a folder");
    at
}

fn command(at: &Path) -> Command {
    let mut command = Command::new(SYNCLINE);
    command.current_dir(at).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The JSON report of a command, without the two lines that depend on the machine.
fn totals(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with('{'), "{}", text_of(output));
    text.lines()
        .filter(|line| !line.contains("\"seconds\"") && !line.contains("\"seeds_per_second\""))
        .collect()
}

fn whole(at: &Path) -> String {
    let output = command(at).args(SWEEP).arg("--json").output().expect("the command starts");
    assert_eq!(output.status.code(), Some(1), "some seeds fail: {}", text_of(&output));
    totals(&output)
}

fn end(child: Child) -> Output {
    child.wait_with_output().expect("a child that ends")
}

fn merged(at: &Path, args: &[&str]) -> Output {
    command(at).arg("merge").args(args).output().expect("the command starts")
}

#[test]
fn kubernetes_tasks_merge_to_one_sweep() {
    let at = folder("kubernetes");
    let task = |index: usize| {
        let report = format!("{index}.json");
        let variables = [("JOB_COMPLETION_INDEX", index.to_string()), ("SYNCLINE_SHARDS", "4".to_owned())];
        let mut task = command(&at);
        task.args(SWEEP).args(["--jobs", "1", "--report", &report]).envs(variables);
        task.spawn().expect("the command starts")
    };
    for task in (0..4).map(task).collect::<Vec<_>>() {
        let output = end(task);
        assert!(output.status.code().is_some_and(|code| code < 2), "{}", text_of(&output));
    }
    // Reports merge in any order; the paths of case files are those that the shards wrote.
    let output = merged(&at, &["2.json", "0.json", "3.json", "1.json", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(totals(&output), whole(&at));
}

#[test]
fn slurm_tasks_merge_to_one_sweep() {
    let at = folder("slurm");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/slurm.sh");
    let task = |id: u32| {
        let mut task = Command::new("sh");
        task.arg(&script).current_dir(&at).stdout(Stdio::null()).stderr(Stdio::piped());
        task.envs([
            ("SYNCLINE", SYNCLINE),
            ("SEEDS", "0..30"),
            ("REPORTS", "."),
            ("SLURM_CPUS_PER_TASK", "1"),
        ]);
        let array = [("ID", id), ("MIN", 1), ("MAX", 3), ("COUNT", 3), ("STEP", 1)];
        task.envs(array.map(|(name, value)| (format!("SLURM_ARRAY_TASK_{name}"), value.to_string())));
        task.spawn().expect("the script starts")
    };
    for task in (1..=3).map(task).collect::<Vec<_>>() {
        let output = end(task);
        assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    }
    let output = merged(&at, &["1.json", "2.json", "3.json", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    let args = ["sweep", "--seeds", "0..30", "--faults", "heavy", "--cases", "./cases", "--json"];
    assert_eq!(totals(&output), totals(&command(&at).args(args).output().expect("the command starts")));
}

#[test]
fn merge_refuses_mismatched_shards() {
    let at = folder("wrong");
    let piece = |seeds: &str, shard: &str, report: &str| {
        let args = ["sweep", "--seeds", seeds, "--shard", shard, "--report", report, "--check-every", "0"];
        let output = command(&at).args(args).output().expect("the command starts");
        assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    };
    piece("1..7", "1/3", "one.json");
    piece("1..7", "1/3", "again.json");
    piece("1..7", "3/3", "three.json");
    piece("1..8", "2/3", "other.json");
    let refused = |args: &[&str], words: &[&str]| {
        let output = merged(&at, args);
        assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
        assert!(words.iter().all(|word| text_of(&output).contains(word)), "{words:?}: {}", text_of(&output));
    };
    refused(&["one.json", "three.json", "again.json"], &["one.json and again.json", "shard 1/3"]);
    refused(&["one.json", "three.json"], &["shard 2/3", "--partial"]);
    refused(&["one.json", "other.json"], &["other.json", "different sweeps"]);
    refused(&["nowhere.json"], &["nowhere.json"]);
    std::fs::write(at.join("torn.json"), "{\"plan\":").expect("a file");
    refused(&["torn.json"], &["torn.json", "no report of a sweep"]);
    let changed = |place: &str, value: Value| {
        let text = std::fs::read_to_string(at.join("one.json")).expect("a report");
        let mut report: Value = serde_json::from_str(&text).expect("JSON");
        *report.pointer_mut(place).expect("a place") = value;
        std::fs::write(at.join("changed.json"), report.to_string()).expect("a file");
    };
    changed("/shard/index", 4.into());
    refused(&["changed.json", "three.json", "--partial"], &["changed.json", "no shard 4/3"]);
    changed("/totals/seeds", 99.into());
    refused(&["changed.json", "three.json", "--partial"], &["its seeds are not as many as the runs"]);
    changed("/totals/counts/events", u64::MAX.into());
    refused(&["changed.json", "three.json", "--partial"], &["18446744073709551615", "3 shards counts"]);

    let output = merged(&at, &["one.json", "three.json", "--partial", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("shard 2/3"));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["seeds"], 4);
}

#[test]
fn task_without_shard_count_is_refused() {
    let at = folder("untold");
    let output =
        command(&at).args(SWEEP).env("JOB_COMPLETION_INDEX", "0").output().expect("the command starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(text_of(&output).contains("SYNCLINE_SHARDS"), "{}", text_of(&output));
}

#[cfg(unix)]
#[test]
fn interrupted_sweeps_report_their_progress() {
    let at = folder("interrupted");
    let args = ["sweep", "--seeds", "0..1000000", "--check-every", "50", "--resume", "state.json", "--json"];
    let child = command(&at).args(args).spawn().expect("the command starts");
    while !at.join("state.json").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.expect("kill starts").success());
    let output = end(child);
    assert_eq!(output.status.code(), Some(130), "{}", text_of(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("a JSON report");
    let seeds = report["seeds"].as_u64().expect("a count");
    let failures = report["failures"].as_array().expect("a list").len() as u64;
    let known = report["known"].as_object().expect("findings").values();
    let known: u64 = known.map(|finding| finding["count"].as_u64().expect("a count")).sum();
    assert!((1..1_000_000).contains(&seeds), "{seeds}");
    assert_eq!(report["converged"], seeds - failures - known);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains(&format!("the next is {seeds}")) && text.contains("state.json"), "{text}");
    let state = std::fs::read_to_string(at.join("state.json")).expect("a state");
    let state: Value = serde_json::from_str(&state).expect("JSON");
    assert_eq!(state["done"], seeds);
}
