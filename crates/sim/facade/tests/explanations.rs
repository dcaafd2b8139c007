//! Explanations: the first line of a verdict says what explains it, and a run that ran out says how far it was.

use sync_sim::network::{Rule, Verdict};
use sync_sim::prelude::*;
use sync_sim::scenarios::Scenario;
use syncline_replica::{Operation, Target};

/// Three nodes, in a run of ten seconds.
fn three(faults: FaultConfig) -> SimRuntime {
    let config = SimConfig { faults, max_time: SimTime::from_secs(10), ..SimConfig::with_seed(5) };
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 5));
    rt
}

fn set(name: &str, value: &str) -> Vec<Operation> {
    vec![Operation::Set { target: Target::named(name.as_bytes()), bytes: value.into() }]
}

/// The verdict up to the first clause, and all of it.
fn verdict(rt: &mut SimRuntime) -> (String, String) {
    let all = rt.run().to_string();
    (all.split("; ").next().unwrap().to_owned(), all)
}

#[test]
fn cut_comes_first() {
    let mut rt = three(FaultConfig::none());
    rt.run_until(|rt| rt.now() >= SimTime::from_millis(40));
    let since = rt.now();
    rt.partition_groups(&[vec!["alice"], vec!["bob", "carol"]], None);
    rt.write_at(SimTime::from_secs(1), "bob", set("title", "after the cut"));
    let (first, all) = verdict(&mut rt);
    assert_eq!(first, format!("time ran out: alice has been cut off from bob and carol since {since}"));
    assert!(all.contains("it was making no progress: no state has changed since 1"), "{all}");
    assert!(all.contains("not ended yet: the partition alice | bob, carol (since"), "{all}");
}

#[test]
fn loss_of_all_frames_comes_first() {
    let lossy = |probability| {
        let mut rt = three(FaultConfig::none().with_loss(probability));
        verdict(&mut rt)
    };
    let (first, all) = lossy(1.0);
    assert_eq!(first, "time ran out: every frame is lost");
    assert!(all.contains("not ended yet: the loss of 100 % of all frames"), "{all}");
    let (first, _) = lossy(0.99);
    assert_eq!(first, "time ran out: 99 % of all frames are lost");
}

#[test]
fn one_way_cut_names_direction() {
    let mut rt = three(FaultConfig::none());
    for to in [1, 2] {
        rt.world_mut().add_rule(Rule::new(Verdict::Drop).from(NodeId(0)).to(NodeId(to)));
    }
    let (first, all) = verdict(&mut rt);
    assert!(first.ends_with("frames of alice have not reached bob and carol since the start"), "{all}");
    assert!(all.contains("the rule \"drop every frame from #0"), "{all}");
}

#[test]
fn detour_is_no_cut() {
    let mut rt = three(FaultConfig::none());
    rt.partition_bidirectional("alice", "bob", None);
    let (_, all) = verdict(&mut rt);
    assert!(!all.contains("cut off"), "{all}");
}

#[test]
fn outage_is_named() {
    let mut rt = three(FaultConfig::none());
    rt.crash_at(SimTime::from_millis(70), "bob", CrashPoint::Now, None);
    let (first, all) = verdict(&mut rt);
    assert!(first.ends_with("bob has been down since it crashed at 70ms"), "{all}");
}

#[test]
fn wrong_clock_is_named() {
    let mut rt = three(FaultConfig::none());
    rt.set_clock_at(SimTime::from_millis(10), "carol", -3_600_000_000);
    rt.write_at(SimTime::from_secs(8), "alice", set("title", "from the future"));
    let (first, all) = verdict(&mut rt);
    assert!(first.contains("is 3600.000s ahead of that of carol"), "{all}");
}

#[test]
fn busy_run_was_making_progress() {
    let mut rt = three(FaultConfig::heavy_chaos());
    for at in 0..200 {
        rt.write_at(SimTime::from_millis(50 * at), "alice", set("title", &format!("version {at}")));
    }
    let (_, all) = verdict(&mut rt);
    assert!(all.contains("it was still making progress: in the last tenth of the time"), "{all}");
    assert!(all.contains(" % of all frames, "), "{all}");
    assert!(all.contains("partitions, crashes at random until"), "{all}");
}
