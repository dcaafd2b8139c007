//! Hostile peers in whole runs: their lies are refused, and the honest nodes converge with each other and
//! lose nothing.

use sync_sim::case::{CaseError, ScriptAction};
use sync_sim::hostile::Lies;
use sync_sim::prelude::*;
use sync_sim::shrink::shrink;
use sync_sim::timeline::Timeline;

fn safe() -> impl Iterator<Item = Lie> {
    Lie::ALL.into_iter().filter(|lie| !lie.is_taken_on_trust())
}

/// A run with hostile nodes, a scenario in which all nodes differ, and a workload.
fn with(seed: u64, nodes: usize, faults: FaultConfig) -> SimRuntime {
    let config = SimConfig::with_seed(seed).with_faults(faults).with_max_time(SimTime::from_secs(300));
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_diverged(nodes, 6));
    rt.apply_workload(&Workload::new(40, SimDuration::from_secs(5)));
    rt
}

/// Runs to the end and asserts that the honest nodes agree.
fn converges(mut rt: SimRuntime, what: &str) -> SimRuntime {
    let stop = rt.run();
    assert_eq!(stop, StopCondition::Converged, "seed {}, {what}: {stop}", rt.config().seed);
    let honest: Vec<NodeId> = rt.node_ids().into_iter().filter(|node| !rt.is_hostile(*node)).collect();
    assert!(honest.len() > 1 && honest.iter().all(|node| rt.digest(*node) == rt.digest(honest[0])));
    rt
}

/// How a kind of lie is defeated.
#[derive(PartialEq, Debug)]
enum Defeat {
    /// Frames, deltas or sessions are refused, and honest nodes back off from the adversary.
    Refused,
    /// Nothing has to be refused: other nodes deliver what is withheld or late, and repeated frames are
    /// idempotent.
    Harmless,
}

const fn defeat_of(lie: Lie) -> Defeat {
    match lie {
        Lie::ReplayedFrames | Lie::WithheldDeltas | Lie::SlowDrip => Defeat::Harmless,
        _ => Defeat::Refused,
    }
}

/// Promises: S1
#[test]
fn honest_converge_under_every_lie() {
    for lie in safe() {
        let mut times = 0;
        let mut refused = 0;
        for (seed, preset) in (0..12).zip([FaultConfig::light_chaos, FaultConfig::heavy_chaos].iter().cycle())
        {
            let faults = preset().with_hostile(1).with_lies([lie]).with_lie_rate(0.6);
            let rt = converges(with(seed, 4, faults), lie.name());
            assert_eq!(rt.check_values(), None, "seed {seed}, {lie}");
            let hostile = rt.metrics().hostile;
            assert!(hostile.lies.keys().all(|used| *used == lie), "seed {seed}: {:?}", hostile.lies);
            times += hostile.total_lies();
            refused += hostile.frames_refused + hostile.deltas_refused + hostile.sessions_failed;
        }
        assert!(times > 8, "{lie} is used {times} times");
        assert!(refused > 0 || defeat_of(lie) == Defeat::Harmless, "{lie} is never refused");
    }
}

#[test]
fn honest_agree_under_trusted_lies() {
    for lie in Lie::ALL.into_iter().filter(|lie| lie.is_taken_on_trust()) {
        let mut times = 0;
        for (seed, preset) in (0..8).zip([FaultConfig::light_chaos, FaultConfig::heavy_chaos].iter().cycle())
        {
            let faults = preset().with_hostile(1).with_lies([lie]).with_lie_rate(0.6);
            times += converges(with(seed, 4, faults), lie.name()).metrics().hostile.total_lies();
        }
        assert!(times > 20, "{lie} is used {times} times");
    }
}

/// The limit of the promise: records are not signed.
#[test]
fn tampered_records_need_membership() {
    let wrong = |outsiders: usize| {
        let tampering = |seed| {
            let faults = FaultConfig::light_chaos()
                .with_hostile(1)
                .with_outsiders(outsiders)
                .with_lies([Lie::TamperedRecords])
                .with_lie_rate(1.0);
            converges(with(seed, 3, faults), "tampered records")
        };
        (0..10).filter(|seed| tampering(*seed).check_values().is_some()).count()
    };
    assert!(wrong(0) > 0, "a member is believed");
    assert_eq!(wrong(1), 0, "a stranger is not");
}

#[test]
fn outsiders_leave_no_writes() {
    for seed in 0..10 {
        let faults = FaultConfig::heavy_chaos()
            .with_hostile(2)
            .with_outsiders(2)
            .with_lie_rate(0.4)
            .with_churn(0.002, 200..900);
        let rt = converges(with(seed, 5, faults), "strangers");
        // The run itself checks that only writes of members are visible; this asserts that outsiders
        // tried.
        let metrics = rt.metrics();
        assert_eq!(rt.check_values(), None, "seed {seed}");
        assert!(metrics.hostile.lies_by_outsiders > 0 && metrics.dropped(DropCause::NotAMember) > 0);
        assert_eq!(metrics.hostile.lies_by_outsiders, metrics.hostile.total_lies());
    }
}

#[test]
fn all_lies_combine_with_all_faults() {
    for seed in 0..12 {
        let lies: Vec<Lie> = if seed % 2 == 0 { safe().collect() } else { Lie::ALL.to_vec() };
        let faults = FaultConfig::heavy_chaos()
            .with_corruption(0.02)
            .with_churn(0.002, 200..900)
            .with_late_joiners(1, 0..900)
            .with_clock_skew(1_000)
            .with_failed_writes(0.005)
            .with_torn_writes(0.001)
            .with_hostile(2)
            .with_lies(lies)
            .with_lie_rate(0.3);
        converges(with(seed, 5, faults), "all at once");
    }
}

#[test]
fn seed_decides_hostile_runs() {
    let run = || {
        let faults = FaultConfig::heavy_chaos().with_hostile(1);
        let rt = converges(with(9, 4, faults), "again");
        (rt.trace_digest(), rt.metrics().hostile)
    };
    assert_eq!(run(), run());
}

#[test]
fn script_schedules_lies() {
    let mut rt = SimRuntime::with_seed(4);
    let [alice, bob, mallory] = rt.apply_scenario_n(Scenario::n_nodes_diverged(3, 5));
    rt.lie_at(SimTime::from_millis(5), mallory, Lie::LyingRoot, 3);
    rt.apply_workload(&Workload::new(30, SimDuration::from_secs(20)));
    assert!(rt.is_hostile(mallory) && !rt.is_hostile(bob));
    assert_eq!(rt.run(), StopCondition::Converged);
    assert_eq!(rt.metrics().hostile.lies, [(Lie::LyingRoot, 3)].into());
    assert_eq!(rt.digest(alice), rt.digest(bob));
}

#[test]
fn run_does_not_wait_for_adversaries() {
    let mut rt = SimRuntime::with_config(SimConfig::with_seed(4).with_max_time(SimTime::from_secs(60)));
    let [alice, bob, mallory] = rt.apply_scenario_n(Scenario::n_nodes_diverged(3, 5));
    rt.make_hostile(mallory, [Lie::WithheldDeltas]);
    rt.crash_at(SimTime::from_millis(1), mallory, CrashPoint::Now, None);
    assert_eq!(rt.run(), StopCondition::Converged);
    assert!(!rt.is_up(mallory) && rt.digest(alice) == rt.digest(bob));
    assert_ne!(rt.digest(alice), rt.digest(mallory));
}

#[test]
fn stopped_run_names_excluded_nodes() {
    let mut rt = SimRuntime::with_config(SimConfig::with_seed(4).with_max_time(SimTime::from_secs(5)));
    let [alice, bob, _] = rt.apply_scenario_n(Scenario::n_nodes_diverged(3, 5));
    rt.make_hostile("carol", [Lie::Garbage]);
    rt.add_rule(Rule::new(Verdict::Drop).from(alice));
    rt.add_rule(Rule::new(Verdict::Drop).from(bob));
    let stop = rt.run();
    assert_ne!(stop, StopCondition::Converged);
    let said = stop.to_string();
    assert!(said.contains("hostile and left out: carol") && !said.contains("carol: "), "{said}");
}

#[test]
fn honest_nodes_back_off_from_adversaries() {
    assert!(sessions_with_an_adversary() < 60, "{} sessions", sessions_with_an_adversary());
}

/// The number of sessions that honest nodes start in two minutes with a node that rejects them all.
fn sessions_with_an_adversary() -> u64 {
    let faults =
        FaultConfig::light_chaos().with_hostile(1).with_lies([Lie::BrokenRecords]).with_lie_rate(1.0);
    let config = SimConfig::with_seed(3).with_faults(faults).with_max_time(SimTime::from_secs(200));
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 40));
    rt.apply_workload(&Workload::new(60, SimDuration::from_secs(120)));
    let hostile = converges(rt, "left alone").metrics().hostile;
    assert!(hostile.sessions_failed > 2, "{hostile:?}");
    hostile.sessions_started
}

#[test]
fn rejects_topology_joined_by_adversaries() {
    let mut rt = SimRuntime::with_config(SimConfig::with_seed(1).with_topology(Topology::Line));
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 2));
    rt.make_hostile("bob", []);
    assert_eq!(rt.run(), StopCondition::Violated(Check::HonestApart));
}

/// A member that announces a false horizon raises the horizon of others. A node without state that
/// requests a walk could never compare with them, so the request gives way to a snapshot. Found by `sweep
/// --swarm`, seed 7354.
#[test]
fn fresh_node_syncs_despite_false_horizon() {
    for protocol in ["hash_comparison", "level_wise", "subtree_prefetch", "bloom_filter", "rateless_iblt"] {
        for seed in (7_354..7_384).chain(0..30) {
            let case = format!(
                r#"
                seed = {seed}
                protocol = "{protocol}"
                nodes = [
                    {{ name = "alice" }},
                    {{ name = "bob", entities = ["bob/0..1"] }},
                    {{ name = "carol", hostile = ["lying_root", "replayed_frames", "forged_positions", "forged_versions"] }},
                ]
                [faults]
                base_latency_ms = 0
                latency_jitter_ms = 0
                hostile = {{ rate = 0.568153 }}"#
            );
            converges(read(&case).build().unwrap(), protocol);
        }
    }
}

/// Deltas that follow one which an adversary made up may be buffered for ever. Found by a sweep, seed
/// 3572.
#[test]
fn run_ends_despite_unsatisfiable_deltas() {
    for seed in 0..40 {
        let faults = FaultConfig::light_chaos()
            .with_hostile(1)
            .with_lies([Lie::ForgedParents, Lie::WithheldDeltas, Lie::Garbage])
            .with_lie_rate(0.9);
        let config = SimConfig::with_seed(seed).with_faults(faults).with_max_time(SimTime::from_secs(300));
        let mut rt = SimRuntime::with_config(config);
        rt.apply_scenario(Scenario::n_nodes_synced(2, 6));
        rt.apply_workload(&Workload::new(40, SimDuration::from_secs(5)));
        let stop = rt.run();
        assert_eq!(stop, StopCondition::Converged, "seed {seed}: {stop}");
    }
}

/// Endless lists contain invisible records that nobody wrote. All acknowledged writes must be visible;
/// what a member claims besides is taken on trust. Found by `sweep --swarm`, seed 2253.
#[test]
fn forged_positions_hide_no_write() {
    for seed in 0..150 {
        let faults = FaultConfig::heavy_chaos()
            .with_hostile(1)
            .with_lies([Lie::EndlessLists, Lie::ForgedParents, Lie::LyingRoot])
            .with_lie_rate(1.0);
        converges(with(seed, 3, faults), "endless lists");
    }
}

fn read(text: &str) -> Case {
    text.parse().unwrap_or_else(|error: CaseError| panic!("{error}\n{text}"))
}

const LYING: &str = r#"
    seed = 5
    max_time = "60s"
    nodes = [
        { name = "alice", entities = ["a/0..8"] },
        { name = "bob", entities = ["b/0..8"] },
        { name = "mallory", hostile = ["lying_root", "garbage"] },
        { name = "trudy", hostile = ["forged_deltas"], outsider = true },
        { name = "oscar", writes = [{ increment = { target = "likes", by = 2 } }] },
    ]
    script = [
        { at = "20ms", write = { node = "bob", ops = [{ increment = { target = "likes", by = 2 } }] } },
        { at = "30ms", lie = { node = "oscar", kind = "forged_parents" } },
        { at = "40ms", lie = { node = "oscar", kind = "withheld_deltas", frames = 2 } },
    ]
    [faults.hostile]
    rate = 0.5
    [workload]
    writes = 20
    over = "10s"
"#;

#[test]
fn case_describes_hostile_nodes() {
    let case = read(LYING);
    assert_eq!(read(&case.to_text().unwrap()), case);
    let rt = converges(case.build().unwrap(), "as the case says");
    for (name, hostile) in
        [("alice", false), ("bob", false), ("mallory", true), ("trudy", true), ("oscar", true)]
    {
        assert_eq!(rt.is_hostile(name), hostile, "{name}");
    }
    let times = rt.metrics().hostile.lies;
    assert!([Lie::LyingRoot, Lie::Garbage, Lie::ForgedDeltas].iter().all(|lie| times[lie] > 1), "{times:?}");
    assert_eq!((times[&Lie::ForgedParents], times[&Lie::WithheldDeltas]), (1, 2));
}

#[test]
fn rejects_inconsistent_hostile_cases() {
    let nodes = |nodes: &str| format!("nodes = [{nodes}]");
    let refused = |text: &str, words: &str| {
        let error = text.parse::<Case>().expect_err(text).to_string();
        assert!(error.contains(words), "{words:?} in:\n{error}");
    };
    let unknown = nodes(r#"{ name = "a" }, { name = "b", hostile = ["white"] }"#);
    refused(&unknown, "unknown variant `white`");
    refused(&unknown, "lying_root");
    refused(&nodes(r#"{ name = "a" }, { name = "b", outsider = true }"#), "goes with `hostile = [...]`");
    refused(&nodes(r#"{ name = "a", hostile = ["garbage"] }"#), "there must be an honest node");
    let line = nodes(r#"{ name = "a" }, { name = "b", hostile = ["garbage"] }, { name = "c" }"#);
    refused(&format!("topology = \"line\"\n{line}"), "leads past the hostile ones");
    refused(&format!("forget_tombstones = false\n{line}"), "members that know each other");
    let lie = r#"script = [{ at = "1s", lie = { node = "carl", kind = "garbage" } }]"#;
    refused(&format!("{line}\n{lie}"), "there is no node \"carl\"");
    refused(
        "scenario = { nodes = 3 }\n[faults.hostile]\nnodes = 1\noutsiders = 2",
        "the number of outsiders",
    );
    refused("scenario = { nodes = 2 }\n[faults.hostile]\nnodes = 2", "there must be an honest node");
}

#[test]
fn pinned_case_repeats_hostile_run() {
    for seed in 0..4 {
        let faults = FaultConfig::heavy_chaos()
            .with_hostile(2)
            .with_outsiders(1)
            .with_lies([Lie::Garbage, Lie::LyingRoot]);
        let case = Case {
            seed,
            scenario: Some(sync_sim::case::ScenarioSpec { nodes: 4, entities: 6, ..Default::default() }),
            workload: Workload::new(20, SimDuration::from_secs(2)),
            faults,
            ..Case::default()
        };
        let pinned = case.pinned().unwrap();
        assert_eq!(pinned.faults.hostile.nodes, 0);
        let named: Vec<(Lies, bool)> =
            pinned.nodes.iter().map(|node| (node.hostile, node.outsider)).collect();
        let lies = case.faults.hostile.lies;
        assert_eq!(named, [(Lies::NONE, false), (Lies::NONE, false), (lies, false), (lies, true)]);
        let mut first = case.build().unwrap();
        let mut again = pinned.build().unwrap();
        assert_eq!(first.run(), again.run(), "seed {seed}");
        assert_eq!(first.metrics().hostile, again.metrics().hostile, "seed {seed}");
    }
}

#[test]
fn shrinking_drops_irrelevant_lies() {
    // The writes of alice and bob never get through, whichever node lies.
    let mut case = read(LYING);
    case.max_time = SimTime::from_secs(5);
    case.rules = read(
        r#"
        nodes = [{ name = "alice" }, { name = "bob" }]
        rules = [{ do = "drop", from = "alice" }, { do = "drop", from = "bob" }]
    "#,
    )
    .rules;
    let shrunk = shrink(&case, 2_000, &mut |_| true).unwrap().case;
    assert!(shrunk.nodes.iter().all(|node| node.hostile.is_none() && !node.outsider), "{shrunk}");
    assert!(!shrunk.script.iter().any(|line| matches!(line.what, ScriptAction::Lie(_))), "{shrunk}");
}

#[test]
fn timeline_marks_hostile_nodes() {
    let faults = FaultConfig::light_chaos().with_hostile(1).with_lies([Lie::Garbage]).with_lie_rate(0.5);
    let mut rt =
        SimRuntime::with_config(SimConfig::with_seed(2).with_faults(faults).with_history(usize::MAX));
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 4));
    let stop = rt.run();
    let timeline = Timeline::of_run(&rt, &stop).unwrap().unwrap();
    let names: Vec<&str> = timeline.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["alice", "bob", "carol (hostile)"]);
    assert!(timeline.nodes[2].figures["lies: garbage"] > 0);
    assert!(
        timeline.facts.iter().any(|fact| fact == "hostile, and not waited for: carol"),
        "{:?}",
        timeline.facts
    );
}

/// Where nodes sign with their own keys, their replicas are recovered twice before the run.
#[test]
fn fresh_start_raises_the_incarnation() {
    let mut rt =
        SimRuntime::with_config(SimConfig::with_seed(1).with_faults(FaultConfig::none().with_hostile(1)));
    rt.apply_scenario(Scenario::n_nodes_synced(3, 4));
    let starts = |rt: &SimRuntime| rt.node("alice").replica().unwrap().incarnation();
    rt.step();
    let before = starts(&rt);
    rt.rot_at(100.into(), "alice");
    rt.write_at(SimTime::from_secs(9), "bob", vec![Operation::Delete { target: Target::named(b"x") }]);
    rt.run();
    assert_eq!(rt.metrics().effects.hosts.fresh_starts, 1);
    assert!(starts(&rt) > before, "{} after {before}", starts(&rt));
}

/// Canaries that remove a refusal: they show that the tests above can fail.
#[cfg(feature = "canary")]
mod without_a_refusal {
    use super::*;
    use sync_sim::canary::{self, Canary};

    /// The end of the first run that does not converge while a bug is on.
    fn found(bug: Canary, lies: &[Lie], outsiders: usize) -> String {
        let seeds = 0..60;
        let run = |seed| {
            let faults = FaultConfig::light_chaos()
                .with_hostile(1)
                .with_outsiders(outsiders)
                .with_lies(lies.iter().copied())
                .with_lie_rate(0.7);
            let clean = with(seed, 4, faults.clone()).run();
            assert_eq!(clean, StopCondition::Converged, "seed {seed} without {bug:?}");
            canary::set(Some(bug));
            let stop = with(seed, 4, faults).run();
            canary::set(None);
            (stop != StopCondition::Converged).then(|| stop.to_string())
        };
        seeds.into_iter().find_map(run).unwrap_or_else(|| panic!("{bug:?} survived {lies:?}"))
    }

    #[test]
    fn detects_unchecked_signatures() {
        found(Canary::SignaturesUnchecked, &[Lie::ForgedDeltas], 0);
    }

    #[test]
    fn detects_admitted_outsider() {
        let said = found(Canary::StrangersLetIn, &[Lie::LyingRoot], 1);
        assert!(said.contains("C6"), "{said}");
    }

    #[test]
    fn detects_unverified_root() {
        found(Canary::SuccessOnPeersWord, &[Lie::LyingRoot], 0);
    }

    #[test]
    fn detects_missing_backoff() {
        canary::set(Some(Canary::FailuresForgiven));
        let sessions = sessions_with_an_adversary();
        canary::set(None);
        assert!(sessions >= 40, "{sessions} sessions");
    }
}
