//! Async code with retries under faults.

use journal::Writing;
use std::process::Command;
use sync_sim::case::Case;
use sync_sim::custom::{FaultConfig, Lab, SimDuration};

fn lab(numbered: bool) -> Lab<Writing> {
    Lab::new(Writing { numbered })
}

/// Asserts that a sweep finds a class of failures, that shrinking yields a small case, that the stored case still
/// fails in this class, and that it passes with numbered lines.
fn finds(class: &str, stored: &str) {
    let sweep = lab(false).sweep(0..200).unwrap();
    let found = sweep.first(class).unwrap_or_else(|| panic!("{:?}", sweep.classes));
    let small = lab(false).shrink(&lab(false).case(found.seed), 1_000, &mut |_| true).unwrap();
    assert!(small.finished && small.case.size().causes() <= 6, "{}", small.case);
    assert_eq!(lab(false).replay(&small.case).unwrap().class.as_str(), class);
    let stored: Case = stored.parse().unwrap();
    assert_eq!(lab(false).replay(&stored).unwrap().class.as_str(), class);
    assert!(lab(true).replay(&stored).unwrap().class.is_converged());
}

#[test]
fn lost_answer_duplicates_a_line() {
    finds("violated: a line is there twice", include_str!("../cases/twice.toml"));
}

#[test]
fn late_answer_loses_a_line() {
    finds("violated: a line is lost", include_str!("../cases/late.toml"));
}

#[test]
fn numbered_lines_are_accepted_once() {
    for faults in [FaultConfig::light_chaos(), FaultConfig::heavy_chaos(), FaultConfig::partition_heavy()] {
        lab(true).faults(faults).check(0..300);
    }
    let disks = FaultConfig::heavy_chaos().with_failed_writes(0.1).with_pauses(0.01, 100..500);
    lab(true).faults(disks).nodes(5).ops(40, SimDuration::from_secs(5)).check(0..100);
}

#[test]
fn same_seed_same_run() {
    let here = lab(false).sweep_on(1, 0..50).unwrap();
    assert_eq!(here, lab(false).sweep_on(2, 0..50).unwrap());
    let other = Command::new(env!("CARGO_BIN_EXE_journal"))
        .args(["as-sent", "sweep", "--seeds", "0..50", "--json"])
        .output()
        .unwrap();
    let printed = String::from_utf8(other.stdout).unwrap();
    assert!(printed.contains(&format!("\"trace\":{}", here.trace)), "{printed}");
}
