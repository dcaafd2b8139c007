//! Simulations in a project's own tests, from the view of their author.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use sync_sim::prelude::*;

#[sync_sim::test(seeds = 20, faults = "heavy")]
fn diverged_replicas_converge(rt: &mut SimRuntime) {
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_converged!(rt);
}

#[sync_sim::test(seeds = 5..8, faults = FaultConfig::light_chaos().with_loss(0.2), nodes = 2)]
fn body_gets_nodes_seeds_and_faults(rt: &mut SimRuntime) {
    assert_eq!(rt.node_ids().len(), 2);
    assert!((5..8).contains(&rt.config().seed));
    assert_eq!(rt.config().faults, FaultConfig::light_chaos().with_loss(0.2));
    rt.run();
    assert_converged!(rt);
}

#[sync_sim::test]
#[should_panic(expected = "seed 0 fails: intended")]
fn should_panic_is_respected(_rt: &mut SimRuntime) {
    panic!("intended");
}

/// Fails if a frame was lost. The tests below run it as a child process.
#[sync_sim::test(seeds = 3..50, faults = "light", nodes = 3)]
#[ignore = "fails; the tests below run it"]
fn no_frame_is_lost(rt: &mut SimRuntime) {
    rt.apply_workload(&Workload { writes: 20, ..Workload::default() });
    rt.run();
    assert_eq!(rt.metrics().fates.dropped(DropCause::Loss), 0, "at {}", rt.now());
}

#[test]
#[ignore = "fails; the tests below run it"]
fn ordinary_test() {
    sync_sim::check(3, |rt| assert!(rt.config().seed < 2, "two is too much"));
}

/// Runs an ignored test of this file as a child process. Returns all that it printed.
fn child(test: &str, variables: &[(&str, &str)]) -> (Output, String) {
    let this = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(this);
    command.args(["--ignored", "--exact", &format!("test_harness::{test}")]).envs(variables.iter().copied());
    let output = command.output().expect("the test starts");
    let printed =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, printed)
}

/// The rest of the line after `words`.
fn after<'a>(printed: &'a str, words: &str) -> &'a str {
    printed
        .split_once(words)
        .and_then(|(_, rest)| rest.lines().next())
        .unwrap_or_else(|| panic!("{words}: {printed}"))
}

#[test]
fn failing_seed_is_shrunk_and_replayable() {
    let (output, printed) = child("no_frame_is_lost", &[]);
    assert_eq!(output.status.code(), Some(101), "{printed}");
    let again = after(&printed, "run it alone: SYNC_SIM_SEED=");
    let (seed, command) = again.split_once(' ').expect("a seed and a command");
    assert_eq!(command, "cargo test -p sync-sim test_harness::no_frame_is_lost");
    assert_eq!(printed.matches("fails: ").count(), 1, "only the failure itself is printed: {printed}");

    let path = PathBuf::from(after(&printed, "run that: SYNC_SIM_CASE=").split(' ').next().expect("a path"));
    assert!(
        path.ends_with(
            Path::new("syncline-cases").join(format!("test_harness--no_frame_is_lost-{seed}.toml"))
        )
    );
    let text = std::fs::read_to_string(&path).expect("the case is there");
    assert_eq!(text.matches("lost = true").count(), 1, "one lost frame is enough: {text}");
    assert!(!text.contains("message_loss_rate"), "no random fault is left: {text}");

    let (output, printed) = child("no_frame_is_lost", &[("SYNC_SIM_CASE", &path.display().to_string())]);
    assert_eq!(output.status.code(), Some(101), "{printed}");
    assert!(printed.contains("toml fails: ") && printed.contains("test_harness.rs:"), "{printed}");
    // Without the lost frame, the case passes.
    let without: String =
        text.lines().filter(|line| !line.contains("lost = true")).map(|l| format!("{l}\n")).collect();
    let other = path.with_extension("without.toml");
    std::fs::write(&other, without).expect("a file");
    let (output, printed) = child("no_frame_is_lost", &[("SYNC_SIM_CASE", &other.display().to_string())]);
    assert_eq!(output.status.code(), Some(0), "{printed}");

    let (output, printed) = child("no_frame_is_lost", &[("SYNC_SIM_SEED", seed)]);
    assert_eq!(output.status.code(), Some(101), "{printed}");
    assert!(printed.contains(&format!("seed {seed} fails")), "{printed}");
}

#[test]
fn check_reports_the_same() {
    let (output, printed) = child("ordinary_test", &[("CARGO_PKG_NAME", "mine")]);
    assert_eq!(output.status.code(), Some(101), "{printed}");
    assert!(printed.contains("seed 2 fails: two is too much"), "{printed}");
    assert!(printed.contains("SYNC_SIM_SEED=2 cargo test -p mine "), "{printed}");
    let (output, printed) = child("ordinary_test", &[("SYNC_SIM_SEED", "1")]);
    assert_eq!(output.status.code(), Some(0), "{printed}");
}

#[test]
fn rejects_invalid_environment() {
    for (variable, value, word) in [
        ("SYNC_SIM_SEED", "seven", "is not a seed"),
        ("SYNC_SIM_CASE", "/nowhere.toml", "SYNC_SIM_CASE=/nowhere"),
    ] {
        let (output, printed) = child("ordinary_test", &[(variable, value)]);
        assert_eq!(output.status.code(), Some(101), "{printed}");
        assert!(printed.contains(word), "{printed}");
    }
}
