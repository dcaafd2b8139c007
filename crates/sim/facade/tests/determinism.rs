//! Determinism: the same seed and options give the same run, byte for byte: when repeated (D1), on other threads
//! (D2), in the other build profile and on other machines (D3, through the golden digests below).

use sync_sim::prelude::*;

fn run(seed: u64, faults: FaultConfig) -> SimRuntime {
    let mut rt = SimRuntime::with_config(SimConfig::with_seed(seed).with_faults(faults).recording());
    rt.apply_scenario(Scenario::overlap(4, 20, 10));
    rt.apply_workload(&Workload::new(25, SimDuration::from_secs(2)));
    rt.run();
    rt
}

fn trace(seed: u64) -> String {
    run(seed, FaultConfig::heavy_chaos()).trace_digest().to_string()
}

/// Promises: D1
#[test]
fn d1_a_seed_repeats() {
    for seed in 0..20 {
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
    assert_ne!(trace(0), trace(1));
}

/// Promises: D2
#[test]
fn d2_threads_do_not_interfere() {
    let alone: Vec<String> = (0..16).map(trace).collect();
    let together: Vec<String> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..16).map(|seed| scope.spawn(move || trace(seed))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
}

/// Changes only with a change that is meant to alter the behavior of replicas or of the network. Say so in the commit.
const GOLDEN: [&str; 4] = ["6eaa5dd13bca5fcd", "6dae4699c91d6943", "9175104b9979ea8e", "1dd5ff8971d93960"];

/// Promises: D3
#[test]
fn d3_golden_digests_hold() {
    let found: Vec<String> = (100..104).map(trace).collect();
    assert_eq!(found, GOLDEN);
}

fn swarm_trace(seed: u64) -> String {
    sync_sim::swarm::draw(seed).run().unwrap().trace.to_string()
}

/// Promises: D1, D2
#[test]
fn random_runs_repeat_on_other_threads() {
    let alone: Vec<String> = (0..100).map(swarm_trace).collect();
    let again = std::thread::scope(|scope| {
        let half =
            |seeds: std::ops::Range<u64>| scope.spawn(move || seeds.map(swarm_trace).collect::<Vec<_>>());
        let halves = [half(0..50), half(50..100)];
        halves.map(|half| half.join().unwrap()).concat()
    });
    assert_eq!(alone, again);
}

/// Changes also when the random choice of settings changes.
const SWARM: [&str; 4] = ["48396e7e489f01f4", "d564811075747688", "82cd9624bfcb56f6", "07e38caa4e8c34b5"];

/// Promises: D3
#[test]
fn d3_golden_digests_of_random_runs_hold() {
    let found: Vec<String> = (100..104).map(swarm_trace).collect();
    assert_eq!(found, SWARM);
}

/// Drawn seeds that make a document, an import, keys that begin each other and a deep tree.
const GROWING: [(u64, &str); 4] =
    [(21, "a00315490cc45602"), (11, "d85b0cb383be08ed"), (200, "486a5d9b91928d97"), (83, "7af8f5d2f733f45c")];

/// Promises: D3
#[test]
fn d3_golden_digests_of_growing_runs_hold() {
    let found = GROWING.map(|(seed, _)| (seed, swarm_trace(seed)));
    assert_eq!(found, GROWING.map(|(seed, trace)| (seed, trace.to_owned())));
}

/// Promises: D1
#[test]
fn a_recorded_tape_replays() {
    let first = run(7, FaultConfig::heavy_chaos());
    assert!(first.tape().len() > 100);
    let config = SimConfig::with_seed(7).with_faults(FaultConfig::heavy_chaos());
    let mut again = SimRuntime::replaying(config, first.tape()).unwrap();
    again.apply_scenario(Scenario::overlap(4, 20, 10));
    again.apply_workload(&Workload::new(25, SimDuration::from_secs(2)));
    again.run();
    assert_eq!(again.trace_digest(), first.trace_digest());
}

#[test]
fn a_forked_world_is_independent() {
    let mut rt = SimRuntime::with_seed(5);
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 20));
    rt.run_until(|rt| rt.events_processed() >= 10);
    let mut fork = rt.clone();
    fork.partition_bidirectional("alice", "bob", Some(2_000.into()));
    fork.run();
    let mut twin = rt.clone();
    twin.run();
    rt.run();
    assert_eq!(rt.trace_digest(), twin.trace_digest());
    assert_ne!(rt.trace_digest(), fork.trace_digest());
    assert_converged!(fork);
}
