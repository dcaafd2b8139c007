//! Whole runs under everything at once.

use sync_sim::prelude::*;

fn run(seed: u64, faults: FaultConfig, nodes: usize, writes: usize) -> (SimRuntime, StopCondition) {
    let mut rt = SimRuntime::with_config(SimConfig::with_seed(seed).with_faults(faults));
    rt.apply_scenario(Scenario::n_nodes_diverged(nodes, 10));
    rt.apply_workload(&Workload::new(writes, SimDuration::from_secs(3)));
    let stop = rt.run();
    (rt, stop)
}

/// Promises: C6, F2
#[test]
fn heavy_chaos_with_concurrent_writes_converges_to_what_was_written() {
    for seed in 0..150 {
        let (rt, stop) = run(seed, FaultConfig::heavy_chaos(), 3, 30);
        assert_eq!(stop, StopCondition::Converged, "seed {seed}: {stop}\n{}", rt.explain());
    }
}

/// Promises: C6, F2
#[test]
fn every_preset_converges_with_more_nodes() {
    for (name, faults) in [
        ("none", FaultConfig::none()),
        ("light", FaultConfig::light_chaos()),
        ("heavy", FaultConfig::heavy_chaos()),
        ("partitions", FaultConfig::partition_heavy()),
    ] {
        for seed in 0..10 {
            let (rt, stop) = run(seed, faults.clone(), 7, 40);
            assert_eq!(stop, StopCondition::Converged, "{name}, seed {seed}: {stop}\n{}", rt.explain());
        }
    }
}

/// Whatever is written, and however it clashes, every replica shows what the acknowledged writes imply.
///
/// Promises: C6
#[test]
fn every_kind_of_workload_ends_in_what_was_written() {
    for (name, preset) in Workload::PRESETS {
        for seed in 0..40 {
            let faults = FaultConfig::heavy_chaos().with_churn(0.01, 100..800);
            let mut rt = SimRuntime::with_config(SimConfig::with_seed(seed).with_faults(faults));
            rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
            rt.apply_workload(&preset(50, SimDuration::from_secs(3)));
            let stop = rt.run();
            assert_eq!(stop, StopCondition::Converged, "{name}, seed {seed}: {stop}\n{}", rt.explain());
            assert!(
                rt.metrics().protocol.writes_accepted > 20,
                "{name}, seed {seed}: hardly anything was written"
            );
        }
    }
}

/// Of a write that has not arrived yet it can be said whose it is.
///
/// Promises: C6
#[test]
fn a_missing_write_is_named_with_who_acknowledged_it_and_when() {
    let mut rt = SimRuntime::with_seed(1);
    let [alice, bob]: [NodeId; 2] = rt.apply_scenario_n(Scenario::n_nodes_synced(2, 3));
    assert_eq!(rt.check_values(), None);
    rt.partition_bidirectional(alice, bob, None);
    let entry = Target::named(b"map").child(&3u64.to_le_bytes());
    rt.write_at(5.into(), alice, vec![Operation::Set { target: entry, bytes: b"kept".to_vec() }]);
    rt.run_until(|rt| rt.now() > 50.into());
    let Some(Check::Lost { wrong, write }) = rt.check_values() else { panic!("{:?}", rt.check_values()) };
    assert_eq!((wrong.place.as_str(), wrong.node.as_str()), ("map / key 3", "bob"));
    assert_eq!((wrong.expected.as_deref(), wrong.found), (Some("\"kept\""), None));
    assert_eq!((write.node.as_str(), write.at), ("alice", 5.into()));
    assert_eq!(write.operation, "set map / key 3 to \"kept\"");
}

/// What was forgotten came back with frames from before: a repeated request, an old root, content known
/// under no version; and a removal without a stamp was taken for an old one. Each seed found one.
///
/// Promises: C6
#[test]
fn what_was_forgotten_does_not_come_back() {
    let bare = |seed| run(seed, FaultConfig::heavy_chaos(), 3, 60);
    let fresh = |seed| {
        let config = SimConfig::with_seed(seed).with_faults(FaultConfig::heavy_chaos());
        let mut rt = SimRuntime::with_config(config);
        rt.apply_scenario(Scenario::fresh_joiner(3, 10));
        rt.apply_workload(&Workload::new(60, SimDuration::from_secs(3)));
        let stop = rt.run();
        (rt, stop)
    };
    for (rt, stop) in [10, 47, 1_315].map(bare).into_iter().chain([170, 467, 1_549].map(fresh)) {
        assert_eq!(stop, StopCondition::Converged, "{stop}\n{}", rt.explain());
    }
    let (rt, stop) = run(1_488, FaultConfig::heavy_chaos(), 3, 30);
    assert_eq!(stop, StopCondition::Converged, "{stop}\n{}", rt.explain());
}
