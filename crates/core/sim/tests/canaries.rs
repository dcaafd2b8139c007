//! The tests of the tests: deliberate bugs, each of a kind that real projects shipped. A sweep must
//! notice every one of them, and the case it finds must become small; one that survives a thousand seeds
//! fails the build.
//!
//! `docs/canaries.md` and `tests/pasted.rs` are made here: `SYNCLINE_UPDATE_DOCS=1 cargo test -p sync-sim
//! --features canary --test canaries -- --nocapture`, which prints the seconds besides.

#![allow(
    clippy::disallowed_methods,
    reason = "prints what finding each bug cost, and reads the golden files"
)]

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;
use sync_sim::canary::{self, Canary};
use sync_sim::case::{Beginning, shrink};
use sync_sim::prelude::*;

/// One run of the reference sweep: three replicas, heavy chaos, concurrent writes. One bug needs more
/// entities than the others to show, one needs restarts quicker than frames.
fn case(bug: Canary, seed: u64) -> Case {
    let mut faults = FaultConfig::heavy_chaos();
    if bug == Canary::StaleFrameAccepted {
        faults = faults.with_crashes(0.02, 20..60);
    }
    let entities = if bug == Canary::ChildrenBeyond256Ignored { 150 } else { 10 };
    Case {
        seed,
        faults,
        scenario: Some(Beginning { entities, ..Beginning::default() }),
        workload: Workload::new(30, SimDuration::from_secs(3)),
        ..Case::default()
    }
}

/// Compares a file with what it should hold, or writes it if that is asked for.
fn golden(path: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("SYNCLINE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{} is out of date: run with SYNCLINE_UPDATE_DOCS=1", path.display());
}

const TABLE: &str = "\
# What the canaries cost

Deliberate bugs, each of a kind that real projects shipped, switched on one at a time. Made by
`crates/core/sim/tests/canaries.rs`: seeds from 0 on until one fails, then `shrink`. *Causes* are writes, crashes,
partitions, frames that something was done to, and initial entities (a run of them, as in `alice/0..300`, is one).
Without its bug every case here converges.

| bug | seeds | found as | causes | after shrinking | what is left | runs |
| --- | ---: | --- | ---: | ---: | --- | ---: |
";

/// Above this, a case does not count as small.
const SMALL: usize = 20;

#[test]
fn a_sweep_notices_every_canary() {
    const SEEDS: u64 = 1_000;
    let mut table = TABLE.to_owned();
    let mut pasted = String::new();
    for bug in Canary::ALL {
        canary::set(Some(bug));
        let started = Instant::now();
        let runs = (0..SEEDS).map(|seed| (case(bug, seed), case(bug, seed).run().unwrap()));
        let found = runs.into_iter().find(|(_, ended)| !ended.class.is_converged());
        let Some((case, ended)) = found else { panic!("{bug:?} survived {SEEDS} seeds") };
        let (seeds, took) = (case.seed + 1, started.elapsed());
        let started = Instant::now();
        let shrunk = shrink(&case, 20_000, &mut |_| true).unwrap();
        let again: Case = shrunk.case.to_text().unwrap().parse().unwrap();
        assert_eq!(again.run().unwrap().class, ended.class, "{bug:?}");
        canary::set(None);
        println!(
            "{bug:?}: {seeds} seeds in {took:.1?}: {}; shrunk in {:.1?} and {} runs from {} to {}\n{}",
            ended.class,
            started.elapsed(),
            shrunk.runs,
            shrunk.from,
            shrunk.case.size(),
            shrunk.case
        );
        let (from, size) = (shrunk.from.causes(), shrunk.case.size());
        let _ = writeln!(
            table,
            "| `{bug:?}` | {seeds} | {} | {from} | {} | {size} | {} |",
            ended.class,
            size.causes(),
            shrunk.runs
        );
        assert!(size.causes() < SMALL, "{bug:?} is left with {size}");
        for clean in [&case, &again] {
            let ended = clean.run().unwrap();
            assert!(ended.class.is_converged(), "without {bug:?}: {ended}");
        }
        if bug == Canary::LwwTieByArrival {
            pasted = shrunk.case.to_rust().unwrap();
        }
    }
    golden("../../../docs/canaries.md", &table);
    let head = "//! A test as `syncline shrink` prints it, pasted. Made by `canaries.rs`.\n\n";
    golden("tests/pasted.rs", &format!("{head}{pasted}"));
}
