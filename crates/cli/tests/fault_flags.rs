//! The flags for host faults, for hostile replicas and for contexts.

use serde_json::Value;
use std::process::{Command, Output};

fn syncline(args: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_syncline")).args(args.split_whitespace()).output().expect("it runs")
}

fn json(args: &str) -> Value {
    let output = syncline(&format!("{args} --json"));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args}: {error}: {output:?}"))
}

#[test]
fn reproducing_line_carries_host_flags() {
    let flags = "--clock-skew 1500ms --clock-drift 300 --clock-jump 0.001,5..90 --clock-freeze 0.002 \
                 --timer-drift 200 --pause 0.003,5..80 --processing 150 --slow-host 2.5 --failed-write 0.01 \
                 --torn-write 0.002 --lying-sync 0.03 --rot 0.001 --lies-unnoticed";
    let run = json(&format!("run --seed 3 {flags}"));
    let given: Vec<&str> = flags.split_whitespace().collect();
    assert_eq!(run["reproduce"], format!("syncline run --seed 3 {}", given.join(" ")));
    assert_eq!(run["stop"], "converged");
    assert!(run["effects"]["hosts"]["clock_error_ms"].as_u64() > Some(0), "{run}");
}

#[test]
fn host_faults_are_shown_and_counted() {
    let flags = "--seeds 0..20 --faults heavy --failed-write 0.05 --pause 0.01 --lying-sync 0.3 --rot 0.002";
    let sweep = json(&format!("sweep {flags}"));
    assert_eq!(sweep["converged"], 20, "{}", sweep["failures"]);
    for what in ["failed_writes", "pauses", "lying_syncs", "rotten_rows", "fresh_starts", "inputs_delayed"] {
        assert!(sweep["hosts"][what].as_u64() > Some(0), "{what}: {}", sweep["hosts"]);
    }
    let shown = String::from_utf8(syncline(&format!("sweep {flags}")).stdout).expect("text");
    assert!(shown.contains("writes to disk that failed") && !shown.contains("clock jumps"), "{shown}");
}

#[test]
fn impossible_host_flags_are_refused() {
    for (args, said) in [
        ("run --clock-skew 13h", "the clock skew"),
        ("run --clock-drift 900000", "500000"),
        ("run --pause 0.1,9..3", "rising range"),
        ("run --slow-host 3", "--processing"),
        ("run --processing 9 --slow-host 0.1", "between 1 and 1000"),
        ("run --lies-unnoticed", "--lying-sync"),
        ("run --rot 2", "between 0 and 1"),
    ] {
        let output = syncline(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args}: {text}");
        assert!(text.contains(said), "{args}: {text}");
    }
}

#[test]
fn replica_settings_are_flags() {
    let flags = "--replica page_bytes=64,backoff_max=1s";
    let run = json(&format!("run --seed 3 {flags}"));
    assert_eq!(run["reproduce"], format!("syncline run --seed 3 {flags}"));
    assert_eq!(run["stop"], "converged");
    assert_ne!(run["trace_digest"], json("run --seed 3")["trace_digest"], "small pages take more rounds");
    for (setting, said) in [
        ("page_bytes", "looks like page_bytes=512"),
        ("page_bytes=0", "between 1 and 262144"),
        ("frame_bytes=65536", "in frames of 65536 bytes"),
        ("backoff_max=1ms", "between 250"),
    ] {
        let output = syncline(&format!("run --replica {setting}"));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{setting}: {text}");
        assert!(text.contains(said), "{setting}: {text}");
    }
}

#[test]
fn hostile_replicas_are_counted_and_shown() {
    let flags = "--nodes 4 --hostile 2 --outsiders 1 --lies lying_root,garbage --lie-rate 0.5";
    let run = json(&format!("run --seed 3 {flags}"));
    assert_eq!(run["reproduce"], format!("syncline run --seed 3 {flags}"));
    assert_eq!(run["stop"], "converged");
    let sweep = json(&format!("sweep --seeds 0..20 {flags}"));
    assert_eq!(sweep["converged"], 20, "{}", sweep["failures"]);
    for lie in ["lying_root", "garbage"] {
        assert!(sweep["hostile"]["lies"][lie].as_u64() > Some(0), "{lie}: {}", sweep["hostile"]);
    }
    assert!(sweep["hostile"]["frames_refused"].as_u64() > Some(0), "{}", sweep["hostile"]);
    let shown = String::from_utf8(syncline(&format!("run --seed 3 {flags}")).stdout).expect("text");
    assert!(shown.contains("lies of hostile replicas") && shown.contains("… garbage"), "{shown}");
    for (args, said) in [
        ("run --hostile 3", "there must be an honest node"),
        ("run --hostile 1 --outsiders 2", "the number of outsiders"),
        ("run --hostile 1 --lies white", "lying_root"),
        ("run --lies garbage", "--hostile"),
        ("run --nodes 4 --topology star --hostile 4", "honest node"),
    ] {
        let output = syncline(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args}: {text}");
        assert!(text.contains(said), "{args}: {text}");
    }
}

#[test]
fn contexts_are_shown_and_repeated() {
    let run = json("run --seed 3 --contexts 3 --faults heavy");
    assert_eq!(
        (&run["stop"], &run["reproduce"]),
        (&Value::from("converged"), &Value::from("syncline run --seed 3 --contexts 3 --faults heavy"))
    );
    let contexts = run["nodes"][0]["contexts"].as_array().expect("one for each");
    assert_eq!((contexts.len(), run["nodes"][1]["contexts"].as_array()), (3, Some(contexts)));
    let each: Vec<u64> = contexts.iter().filter_map(|context| context["entities"].as_u64()).collect();
    assert_eq!(run["nodes"][0]["entities"].as_u64(), Some(each.iter().sum()));
    let one = json("run --seed 3");
    assert!(one["nodes"][0].get("contexts").is_none(), "{one}");
    let text = String::from_utf8(syncline("run --seed 3 --contexts 3 --faults heavy").stdout).expect("text");
    assert!(text.contains("3 replicas with 3 contexts"), "{text}");
    let each: Vec<String> = each.iter().map(u64::to_string).collect();
    assert!(text.contains(&each.join("+")), "{text}");
    let refused = syncline("run --contexts 9");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("1..=8"), "{said}");
}
