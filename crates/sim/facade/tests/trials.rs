//! Simulations in a project's own tests, as one who writes such tests meets them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use sync_sim::prelude::*;

#[sync_sim::test(seeds = 20, faults = "heavy")]
fn replicas_that_diverged_agree(rt: &mut SimRuntime) {
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_converged!(rt);
}

#[sync_sim::test(seeds = 5..8, faults = FaultConfig::light_chaos().with_loss(0.2), nodes = 2)]
fn a_body_finds_its_nodes_seeds_and_faults(rt: &mut SimRuntime) {
    assert_eq!(rt.node_ids().len(), 2);
    assert!((5..8).contains(&rt.config().seed));
    assert_eq!(rt.config().faults, FaultConfig::light_chaos().with_loss(0.2));
    rt.run();
    assert_converged!(rt);
}

#[sync_sim::test]
#[should_panic(expected = "seed 0 fails: as it was meant to")]
fn a_test_may_be_meant_to_fail(_rt: &mut SimRuntime) {
    panic!("as it was meant to");
}

/// Fails if a frame was lost, from seed 3 on. Only run by the tests below, as a child.
#[sync_sim::test(seeds = 3..50, faults = "light", nodes = 3)]
#[ignore = "fails; the tests below run it"]
fn nothing_is_ever_lost(rt: &mut SimRuntime) {
    rt.apply_workload(&Workload { writes: 20, ..Workload::default() });
    rt.run();
    assert_eq!(rt.metrics().fates.dropped(DropCause::Loss), 0, "at {}", rt.now());
}

#[test]
#[ignore = "fails; the tests below run it"]
fn in_a_plain_test_too() {
    sync_sim::check(3, |rt| assert!(rt.config().seed < 2, "two is too much"));
}

/// Runs an ignored test of this file, in a folder for its findings.
fn child(test: &str, variables: &[(&str, &str)]) -> (Output, String) {
    let this = std::env::current_exe().expect("the path of this program");
    let mut command = Command::new(this);
    command.args(["--ignored", "--exact", test]).envs(variables.iter().copied());
    let output = command.output().expect("the test starts");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, said)
}

/// What follows `words` on the line that has them.
fn after<'a>(said: &'a str, words: &str) -> &'a str {
    said.split_once(words)
        .and_then(|(_, rest)| rest.lines().next())
        .unwrap_or_else(|| panic!("{words}: {said}"))
}

#[test]
fn a_seed_that_fails_is_named_made_small_and_can_be_run_alone() {
    let (output, said) = child("nothing_is_ever_lost", &[]);
    assert_eq!(output.status.code(), Some(101), "{said}");
    let again = after(&said, "run it alone: SYNC_SIM_SEED=");
    let (seed, command) = again.split_once(' ').expect("a seed and a command");
    assert_eq!(command, "cargo test -p sync-sim nothing_is_ever_lost");
    assert_eq!(said.matches("fails: ").count(), 1, "only the failure itself is printed: {said}");

    let path = PathBuf::from(after(&said, "run that: SYNC_SIM_CASE=").split(' ').next().expect("a path"));
    assert!(path.ends_with(Path::new("syncline-cases").join(format!("nothing_is_ever_lost-{seed}.toml"))));
    let text = std::fs::read_to_string(&path).expect("the case is there");
    assert_eq!(text.matches("lost = true").count(), 1, "one lost frame is enough: {text}");
    assert!(!text.contains("message_loss_rate"), "nothing of it is left to chance: {text}");

    let (output, said) = child("nothing_is_ever_lost", &[("SYNC_SIM_CASE", &path.display().to_string())]);
    assert_eq!(output.status.code(), Some(101), "{said}");
    assert!(said.contains("toml fails: ") && said.contains("trials.rs:"), "{said}");
    // The same without its frame is another run.
    let without: String =
        text.lines().filter(|line| !line.contains("lost = true")).map(|l| format!("{l}\n")).collect();
    let other = path.with_extension("without.toml");
    std::fs::write(&other, without).expect("a file");
    let (output, said) = child("nothing_is_ever_lost", &[("SYNC_SIM_CASE", &other.display().to_string())]);
    assert_eq!(output.status.code(), Some(0), "{said}");

    let (output, said) = child("nothing_is_ever_lost", &[("SYNC_SIM_SEED", seed)]);
    assert_eq!(output.status.code(), Some(101), "{said}");
    assert!(said.contains(&format!("seed {seed} fails")), "{said}");
}

#[test]
fn a_plain_test_says_the_same() {
    let (output, said) = child("in_a_plain_test_too", &[("CARGO_PKG_NAME", "mine")]);
    assert_eq!(output.status.code(), Some(101), "{said}");
    assert!(said.contains("seed 2 fails: two is too much"), "{said}");
    assert!(said.contains("SYNC_SIM_SEED=2 cargo test -p mine "), "{said}");
    let (output, said) = child("in_a_plain_test_too", &[("SYNC_SIM_SEED", "1")]);
    assert_eq!(output.status.code(), Some(0), "{said}");
}

#[test]
fn what_the_environment_says_must_make_sense() {
    for (variable, value, word) in [
        ("SYNC_SIM_SEED", "seven", "is no seed"),
        ("SYNC_SIM_CASE", "/nowhere.toml", "SYNC_SIM_CASE=/nowhere"),
    ] {
        let (output, said) = child("in_a_plain_test_too", &[(variable, value)]);
        assert_eq!(output.status.code(), Some(101), "{said}");
        assert!(said.contains(word), "{said}");
    }
}
