//! A scenario that is named for a protocol ends in that protocol being selected and run, whoever
//! starts; and every scenario converges under light chaos.

use sync_sim::metrics::ProtocolMetrics;
use sync_sim::prelude::*;

fn run(scenario: Scenario, faults: FaultConfig, seed: u64) -> ProtocolMetrics {
    let mut rt = SimRuntime::with_config(SimConfig::with_seed(seed).with_faults(faults));
    rt.apply_scenario(scenario);
    let stop = rt.run();
    assert_eq!(stop, StopCondition::Converged, "seed {seed}: {stop}");
    rt.metrics().protocol
}

/// What ran first and alone: sessions with deltas, walks, snapshots.
fn protocols(scenario: fn() -> Scenario) -> Vec<(bool, bool, bool)> {
    let used = |protocol: ProtocolMetrics| {
        (protocol.delta_syncs > 0, protocol.hash_comparisons > 0, protocol.snapshots > 0)
    };
    let mut seen: Vec<_> = (0..20).map(|seed| used(run(scenario(), FaultConfig::default(), seed))).collect();
    seen.sort_unstable();
    seen.dedup();
    seen
}

#[test]
fn scenarios_named_for_a_protocol_lead_to_it_and_no_other() {
    const NOTHING: (bool, bool, bool) = (false, false, false);
    const DELTAS: (bool, bool, bool) = (true, false, false);
    const WALK: (bool, bool, bool) = (false, true, false);
    const SNAPSHOT: (bool, bool, bool) = (false, false, true);
    assert_eq!(protocols(Scenario::force_none), [NOTHING]);
    assert_eq!(protocols(Scenario::force_snapshot), [SNAPSHOT]);
    assert_eq!(protocols(Scenario::fresh_and_initialized), [SNAPSHOT]);
    assert_eq!(protocols(Scenario::force_delta_sync), [DELTAS]);
    assert_eq!(protocols(Scenario::force_hash_high_divergence), [WALK]);
    assert_eq!(protocols(Scenario::both_initialized), [WALK]);
    assert_eq!(protocols(Scenario::three_nodes_one_diverged), [WALK]);
}

#[test]
fn random_families_converge_under_light_chaos() {
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
fn a_fresh_joiner_takes_a_snapshot_in_every_random_mesh() {
    for seed in 0..10 {
        assert!(run(RandomScenario::fresh_join_random(seed, 3), FaultConfig::default(), seed).snapshots >= 1);
    }
}
