//! Histories of runs with host faults, over datagrams and streams.

use sync_sim::history::{EntryKind, Fate};
use sync_sim::prelude::*;

fn run(seed: u64, streams: bool, history: Option<usize>) -> SimRuntime {
    let faults = FaultConfig::heavy_chaos().with_crashes(0.01, 50..300).with_pauses(0.02, 50..500);
    let faults = faults.with_disk_faults(0.01).with_processing(SimDuration::from_millis(1));
    let faults = if streams { faults.with_stream_links() } else { faults };
    let config = SimConfig { history, ..SimConfig::with_seed(seed).with_faults(faults) };
    let mut rt = SimRuntime::with_config(config);
    rt.apply_scenario(Scenario::n_nodes_diverged(3, 10));
    rt.apply_workload(&Workload::new(30, SimDuration::from_secs(3)));
    assert_eq!(rt.run(), StopCondition::Converged, "seed {seed}, streams {streams}: {}", rt.explain());
    rt
}

#[test]
fn inbox_fates_agree_with_the_account() {
    let (mut recorded, mut lost) = (0, 0);
    for (seed, streams) in (0..20).flat_map(|seed| [(seed, false), (seed, true)]) {
        let rt = run(seed, streams, Some(usize::MAX));
        assert_eq!(rt.trace_digest(), run(seed, streams, None).trace_digest(), "seed {seed}");
        let history = rt.history().unwrap();
        let copies = || history.frames.iter().flat_map(|frame| &frame.copies);
        let count = |fate| copies().filter(|copy| copy.fate == fate).count() as u64;
        let fates = rt.metrics().fates;
        assert_eq!(count(Fate::Delivered), fates.delivered, "seed {seed}, streams {streams}");
        assert_eq!(count(Fate::InFlight), fates.in_flight, "seed {seed}, streams {streams}");
        for cause in DropCause::ALL {
            assert_eq!(count(Fate::Dropped(cause)), fates.dropped(cause), "seed {seed}: {cause:?}");
        }
        recorded +=
            history.entries.iter().filter(|entry| matches!(entry.what, EntryKind::Host { .. })).count();
        lost += rt.metrics().effects.hosts.writes_lost_waiting;
    }
    assert!(recorded > 100 && lost > 0, "{recorded} {lost}");
}
