//! Whole simulations of whole replicas.

use crate::{best, row};
use sync_sim::prelude::*;

/// Simulations per second: three replicas with ten entities of their own each, heavy chaos, until converged.
pub(crate) fn reference_sweep() {
    const SEEDS: u64 = 1_000;
    println!("\nwhole simulations: 3 replicas, 10 entities of their own each, heavy chaos, until converged");
    for (name, writes) in [("without writes", 0), ("with 30 writes in the first 3 s", 30)] {
        let (took, events) = best(3, || {
            let run = |seed| {
                let config = SimConfig::with_seed(seed).with_faults(FaultConfig::heavy_chaos());
                let mut rt = SimRuntime::with_config(config);
                rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
                rt.apply_workload(&Workload::new(writes, SimDuration::from_secs(3)));
                assert_eq!(rt.run(), StopCondition::Converged, "seed {seed}");
                rt.events_processed()
            };
            (0..SEEDS).map(run).sum::<u64>()
        });
        row(&format!("simulations {name}"), SEEDS, took, None);
        row("… their events", events, took, None);
    }
    println!("\nan idle virtual hour of ten replicas that agree");
    let (took, events) = best(3, || {
        let mut rt =
            SimRuntime::with_config(SimConfig::with_seed(1).with_max_time(SimTime::from_secs(3_600)));
        rt.apply_scenario(Scenario::n_nodes_synced(10, 100));
        while rt.now() < SimTime::from_secs(3_600) {
            rt.step();
        }
        rt.events_processed()
    });
    println!("  {took:.1?} for {events} housekeeping events");
}

fn converge(seed: u64) -> u64 {
    let mut rt = SimRuntime::with_config(SimConfig::with_seed(seed).with_faults(FaultConfig::heavy_chaos()));
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
    assert_eq!(rt.run(), StopCondition::Converged, "seed {seed}");
    rt.events_processed()
}

/// The speedup of two threads. They share only the allocator and the memory.
pub(crate) fn threads() {
    const SEEDS: u64 = 1_000;
    println!("\nthe same simulations, without writes, on two threads");
    let sweep = |from: u64| (from..from + SEEDS).map(converge).sum::<u64>();
    let (took, _) = best(5, || sweep(0));
    let base = row("one thread", SEEDS, took, None);
    let (took, _) = best(5, || {
        std::thread::scope(|scope| {
            let other = scope.spawn(|| sweep(SEEDS));
            sweep(0) + other.join().expect("a sweep")
        })
    });
    row("two threads", 2 * SEEDS, took, Some(base));
}

/// The peak resident memory of this process, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) / 1_024
}

/// One simulation of many replicas, each with one entity that the others lack, until converged.
pub(crate) fn large() {
    println!("\none simulation of many replicas, each with one entity of its own, until converged");
    for nodes in [100, 300, 1_000] {
        let (took, (events, frames, bytes)) = best(1, || {
            let mut rt = SimRuntime::with_seed(1);
            rt.apply_scenario(Scenario::n_nodes_diverged(nodes, 1));
            assert_eq!(rt.run(), StopCondition::Converged);
            (rt.events_processed(), rt.network().fates().sent, rt.network().bytes_sent())
        });
        let memory = peak_mib();
        println!(
            "  {nodes:>5} replicas: {took:>8.2?}, {events} events, {frames} frames, {} MB on the wire, {memory} MiB at most",
            bytes / 1_000_000
        );
    }
}

/// The time of runs that cannot converge, relative to one that does.
pub(crate) fn stalled() {
    const SEEDS: u64 = 20;
    println!(
        "\nruns that cannot converge, in times of one that does (3 replicas, 10 entities of their own each)"
    );
    let (took, _) = best(3, || (0..SEEDS).map(converge).sum::<u64>());
    let passing = took.as_secs_f64();
    let row = |name: &str, stall: fn(&mut SimRuntime)| {
        let (took, (events, stop)) = best(1, || {
            let run = |seed| {
                let config = SimConfig::with_seed(seed).with_faults(FaultConfig::heavy_chaos());
                let mut rt = SimRuntime::with_config(config);
                rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
                stall(&mut rt);
                let stop = rt.run().name();
                (rt.events_processed(), stop)
            };
            let runs: Vec<_> = (0..SEEDS).map(run).collect();
            (runs.iter().map(|(events, _)| events).sum::<u64>() / SEEDS, runs[0].1)
        });
        println!("  {name:<40} {:>8.1}x  {events} events each, {stop}", took.as_secs_f64() / passing);
    };
    row("a node that shares no protocol", |rt| rt.configure(NodeId(0), |config| config.protocols.clear()));
    row("a partition that never heals", |rt| {
        rt.partition_groups(&[vec![NodeId(0)], vec![NodeId(1), NodeId(2)]], None);
    });
    row("a node that never comes back", |rt| {
        rt.crash_at(SimTime::from_millis(5), NodeId(0), CrashPoint::Now, None);
    });
}
