//! Automerge under faults.

use automerge_under_faults::{Documents, Sessions};
use sync_sim::case::Case;
use sync_sim::custom::{FaultConfig, Lab};

#[test]
fn renewed_sessions_converge() {
    let lab = Lab::new(Documents(Sessions::Renewed));
    for faults in [FaultConfig::light_chaos(), FaultConfig::heavy_chaos(), FaultConfig::partition_heavy()] {
        lab.clone().faults(faults).check(0..200);
    }
}

#[test]
fn endless_session_needs_reliable_stream() {
    let lab = Lab::new(Documents(Sessions::Endless));
    lab.clone().faults(FaultConfig::none()).check(0..100);
    let sweep = lab.sweep(0..100).unwrap();
    assert!(sweep.first("diverged").is_some() && sweep.classes.len() == 2, "{:?}", sweep.classes);
    let case: Case = include_str!("../cases/lost-for-good.toml").parse().unwrap();
    assert_eq!(lab.replay(&case).unwrap().class.as_str(), "diverged");
}

#[test]
fn same_seed_same_run() {
    let lab = Lab::new(Documents(Sessions::Renewed));
    assert_eq!(lab.sweep_on(1, 0..50).unwrap(), lab.sweep_on(2, 0..50).unwrap());
}
