//! Drawn runs: they converge, in both phases; what they reach is counted; and a fault that does nothing any
//! more is missed.

use sync_sim::case::Ended;
use sync_sim::coverage::{Coverage, Knob};
use sync_sim::hostile::HostileFaults;
use sync_sim::prelude::*;
use sync_sim::swarm;

/// Runs a case as it is, or as if something were dead in it, and says what it reached.
fn coverage(case: &Case, as_if: &FaultConfig) -> Coverage {
    let mut told = Case { faults: as_if.clone(), ..case.clone() };
    if told.check().is_err() {
        // Without those who join late, hostile nodes may stand between honest ones.
        told.faults.hostile = HostileFaults::none();
    }
    let mut rt = told.build().unwrap();
    let ended = Ended::of(&mut rt);
    Coverage::of(case, &rt, &ended)
}

/// A sweep that is just large enough.
const SEEDS: std::ops::Range<u64> = 0..1_200;

#[test]
fn drawn_runs_converge() {
    for seed in 0..300 {
        let ended = swarm::draw(seed).run().unwrap();
        assert!(ended.class.is_converged(), "seed {seed}: {ended}");
    }
}

/// Drawn seeds that sweeps found to fail, and why.
#[test]
fn drawn_runs_that_failed_once_converge() {
    let found = [
        (
            22_796,
            "a member that began afresh counted its starts anew; its deltas were taken for those of its former life",
        ),
        (
            33_927,
            "an equal root dropped the debt to ask how far a peer has come, and each heartbeat made it again",
        ),
        (
            61_536,
            "one that began afresh walked as it wished, was cut off, and was left behind with half of a state",
        ),
        (99_866, "the same as of 33,927"),
    ];
    for (seed, why) in found {
        let ended = swarm::draw(seed).run().unwrap();
        assert!(ended.class.is_converged(), "seed {seed} ({why}): {ended}");
    }
}

#[test]
fn a_dead_knob_is_missed_by_name() {
    let cases: Vec<Case> = SEEDS.map(swarm::draw).collect();
    let alive: Vec<Coverage> = cases.iter().map(|case| coverage(case, &case.faults)).collect();
    let mut sum = Coverage::default();
    alive.iter().for_each(|one| sum.add(one));
    let mut unmissed = Vec::new();
    for knob in Knob::all() {
        let name = format!("fault {}", knob.name);
        assert!(!sum.missing().contains(&name), "{name} is reached as long as it is alive");
        let mut dead = Coverage::default();
        for (case, alive) in cases.iter().zip(&alive) {
            let without = knob.without(&case.faults);
            if without == case.faults {
                // The knob is off here: this run is the one that was seen.
                dead.add(alive);
            } else {
                dead.add(&coverage(case, &without));
            }
        }
        if !dead.missing().contains(&name) {
            unmissed.push(name);
        }
    }
    assert!(unmissed.is_empty(), "these were dead, and nobody missed them: {unmissed:?}");
}

#[test]
fn the_second_phase_heals_everything() {
    let mut case: Case = r#"
        seed = 3
        calm_after = "2s"
        max_time = "60s"
        scenario = { name = "diverged", nodes = 3, entities = 5 }
        script = [
            { at = "100ms", partition = { groups = [["alice"], ["bob", "carol"]] } },
            { at = "200ms", crash = { node = "bob", point = "now" } },
            { at = "300ms", leave = { node = "carol" } },
        ]
        rules = [{ do = "drop", kinds = ["handshake"] }]
    "#
    .parse()
    .unwrap();
    let mut rt = case.build().unwrap();
    assert_eq!(rt.phase(), Some(Phase::Safety));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_eq!(rt.phase(), Some(Phase::Liveness));
    assert!(rt.now() >= SimTime::from_secs(2));
    case.calm_after = None;
    let mut rt = case.build().unwrap();
    assert_ne!(rt.run(), StopCondition::Converged);
    assert_eq!(rt.phase(), None);
}
