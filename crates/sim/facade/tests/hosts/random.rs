//! Each random host fault alone, over many seeds of heavy chaos.

use super::run;
use sync_sim::prelude::*;

/// Runs seeds of heavy chaos with one more fault. Each run must converge. Returns the counts of the host
/// faults.
fn survived(seeds: u64, with: impl Fn(FaultConfig) -> FaultConfig) -> HostEffects {
    let mut effects = HostEffects::default();
    let mut failed = Vec::new();
    for seed in 0..seeds {
        let (rt, stop) = run(seed, with(FaultConfig::heavy_chaos()));
        effects.add(&rt.metrics().effects.hosts);
        if stop != StopCondition::Converged {
            failed.push(format!("seed {seed}: {stop}\n{}", rt.explain()));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {seeds} failed; {}",
        failed.len(),
        failed[..failed.len().min(4)].join("\n")
    );
    effects
}

#[test]
fn small_clock_errors_are_harmless() {
    let effects = survived(150, |faults| faults.with_clock_skew(2_400));
    assert!((2_000..=2_400).contains(&effects.clock_error_ms), "{effects:?}");
}

#[test]
fn future_stamps_are_accepted_later() {
    let effects = survived(150, |faults| faults.with_clock_skew(20_000));
    assert!((15_000..=20_000).contains(&effects.clock_error_ms), "{effects:?}");
}

#[test]
fn clock_drift_is_survived() {
    let effects = survived(100, |faults| faults.with_clock_drift(400_000));
    assert!(effects.clock_error_ms > 500, "{effects:?}");
}

#[test]
fn clock_jumps_are_survived() {
    let effects = survived(150, |faults| faults.with_clock_jumps(0.01, 10..12_000));
    assert!(effects.clock_jumps > 500 && effects.clock_error_ms > 5_000, "{effects:?}");
}

#[test]
fn clock_freezes_are_survived() {
    let effects = survived(100, |faults| faults.with_clock_freezes(0.01, 100..3_000));
    assert!(effects.clock_freezes > 300 && effects.clock_error_ms > 1_000, "{effects:?}");
}

#[test]
fn skewed_timers_are_survived() {
    assert!(survived(100, |faults| faults.with_timer_drift(300_000)).skewed_timers > 1_000);
}

#[test]
fn pauses_are_survived() {
    let effects = survived(150, |faults| faults.with_pauses(0.01, 50..2_000));
    assert!(effects.pauses > 500 && effects.inputs_delayed > 500, "{effects:?}");
    assert!(effects.writes_lost_waiting > 0, "crashes find writes that wait: {effects:?}");
}

#[test]
fn slow_hosts_are_survived() {
    let each = SimDuration::from_millis(2);
    let effects = survived(100, |faults| faults.with_processing(each).with_slow_hosts(20.0));
    assert!(effects.inputs_delayed > 500, "{effects:?}");
    let alike = survived(20, |faults| faults.with_processing(each));
    assert!(effects.inputs_delayed / 5 > alike.inputs_delayed, "{effects:?} {alike:?}");
}

#[test]
fn failed_writes_are_survived() {
    assert!(survived(150, |faults| faults.with_failed_writes(0.02)).failed_writes > 100);
}

#[test]
fn torn_commits_are_survived() {
    assert!(survived(150, |faults| faults.with_torn_writes(0.005)).torn_writes > 100);
}

#[test]
fn detected_lying_disks_start_over() {
    let effects = survived(150, |faults| faults.with_lying_syncs(0.3).with_crashes(0.003, 100..1_000));
    assert!(effects.lying_syncs > 1_000 && effects.lost_commits > 50, "{effects:?}");
    assert!(effects.fresh_starts > 30, "{effects:?}");
}

#[test]
fn undetected_losses_still_converge() {
    let lies = |faults: FaultConfig| {
        faults.with_lying_syncs(0.3).with_crashes(0.003, 100..1_000).without_noticing_lies()
    };
    let effects = survived(150, lies);
    assert!(effects.lost_commits > 50 && effects.fresh_starts == 0, "{effects:?}");
}

#[test]
fn rot_is_detected_and_contained() {
    let effects = survived(150, |faults| faults.with_rot(0.002));
    assert!(effects.rotten_rows > 50 && effects.fresh_starts > 30, "{effects:?}");
}

/// All host faults, except for losses that go unnoticed.
fn everything(faults: FaultConfig) -> FaultConfig {
    let clocks = faults.with_clock_skew(4_000).with_clock_drift(50_000).with_clock_jumps(0.002, 1..4_000);
    let pace =
        clocks.with_clock_freezes(0.002, 100..2_000).with_timer_drift(9_000).with_pauses(0.002, 50..1_000);
    let disks = pace.with_processing(SimDuration::from_micros(300)).with_slow_hosts(9.0);
    disks.with_failed_writes(0.01).with_torn_writes(0.001).with_lying_syncs(0.01).with_rot(0.001)
}

#[test]
fn everything_at_once_is_survived() {
    let effects = survived(150, everything);
    assert!(effects.fresh_starts > 0 && effects.failed_writes > 0 && effects.clock_jumps > 0, "{effects:?}");
}

/// A replica with a slow clock joined after the others had collected tombstones. It stamped its writes below
/// the horizon that it had adopted, and the others rejected them.
///
/// Promises: C6
#[test]
fn adopting_a_horizon_advances_the_clock() {
    for seed in [1_309, 1_881, 2_027, 3_580, 3_750] {
        let (rt, stop) = run(seed, everything(FaultConfig::heavy_chaos()));
        assert_eq!(stop, StopCondition::Converged, "seed {seed}: {stop}\n{}", rt.explain());
    }
}

/// An application that edits a text reads it first. When that read bypassed the checksums of the disk, a
/// flipped bit stopped the replica as if the application had made an invalid write.
#[test]
fn rot_read_by_an_edit_is_contained() {
    let (rt, stop) = run(405, everything(FaultConfig::heavy_chaos()));
    assert_eq!(stop, StopCondition::Converged, "{}", rt.explain());
    assert!(rt.metrics().effects.hosts.fresh_starts > 0);
}

#[test]
fn restarted_replicas_return_under_any_protocol() {
    let mut fresh = 0;
    for (seed, kind) in (0..140).zip(SyncProtocolKind::EXECUTABLE.into_iter().cycle()) {
        let faults = FaultConfig::heavy_chaos().with_lying_syncs(0.1).with_rot(0.003);
        let case = Case { seed, faults, protocol: Some(kind), ..lost_disks() };
        let mut rt = case.build().unwrap();
        let stop = rt.run();
        assert_eq!(stop, StopCondition::Converged, "seed {seed}, {kind}: {}", rt.explain());
        fresh += rt.metrics().effects.hosts.fresh_starts;
    }
    assert!(fresh > 100, "{fresh}");
}

/// Replicas that write and delete all the time.
fn lost_disks() -> Case {
    let text = r#"
        max_time = "120s"
        scenario = { name = "diverged", nodes = 3, entities = 10 }
        workload = { writes = 30, over = "2s" }
    "#;
    text.parse().unwrap()
}
