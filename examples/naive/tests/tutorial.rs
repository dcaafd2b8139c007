//! The claims of the book about each version of its replica.

use sync_sim::case::Case;
use sync_sim::custom::*;

macro_rules! state {
    ($name:ident, $path:expr) => {
        #[allow(dead_code, reason = "a program as it stands")]
        mod $name {
            include!($path);
        }
    };
}

state!(naive, concat!(env!("OUT_DIR"), "/naive.rs"));
state!(stamped, concat!(env!("OUT_DIR"), "/stamped.rs"));
state!(fixed, concat!(env!("OUT_DIR"), "/fixed.rs"));
state!(gossip, concat!(env!("OUT_DIR"), "/gossip.rs"));

/// Asserts that a sweep finds a class of failures, that shrinking yields a small case, and that the stored case
/// still fails in this class.
fn finds<S: Subject>(lab: &Lab<S>, class: &str, stored: &str) {
    let sweep = lab.sweep(0..200).unwrap();
    let found = sweep.first(class).unwrap_or_else(|| panic!("{:?}", sweep.classes));
    let stored: Case = stored.parse().unwrap();
    assert_eq!(lab.replay(&stored).unwrap().class.as_str(), class);
    let small = lab.shrink(&lab.case(found.seed), 1_000, &mut |_| true).unwrap();
    assert!(small.finished && small.case.size().causes() <= 6, "{}", small.case.size());
    assert_eq!(lab.replay(&small.case).unwrap().class.as_str(), class);
}

#[test]
fn book_shows_the_program() {
    assert!(include_str!("../src/main.rs") == include_str!(concat!(env!("OUT_DIR"), "/naive.rs")));
}

/// Asserts that the book shows what a sweep of this version prints.
fn is_in_book<S: Subject>(lab: &Lab<S>, class: &str) {
    let book = include_str!("../../../docs/book/your-own-replica.md");
    let sweep = lab.sweep(0..1_000).unwrap();
    let first = sweep.first(class).unwrap().seed;
    for line in [
        format!("{} seeds, {} converged, {} events\n", sweep.seeds, sweep.converged, sweep.events),
        format!("  {} ended as {class}; the first is seed {first}: ", sweep.classes[class]),
    ] {
        assert!(book.contains(&line), "the book does not show {line:?}");
    }
}

#[test]
fn book_shows_the_sweeps() {
    is_in_book(&Lab::new(naive::Sharing), "diverged");
    is_in_book(&Lab::new(stamped::Sharing), "diverged");
    is_in_book(&Lab::new(gossip::Sharing), "violated: a write is gone");
}

#[test]
fn naive_replica_swaps_writes() {
    finds(&Lab::new(naive::Sharing), "diverged", include_str!("../cases/swapped.toml"));
}

#[test]
fn stamps_do_not_recover_loss() {
    finds(&Lab::new(stamped::Sharing), "diverged", include_str!("../cases/lost.toml"));
}

#[test]
fn gossip_alone_revives_old_text() {
    finds(&Lab::new(gossip::Sharing), "violated: a write is gone", include_str!("../cases/stale.toml"));
}

#[test]
fn stamps_and_gossip_converge() {
    for faults in [FaultConfig::light_chaos(), FaultConfig::heavy_chaos(), FaultConfig::partition_heavy()] {
        Lab::new(fixed::Sharing).faults(faults).check(0..500);
    }
    let disks = FaultConfig::heavy_chaos().with_failed_writes(0.1).with_pauses(0.01, 100..500);
    Lab::new(fixed::Sharing).faults(disks).nodes(5).ops(40, SimDuration::from_secs(5)).check(0..200);
}

#[test]
fn stored_cases_pass_when_fixed() {
    let lab = Lab::new(fixed::Sharing);
    for case in ["swapped", "lost", "stale"] {
        let path = format!("{}/cases/{case}.toml", env!("CARGO_MANIFEST_DIR"));
        let case: Case = std::fs::read_to_string(path).unwrap().parse().unwrap();
        assert!(lab.replay(&case).unwrap().class.is_converged());
    }
}
