//! The command as a person or a script uses it: outputs, exit codes, refusals.

use serde_json::Value;
use std::process::{Command, Output};

fn syncline(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    // A failing run writes its case into the current folder.
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).args(args).output().expect("the command starts")
}

fn json(args: &[&str]) -> Value {
    let output = syncline(args);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"))
}

/// Bad usage: exit code 2, nothing on stdout, and an error that contains all of `words`.
fn refused(args: &[&str], words: &[&str]) {
    let output = syncline(args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    assert!(output.stdout.is_empty());
    for word in words {
        assert!(said.contains(word), "{args:?} should mention {word:?}: {said}");
    }
}

#[test]
fn plain_run_converges() {
    let output = syncline(&["run"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("CONVERGED") && said.contains("repeat it with:") && said.contains("run --seed "),
        "{said}"
    );
}

#[test]
fn same_seed_same_trace() {
    let run =
        || json(&["run", "--seed", "42", "--nodes", "3", "--entities", "100", "--faults", "heavy", "--json"]);
    let one = run();
    let two = run();
    assert_eq!(one, two);
    assert_eq!(one["stop"], "converged");
    assert_eq!(one["fates"]["balanced"], true);
    assert_eq!(one["nodes"][0]["root"], one["nodes"][2]["root"]);
}

#[test]
fn totals_do_not_depend_on_threads() {
    let sweep = |jobs: &str| {
        let mut report = json(&[
            "sweep",
            "--seeds",
            "0..30",
            "--faults",
            "heavy",
            "--jobs",
            jobs,
            "--check-every",
            "10",
            "--json",
        ]);
        let report = report.as_object_mut().expect("an object");
        report.remove("seconds");
        report.remove("seeds_per_second");
        report.clone()
    };
    let one = sweep("1");
    let three = sweep("3");
    assert_eq!(one, three);
    assert_eq!((&one["converged"], &one["checked_twice"]), (&Value::from(30), &Value::from(3)));
}

#[test]
fn fail_fast_ends_at_the_first_failure() {
    let sweep = |flags: &[&str]| {
        let base = ["sweep", "--seeds", "29..40", "--write-for", "10ms", "--max-time", "350ms", "--json"];
        json(&[&base[..], flags].concat())
    };
    let all = sweep(&[]);
    let first = all["failures"][0].clone();
    let seed = first["seed"].as_u64().expect("some seeds do not converge in time");
    assert!(seed > 29 && all["failures"].as_array().is_some_and(|all| all.len() > 1), "{all}");
    for jobs in ["1", "3"] {
        let fast = sweep(&["--fail-fast", "--jobs", jobs]);
        assert_eq!((&fast["failures"], &fast["seeds"]), (&Value::from([first.clone()]), &(seed - 28).into()));
        assert_eq!(fast["interrupted"], false);
    }
    refused(&["sweep", "--fail-fast", "--resume", "state.json"], &["cannot be used with"]);
}

#[test]
fn failed_run_can_be_repeated() {
    let args = ["run", "--seed", "5", "--max-time", "20ms", "--write-for", "10ms", "--json"];
    let output = syncline(&args);
    assert_eq!(output.status.code(), Some(1));
    let report = json(&args);
    assert_eq!(report["stop"], "max_time");
    let repeat: Vec<&str> = report["reproduce"].as_str().expect("a command").split(' ').skip(1).collect();
    assert_eq!(json(&[&repeat[..], &["--json"]].concat())["trace_digest"], report["trace_digest"]);
    let sweep = json(&["sweep", "--seeds", "5", "--max-time", "20ms", "--write-for", "10ms", "--json"]);
    assert_eq!(sweep["failures"][0]["reproduce"], report["reproduce"]);
}

#[test]
fn reproducing_line_carries_every_flag() {
    let flags = "--nodes 4 --entities 7 --writes 9 --write-for 800ms --scenario overlap \
                 --topology ring --faults heavy --loss 0.2 \
                 --latency 20,5 --duplicate 0.1 --corruption 0.01 --reorder 30 --partition 0.02,50..90 \
                 --crash 0.002,60..80 --churn 0.01,70..90 --late-joiners 1 --slow 2.5 \
                 --write-during-sync 0.5 --max-events 900000 --max-time 45000ms";
    let args: Vec<&str> =
        ["run", "--seed", "3", "--json"].into_iter().chain(flags.split_whitespace()).collect();
    let line = json(&args)["reproduce"].as_str().expect("a command").to_owned();
    let given: Vec<&str> = flags.split_whitespace().collect();
    assert_eq!(line, format!("syncline run --seed 3 {}", given.join(" ")));
}

#[test]
fn link_faults_are_counted_and_repeated() {
    for (flags, metric) in [
        ("--bandwidth 200k,1k", "queue_drops"),
        ("--uplink 200k,1M", "frames_queued"),
        ("--latency-tail 0.1,2s", "tail_delays"),
        ("--bad-links 0.5,4", "bad_link_frames"),
        ("--burst-loss 0.05,5", "burst_losses"),
        ("--one-way 1", "one_way_partitions"),
        ("--groups 1", "group_partitions"),
        ("--flap 1,50..200", "link_down_frames"),
        ("--links stream", "connections_opened"),
        ("--links stream --resets 0.05", "chance_resets"),
    ] {
        let given: Vec<&str> = flags.split_whitespace().collect();
        let sweep = json(&[&["sweep", "--seeds", "0..8", "--json"][..], &given].concat());
        assert_eq!(sweep["converged"], 8, "{flags}: {sweep}");
        assert!(sweep["links"][metric].as_u64() > Some(0), "{flags}: {}", sweep["links"]);
        let run = json(&[&["run", "--seed", "2", "--json"][..], &given].concat());
        assert_eq!(run["reproduce"], format!("syncline run --seed 2 {flags}"));
        assert!(run["effects"]["links"][metric].is_u64());
    }
    refused(&["run", "--resets", "0.1"], &["--links stream"]);
    refused(&["run", "--bandwidth", "3"], &["between 8k and 1000G"]);
    refused(&["run", "--uplink", "1M", "--bandwidth", "1M"], &["cannot be used with"]);
    refused(&["run", "--flap", "0.1,0..5"], &["the time up of links is 0..20"]);
}

#[test]
fn every_topology_converges() {
    for shape in ["mesh", "ring", "star", "line"] {
        let args = ["--topology", shape, "--nodes", "5", "--json"];
        let run = json(&[&["run", "--seed", "4"][..], &args].concat());
        assert_eq!((&run["stop"], &run["topology"]), (&Value::from("converged"), &Value::from(shape)));
        let sweep = json(&[&["sweep", "--seeds", "0..5"][..], &args].concat());
        assert_eq!((&sweep["converged"], &sweep["topology"]), (&Value::from(5), &Value::from(shape)));
    }
}

#[test]
fn corrupted_frames_are_counted_and_refused() {
    let run = json(&["run", "--seed", "4", "--corruption", "0.2", "--json"]);
    assert_eq!(run["stop"], "converged");
    assert!(run["effects"]["messages_corrupted"].as_u64() > Some(0));
    assert!(run["fates"]["dropped"]["corrupt"].as_u64() > Some(0));
    let sweep = json(&["sweep", "--seeds", "4", "--corruption", "0.2", "--json"]);
    assert_eq!(sweep["messages_corrupted"], run["effects"]["messages_corrupted"]);
    refused(&["run", "--corruption", "x"], &["x", "not a number"]);
}

#[test]
fn churn_and_late_joiners_are_counted() {
    let flags = ["--faults", "heavy", "--churn", "0.02", "--late-joiners", "2", "--json"];
    let run = json(&[&["run", "--seed", "4"][..], &flags].concat());
    assert_eq!((&run["stop"], &run["effects"]["late_joins"]), (&Value::from("converged"), &Value::from(2)));
    assert_eq!(run["nodes"].as_array().map(Vec::len), Some(5));
    assert!(run["effects"]["departures"].as_u64() > Some(0));
    let sweep = json(&[&["sweep", "--seeds", "4"][..], &flags].concat());
    assert_eq!(sweep["departures"], run["effects"]["departures"]);
    assert_eq!(sweep["late_joins"], 2);
}

#[test]
fn sweep_of_each_runs_every_protocol() {
    let args = ["sweep", "--seeds", "0..20", "--protocol", "each", "--faults", "heavy", "--json"];
    assert_eq!(syncline(&args).status.code(), Some(0));
    let report = json(&args);
    assert_eq!(report["failures"], 0);
    let sweeps = report["protocols"].as_array().expect("a list");
    for (name, ran) in [
        ("delta-sync", "delta_syncs"),
        ("hash-comparison", "hash_comparisons"),
        ("bloom-filter", "bloom_filters"),
        ("subtree-prefetch", "subtree_prefetches"),
        ("level-wise", "level_walks"),
        ("rateless-iblt", "sketches"),
    ] {
        let sweep = sweeps.iter().find(|sweep| sweep["protocol"] == name).expect(name);
        assert_eq!(sweep["converged"], 20, "{name}");
        assert!(sweep[ran].as_u64() > Some(0), "{name} was not run");
        let most = sweeps.iter().filter_map(|other| other[ran].as_u64()).max();
        assert_eq!(sweep[ran].as_u64(), most, "{name} is run where it is asked for");
    }
    assert!(sweeps.iter().any(|sweep| sweep["protocol"] == "snapshot"));
    let shown = syncline(&args[..7]);
    let said = String::from_utf8_lossy(&shown.stdout);
    assert!(said.contains("level-wise") && said.contains("ALL CONVERGED"), "{said}");

    let short = ["--max-time", "20ms", "--write-for", "10ms"];
    let failing = [&["sweep", "--seeds", "5", "--protocol", "each"][..], &short].concat();
    let output = syncline(&failing);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("FAILED") && said.contains("--protocol bloom-filter"), "{said}");
    refused(&["run", "--protocol", "each"], &["--protocol each", "sweep"]);
}

#[test]
fn impossible_values_are_refused() {
    refused(&["run", "--loss", "1.5"], &["1.5", "between 0 and 1"]);
    refused(&["run", "--loss", "often"], &["often", "not a number"]);
    refused(&["run", "--nodes", "0"], &["0", "1..=10000"]);
    refused(&["run", "--latency", "5,10"], &["5,10", "must not exceed"]);
    refused(&["run", "--partition", "0.1,9..3"], &["0.1,9..3", "rising range"]);
    refused(&["run", "--churn", "2"], &["2", "between 0 and 1"]);
    refused(&["run", "--max-time", "soon"], &["soon", "500ms"]);
    refused(&["run", "--scenario", "nope"], &["nope", "diverged"]);
    refused(&["run", "--topology", "cube"], &["cube", "ring"]);
    refused(&["run", "--faults", "medium"], &["medium", "heavy"]);
    refused(&["run", "--slow", "0.5"], &["0.5", "between 1 and 1000"]);
    refused(&["run", "--write-for", "120s"], &["--write-for", "--max-time"]);
    refused(&["run", "--nodes", "10000", "--entities", "10000000"], &["10000000", "limit"]);
    refused(&["run", "--loss", "0.00000001"], &["0.000001"]);
    refused(&["run", "--loss", "1e-320"], &["0.000001"]);
    refused(&["run", "--loss", "1e-400"], &["1e-400", "0.000001"]);
    refused(&["sweep", "--seeds", "18446744073709551615"], &["beyond the last seed"]);
    refused(&["sweep", "--seeds", "0..18446744073709551615"], &["at most"]);
    refused(&["sweep", "--seeds", "9..2"], &["9..2", "above the start"]);
    refused(&["sweep", "--seeds", "3,7,0..4"], &["seed 3 is named twice"]);
    for command in ["replay", "shrink", "sweep"] {
        let limited = |flag: &str, value: &str, words: &[&str]| {
            let case = if command == "sweep" { "--seeds=1" } else { "a.toml" };
            refused(&[command, case, flag, value], words);
        };
        for absurd in ["0", "18446744073709551615"] {
            limited("--memory-mib", absurd, &[absurd, "64..=1048576"]);
            limited("--cpu-seconds", absurd, &[absurd, "1..=86400"]);
            limited("--stack-kib", absurd, &[absurd, "64..=4194304"]);
        }
    }
    refused(&["run", "--sneed", "4"], &["--sneed", "--seed"]);
    refused(&["frobnicate"], &["frobnicate"]);
}

#[test]
fn seed_file_errors_name_the_line() {
    refused(&["sweep", "--seeds", "@/nowhere/seeds.txt"], &["/nowhere/seeds.txt", "cannot read"]);
    let path = std::env::temp_dir().join(format!("syncline-seeds-{}", std::process::id()));
    std::fs::write(&path, "# two seeds\n1..3\n\nbanana # a fruit\n").expect("a file");
    refused(&["sweep", "--seeds", &format!("@{}", path.display())], &["line 4", "banana"]);
    std::fs::write(&path, "1..3 # two\n7\n").expect("a file");
    let report = json(&["sweep", "--seeds", &format!("@{}", path.display()), "--json"]);
    assert_eq!(report["seeds"], 3);
    std::fs::remove_file(&path).expect("a file");
}

#[test]
fn every_listed_scenario_runs() {
    let listing = json(&["scenarios", "--json"]);
    let names: Vec<&str> =
        listing["scenarios"].as_array().expect("a list").iter().filter_map(|s| s["name"].as_str()).collect();
    assert!(names.contains(&"diverged") && names.contains(&"fresh"));
    for name in names {
        assert_eq!(
            json(&["run", "--seed", "1", "--scenario", name, "--json"])["stop"],
            "converged",
            "{name}"
        );
    }
    assert_eq!(syncline(&["scenarios"]).status.code(), Some(0));
}

#[test]
fn help_exits_with_zero() {
    for args in [&["--help"][..], &["run", "--help"], &["sweep", "--help"], &["scenarios", "--help"]] {
        let output = syncline(args);
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stdout.len() > 100, "{args:?}");
    }
}

#[test]
fn saved_states_verify_and_inspect() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("saved");
    let _ = std::fs::remove_dir_all(&folder);
    let at = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let run =
        json(&["run", "--seed", "3", "--scenario", "deep", "--keep", &folder.to_string_lossy(), "--json"]);
    let verified = json(&["verify", &at("bob"), "--json"]);
    assert_eq!(verified["sound"], true, "{verified}");
    assert_eq!(verified["stored_root"], run["nodes"][1]["root"]);
    let whole = json(&["inspect", &at("bob"), "--depth", "9", "--limit", "1000", "--json"]);
    assert_eq!(whole["root"], run["nodes"][1]["root"]);
    let first = &whole["entity"]["children"][0];
    let id = first["id"].as_str().expect("an id");
    let one = json(&["inspect", &at("bob"), &id[..16], "--json"]);
    assert_eq!(one["entity"]["own_hash"], first["own_hash"]);
    let shown = syncline(&["inspect", &at("bob"), id]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("own hash"));
    refused(&["inspect", &at("bob"), "00ff00ff00ff00ff00ff"], &["no entity has an id"]);
    refused(&["inspect", &at("bob"), "xyz"], &["hexadecimal"]);
    for command in ["verify", "inspect"] {
        refused(&[command, &at("nobody")], &["there is no store at"]);
        assert!(!folder.join("nobody").exists(), "{command} creates nothing");
    }
    // Reading a store leaves its files as they were, and needs no permission to write.
    let changed =
        || std::fs::metadata(folder.join("bob/rows")).and_then(|rows| rows.modified()).expect("a time");
    let before = changed();
    json(&["verify", &at("bob"), "--json"]);
    assert_eq!(changed(), before);
    refused(&["run", "--keep", &folder.to_string_lossy()], &["there is a state of alice already"]);
}

#[test]
fn store_with_lost_rows_is_finding() {
    use syncline_store::{ReadView, Store, WriteBatch};
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("lost");
    let _ = std::fs::remove_dir_all(&folder);
    json(&["run", "--seed", "4", "--keep", &folder.to_string_lossy(), "--json"]);
    let alice = folder.join("alice");
    let mut store = syncline_disk::DiskStore::open(&alice).expect("a store");
    let rows = store.view().range(&[3], &[4], 1).expect("index rows");
    let mut batch = WriteBatch::default();
    batch.delete(rows[0].0.clone());
    store.apply(batch).expect("a batch");
    drop(store);
    let output = syncline(&["verify", &alice.to_string_lossy()]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("NOT SOUND") && said.contains("it is missing"), "{said}");
}

/// What the system or another process refuses says nothing about the store: it is no finding.
#[test]
fn store_that_cannot_be_opened_is_no_finding() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("unopened");
    let _ = std::fs::remove_dir_all(&folder);
    json(&["run", "--seed", "5", "--keep", &folder.to_string_lossy(), "--json"]);
    let alice = folder.join("alice");
    let path = alice.to_string_lossy().into_owned();
    let open = syncline_disk::DiskStore::open(&alice).expect("a store");
    for command in ["verify", "inspect"] {
        refused(&[command, &path], &["open in another process", &path]);
    }
    drop(open);
    std::fs::write(alice.join("rows/version"), b"FJL\x09").expect("a file");
    for command in ["verify", "inspect"] {
        refused(&[command, &path], &["has version 9, and this program reads version 3", "newer program"]);
    }
    // A missing file of the store is damage.
    std::fs::write(alice.join("rows/version"), b"FJL\x03").expect("a file");
    std::fs::remove_file(alice.join("commits")).expect("a file");
    let output = syncline(&["verify", &path]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("damaged: its counter of commits is missing"), "{said}");
    // To find it is what `verify` is for; `inspect` cannot do what it was asked for.
    refused(&["inspect", &path], &["damaged: its counter of commits is missing"]);
}

#[test]
fn compare_measures_every_protocol() {
    let folder = std::env::temp_dir().join(format!("syncline-compare-{}", std::process::id()));
    let plot = folder.display().to_string();
    let args = ["compare", "-n", "300", "-d", "20", "--json", "--plot", &plot];
    let points = ["--plot-differences", "1,20", "--plot-entities", "50,300"];
    let report = json(&[&args[..], &points[..]].concat());
    let protocols = report["protocols"].as_array().unwrap();
    let named: Vec<&str> = protocols.iter().map(|row| row["protocol"].as_str().unwrap()).collect();
    for expected in
        ["DeltaSync", "HashComparison", "BloomFilter", "SubtreePrefetch", "LevelWise", "RatelessIblt"]
    {
        assert!(named.contains(&expected), "{expected} in {named:?}");
    }
    assert!(protocols.iter().all(|row| row["converged"] == true));
    assert_eq!(report["adaptive"]["protocol"], "RatelessIblt");
    assert!(report["estimated_difference"].as_u64().unwrap().abs_diff(20) <= 15);
    for chart in
        ["time-over-difference", "bytes-over-difference", "time-over-entities", "bytes-over-entities"]
    {
        let svg = std::fs::read_to_string(folder.join(chart).with_extension("svg")).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("RatelessIblt"), "{chart}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn compare_refuses_impossible_values() {
    refused(&["compare", "--bandwidth", "fast"], &["20M"]);
    refused(&["compare", "--rtt", "soon"], &["500ms"]);
    refused(&["compare", "--shape", "round"], &["chain"]);
}

/// What a hunt finds depends on its seed and the number of runs alone.
#[test]
fn hunts_do_not_depend_on_threads() {
    let hunt = |jobs: &str| {
        let mut report = json(&["hunt", "--runs", "100", "--seed", "3", "--jobs", jobs, "--json"]);
        report.as_object_mut().expect("an object").remove("seconds");
        report
    };
    let report = hunt("1");
    assert_eq!(report, hunt("3"));
    assert_eq!(report["runs"], 100);
    assert!(report["retained"].as_u64() > Some(1) && report["features"].as_u64() > Some(100), "{report}");
}
