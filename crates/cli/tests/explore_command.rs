//! `syncline explore`: verdicts, limits, determinism.

use serde_json::Value;
use std::process::{Command, Output};

fn explore(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.arg("explore").args(args).output().expect("the command starts")
}

#[test]
fn concurrent_writes_are_explored_exhaustively() {
    let output = explore(&[]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("EXHAUSTIVE in") && !said.contains("NOT EXHAUSTIVE"), "{said}");
}

#[test]
fn cut_searches_report_their_limit() {
    let output = explore(&["--depth", "5", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["exhaustive"], &report["cut"]), (&Value::from(false), &Value::from("depth")));
    assert_eq!(report["depth"], 5);
    let output = explore(&["--states", "50", "--deepest"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("NOT EXHAUSTIVE") && said.contains("more states than were allowed"), "{said}");
    assert!(said.contains("1. ") && said.contains("the path to the deepest state"), "{said}");
}

#[test]
fn searches_are_deterministic() {
    let run = || {
        let output = explore(&["--kind", "map", "--drops", "1", "--json"]);
        let mut report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        for figure in ["seconds", "states_per_second", "peak_bytes"] {
            report[figure] = Value::Null;
        }
        report
    };
    let one = run();
    let two = run();
    assert_eq!(one, two);
    assert_eq!(one["exhaustive"], true);
}

#[test]
fn protocol_each_is_refused() {
    let output = explore(&["--protocol", "each"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("one protocol"));
}
