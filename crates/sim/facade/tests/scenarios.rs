//! A scenario that is named for a protocol makes sessions select and run it, whichever node starts; and
//! every scenario converges under light chaos.

use std::collections::BTreeSet;
use sync_sim::metrics::ProtocolMetrics;
use sync_sim::prelude::*;

fn run(scenario: Scenario, faults: FaultConfig, seed: u64) -> ProtocolMetrics {
    let mut rt = SimRuntime::with_config(SimConfig::with_seed(seed).with_faults(faults));
    rt.apply_scenario(scenario);
    let stop = rt.run();
    assert_eq!(stop, StopCondition::Converged, "seed {seed}: {stop}");
    rt.metrics().protocol
}

/// The protocols that ran, of all that transfer data.
fn protocols(scenario: fn() -> Scenario) -> Vec<&'static str> {
    let mut seen = BTreeSet::new();
    for seed in 0..20 {
        let protocol = run(scenario(), FaultConfig::default(), seed);
        let ran = [
            ("deltas", protocol.delta_syncs),
            ("walk", protocol.hash_comparisons),
            ("snapshot", protocol.snapshots),
            ("filter", protocol.bloom_filters),
            ("subtrees", protocol.subtree_prefetches),
            ("levels", protocol.level_walks),
            ("sketch", protocol.sketches),
        ];
        seen.extend(ran.into_iter().filter(|(_, count)| *count > 0).map(|(name, _)| name));
    }
    seen.into_iter().collect()
}

#[test]
fn scenarios_select_their_protocol() {
    assert!(protocols(Scenario::force_none).is_empty());
    assert_eq!(protocols(Scenario::force_snapshot), ["snapshot"]);
    assert_eq!(protocols(Scenario::fresh_and_initialized), ["snapshot"]);
    assert_eq!(protocols(Scenario::force_delta_sync), ["deltas"]);
    assert_eq!(protocols(Scenario::force_hash_high_divergence), ["walk"]);
    assert_eq!(protocols(Scenario::force_bloom_filter), ["filter"]);
    assert_eq!(protocols(Scenario::force_subtree_prefetch), ["subtrees"]);
    assert_eq!(protocols(Scenario::force_levelwise), ["levels"]);
    // Two disjoint sets of equal size look similar to the table; the sketch sees the difference.
    assert_eq!(protocols(Scenario::both_initialized), ["sketch"]);
    assert_eq!(protocols(Scenario::three_nodes_one_diverged), ["sketch"]);
}

#[test]
fn requested_protocol_runs() {
    for protocol in SyncProtocolKind::EXECUTABLE {
        let config = SimConfig::with_seed(3).with_protocol(protocol).with_selection(Selection::Table);
        let mut rt = SimRuntime::with_config(config);
        rt.apply_scenario(Scenario::n_nodes_diverged(2, 200));
        assert_eq!(rt.run(), StopCondition::Converged, "{protocol}");
        let ran = rt.metrics().protocol;
        let expected = match protocol {
            SyncProtocolKind::DeltaSync => ran.delta_syncs,
            SyncProtocolKind::HashComparison => ran.hash_comparisons,
            SyncProtocolKind::BloomFilter => ran.bloom_filters,
            SyncProtocolKind::SubtreePrefetch => ran.subtree_prefetches,
            // Without a request, or with one that cannot be granted, the table decides.
            SyncProtocolKind::None | SyncProtocolKind::Snapshot => ran.bloom_filters,
            SyncProtocolKind::RatelessIblt => ran.sketches,
            SyncProtocolKind::LevelWise => ran.level_walks,
        };
        assert!(expected > 0, "{protocol}: {ran:?}");
    }
}

#[test]
fn random_scenarios_converge_under_light_chaos() {
    for seed in 0..12 {
        for scenario in [
            RandomScenario::two_nodes_random(seed),
            RandomScenario::mesh_random(seed, 4),
            RandomScenario::fresh_join_random(seed, 3),
            RandomScenario::heavy_divergence(seed, 3),
            RandomScenario::nearly_synced(seed, 3),
        ] {
            run(scenario, FaultConfig::light_chaos(), seed);
        }
    }
}

#[test]
fn fresh_joiner_takes_a_snapshot() {
    for seed in 0..10 {
        assert!(run(RandomScenario::fresh_join_random(seed, 3), FaultConfig::default(), seed).snapshots >= 1);
    }
}
