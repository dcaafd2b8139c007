//! What async code with retries does under faults.

use journal::Writing;
use std::process::Command;
use sync_sim::case::Case;
use sync_sim::custom::{FaultConfig, Lab, SimDuration};

fn lab(numbered: bool) -> Lab<Writing> {
    Lab::new(Writing { numbered })
}

/// That a sweep finds a kind of failure, that it becomes small, that the case that is kept still fails so, and
/// does not where lines are numbered.
fn finds(class: &str, kept: &str) {
    let sweep = lab(false).sweep(0..200).unwrap();
    let found = sweep.first(class).unwrap_or_else(|| panic!("{:?}", sweep.classes));
    let small = lab(false).shrink(&lab(false).case(found.seed), 1_000, &mut |_| true).unwrap();
    assert!(small.finished && small.case.size().causes() <= 6, "{}", small.case);
    assert_eq!(lab(false).replay(&small.case).unwrap().class.as_str(), class);
    let kept: Case = kept.parse().unwrap();
    assert_eq!(lab(false).replay(&kept).unwrap().class.as_str(), class);
    assert!(lab(true).replay(&kept).unwrap().class.is_converged());
}

#[test]
fn a_line_whose_answer_is_lost_is_taken_twice() {
    finds("violated: a line is there twice", include_str!("../cases/twice.toml"));
}

#[test]
fn an_answer_that_comes_late_passes_for_that_to_another_line() {
    finds("violated: a line is lost", include_str!("../cases/late.toml"));
}

#[test]
fn numbered_lines_are_taken_once_whatever_happens() {
    for faults in [FaultConfig::light_chaos(), FaultConfig::heavy_chaos(), FaultConfig::partition_heavy()] {
        lab(true).faults(faults).check(0..300);
    }
    let disks = FaultConfig::heavy_chaos().with_failed_writes(0.1).with_pauses(0.01, 100..500);
    lab(true).faults(disks).nodes(5).ops(40, SimDuration::from_secs(5)).check(0..100);
}

#[test]
fn the_same_seed_is_the_same_run_on_any_thread_and_in_every_process() {
    let here = lab(false).sweep_on(1, 0..50).unwrap();
    assert_eq!(here, lab(false).sweep_on(2, 0..50).unwrap());
    let other = Command::new(env!("CARGO_BIN_EXE_journal"))
        .args(["as-sent", "sweep", "--seeds", "0..50", "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8(other.stdout).unwrap();
    assert!(said.contains(&format!("\"trace\":{}", here.trace)), "{said}");
}
