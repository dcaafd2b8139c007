//! Swarm runs: they converge in both phases, their coverage is counted, and a fault setting without effect is
//! noticed.

use sync_sim::known::KnownFinding;
use sync_sim::prelude::*;
use sync_sim::swarm;
use syncline_types::Probe;

#[test]
fn drawn_runs_converge() {
    for seed in 0..if cfg!(debug_assertions) { 60 } else { 300 } {
        let case = swarm::draw(seed);
        let ended = case.run().unwrap();
        let known = KnownFinding::of(&case, &ended.class, &ended.reason);
        assert!(ended.class.is_converged() || known.is_some(), "seed {seed}: {ended}");
    }
}

/// Drawn seeds that once failed, and why.
#[test]
fn regression_seeds_converge() {
    let found = [
        (
            22_796,
            "a member that restarted without its state reset its incarnation; its deltas passed for those of its former incarnation",
        ),
        (
            33_927,
            "an equal root dropped the pending request for a peer's progress, and each heartbeat made it again",
        ),
        (61_536, "a fresh member chose a walk, was disconnected, and stayed with half of a state"),
        (99_866, "the same as of 33,927"),
        (
            46_007,
            "false alarm: a delete that only a lost disk had, and a frame in flight, was collected with its value",
        ),
        (76_926, "false alarm: a paste counted as no content until what it was pasted beside had arrived"),
        (222, "a merge function that some nodes lacked, or that was no join, divided the replicas"),
        (1_245, "a merge function that panicked ended the process of every node that received the delta"),
        (56, "a node that wrote while its clock was far ahead was no longer heard"),
        (17_479, "a horizon from a clock that was far ahead was impossible for everyone else"),
        (10_132, "while a delta was ahead of its reader's clock, session after session sent it in vain"),
        (7_263, "deltas that nobody could complete waited for a peer that answered nothing"),
        (18_450, "a walk was due: the responder refused deltas of a member that it did not know yet"),
        (
            36_142,
            "a node came back while a member that had its writes was away, and its text showed them twice",
        ),
        (52_605, "a node came back from ahead of time, and its log had pruned what nobody had taken"),
        (35_057, "a handshake was answered relative to vectors that its sender did not have any more"),
        (22_789, "the answers of an old store were dropped, and it did not hear of it"),
        (28_418, "the same as of 22,789"),
        (29_864, "the same as of 22,789"),
        (22_545, "false alarm: a disk from before the horizon was left behind"),
        (35_063, "of two lives of one id, a member took number 1 of the one and number 2 of the other"),
    ];
    for (seed, why) in found {
        let ended = swarm::draw(seed).run().unwrap();
        assert!(ended.class.is_converged(), "seed {seed} ({why}): {ended}");
    }
}

#[test]
fn liveness_phase_ends_all_faults() {
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

/// The case of one node that takes a snapshot and crashes meanwhile, with snapshot pages of this size.
fn snapshot_cut_off(page_bytes: usize) -> SimRuntime {
    let text = format!(
        r#"
        seed = 3
        scenario = {{ name = "fresh", nodes = 2, entities = 40 }}
        script = [{{ at = "700ms", crash = {{ node = "bob", point = "now", down_for = "200ms" }} }}]

        [replica]
        limits = {{ snapshot_page_bytes = {page_bytes} }}

        [faults]
        base_latency_ms = 20
        "#
    );
    let mut rt = text.parse::<Case>().unwrap().build().unwrap();
    assert_eq!(rt.run(), StopCondition::Converged);
    rt
}

#[test]
fn probes_tell_what_happened() {
    let small = snapshot_cut_off(64).probes();
    assert!(small.contains(Probe::SnapshotResumed), "{:?}", small.iter().collect::<Vec<_>>());
    let usual = snapshot_cut_off(65_536).probes();
    assert!(!usual.contains(Probe::SnapshotResumed), "its only page arrives as a whole");
}

/// 1,200 seeds for every fault setting: `.ci/run release-tests` has the time for them, a debug build does not.
#[cfg(not(debug_assertions))]
mod dead_settings {
    use sync_sim::case::RunResult;
    use sync_sim::coverage::{Coverage, FaultSetting};
    use sync_sim::hostile::HostileFaults;
    use sync_sim::prelude::*;
    use sync_sim::swarm;

    /// The coverage of a case that is run with the fault settings `as_if`, as if one of its own had no effect.
    fn coverage(case: &Case, as_if: &FaultConfig) -> Coverage {
        let mut changed = Case { faults: as_if.clone(), ..case.clone() };
        if changed.check().is_err() {
            // Without late joiners, hostile nodes may separate honest ones.
            changed.faults.hostile = HostileFaults::none();
        }
        let mut rt = changed.build().unwrap();
        let ended = RunResult::of(&mut rt);
        Coverage::of(case, &rt, &ended)
    }

    /// A sweep that is just large enough to reach every demanded target.
    const SEEDS: std::ops::Range<u64> = 0..1_200;

    #[test]
    fn coverage_notices_dead_fault_settings() {
        let cases: Vec<Case> = SEEDS.map(swarm::draw).collect();
        let alive: Vec<Coverage> = cases.iter().map(|case| coverage(case, &case.faults)).collect();
        let mut sum = Coverage::default();
        alive.iter().for_each(|one| sum.add(one));
        let mut unnoticed = Vec::new();
        for setting in FaultSetting::all() {
            let name = format!("fault {}", setting.name);
            assert!(!sum.missing().contains(&name), "{name} is reached as long as it is alive");
            let mut dead = Coverage::default();
            // Where the setting has no effect that counts, it cannot have one without it.
            let reached = cases.iter().zip(&alive).filter(|(_, alive)| !alive.missing().contains(&name));
            for (case, alive) in reached {
                let without = setting.without(&case.faults);
                if without == case.faults {
                    // The setting is off in this case: the run is the same.
                    dead.add(alive);
                } else {
                    dead.add(&coverage(case, &without));
                }
            }
            if !dead.missing().contains(&name) {
                unnoticed.push(name);
            }
        }
        assert!(
            unnoticed.is_empty(),
            "these settings had no effect, and the coverage did not notice: {unnoticed:?}"
        );
    }
}
