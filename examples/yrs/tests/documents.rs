//! yrs under faults.

use std::process::Command;
use sync_sim::case::Case;
use sync_sim::custom::{FaultConfig, Lab, SimDuration};
use yrs::updates::decoder::Decode;
use yrs::{Array, Doc, Map, ReadTxn, StateVector, Transact, Update};
use yrs_under_faults::{Documents, Experiment};

fn lab(experiment: Experiment) -> Lab<Documents> {
    Lab::new(Documents(experiment))
}

/// Asserts that a stored case still fails in one experiment and passes in another.
fn tells_apart(case: &str, failing: Experiment, class: &str, sound: Experiment) {
    let case: Case = case.parse().unwrap();
    assert_eq!(lab(failing).replay(&case).unwrap().class.as_str(), class);
    let ended = lab(sound).replay(&case).unwrap();
    assert!(ended.class.is_converged(), "{ended}");
}

fn lying_disks() -> FaultConfig {
    FaultConfig::heavy_chaos().with_crashes(0.05, 100..1_000).with_lying_syncs(0.3)
}

#[test]
fn documented_use_converges() {
    for faults in [FaultConfig::light_chaos(), FaultConfig::heavy_chaos(), FaultConfig::partition_heavy()] {
        lab(Experiment::Documented).faults(faults).check(0..200);
    }
    let disks =
        FaultConfig::heavy_chaos().with_failed_writes(0.1).with_torn_writes(0.02).with_corruption(0.05);
    let many = lab(Experiment::Documented).faults(disks).nodes(5).ops(60, SimDuration::from_secs(5));
    many.check(0..50);
}

#[test]
fn equal_state_vectors_hide_deletions() {
    let sweep = lab(Experiment::Terse).sweep(0..100).unwrap();
    assert!(sweep.first("diverged").is_some() && sweep.classes.len() == 2, "{:?}", sweep.classes);
    let case = include_str!("../cases/deleted-for-some.toml");
    tells_apart(case, Experiment::Terse, "diverged", Experiment::Documented);
}

#[test]
fn client_id_must_not_outlive_lost_edits() {
    let failures = |experiment| {
        let lab = lab(experiment).faults(lying_disks()).ops(60, SimDuration::from_secs(3));
        lab.sweep(0..200).unwrap().failures.len()
    };
    let one_id = failures(Experiment::OneId);
    let documented = failures(Experiment::Documented);
    assert!(one_id > 5 && documented < one_id / 5, "{one_id} and {documented} failed");
    let case = include_str!("../cases/one-id-twice.toml");
    tells_apart(case, Experiment::OneId, "diverged", Experiment::Documented);
}

#[test]
fn edits_behind_a_gap_diverge() {
    let case = include_str!("../cases/behind-a-gap.toml");
    tells_apart(case, Experiment::Tab, "diverged", Experiment::Documented);
}

/// The same divergence with yrs alone, without the simulator.
#[test]
fn equal_state_vectors_hide_edits_behind_gap() {
    let [author, first, second] = [1, 2, 3].map(Doc::with_client_id);
    let take = |doc: &Doc, update: &[u8]| {
        doc.transact_mut().apply_update(Update::decode_v1(update).unwrap()).unwrap();
    };
    let list = author.get_or_insert_array("list");
    let map = author.get_or_insert_map("map");
    let edits = [0, 1, 2].map(|edit| {
        let mut change = author.transact_mut();
        match edit {
            2 => drop(map.insert(&mut change, "key", 2)),
            item => drop(list.push_back(&mut change, item)),
        }
        change.encode_update_v1()
    });
    // The first document lacks one of three edits, the second two.
    for edit in [&edits[0], &edits[2]] {
        take(&first, edit);
    }
    take(&second, &edits[0]);
    for (from, to) in [(&first, &second), (&second, &first)] {
        let vector = to.transact().state_vector();
        take(to, &from.transact().encode_state_as_update_v1(&vector));
    }
    assert_eq!(first.transact().state_vector(), second.transact().state_vector());
    let shown = [&first, &second].map(|doc| doc.get_or_insert_map("map").len(&doc.transact()));
    assert_eq!(shown, [1, 0]);
    // An empty document receives the edit behind the gap.
    let third = Doc::with_client_id(4);
    take(&third, &first.transact().encode_state_as_update_v1(&StateVector::default()));
    assert_eq!(third.get_or_insert_map("map").len(&third.transact()), 1);
}

#[test]
fn flipped_bit_needs_checksum() {
    let case: Case = include_str!("../cases/one-bit.toml").parse().unwrap();
    let ended = lab(Experiment::Bare).replay(&case).unwrap();
    assert_eq!(ended.class.as_str(), "violated: what was deleted is back");
    lab(Experiment::Documented).faults(FaultConfig::heavy_chaos().with_corruption(0.05)).check(0..100);
}

#[test]
fn same_seed_same_run() {
    let lab = lab(Experiment::Documented);
    let here = lab.sweep_on(1, 0..50).unwrap();
    assert_eq!(here, lab.sweep_on(2, 0..50).unwrap());
    for _ in 0..2 {
        let other = Command::new(env!("CARGO_BIN_EXE_yrs-under-faults"))
            .args(["as-told", "sweep", "--seeds", "0..50", "--json"])
            .output()
            .unwrap();
        let printed = String::from_utf8(other.stdout).unwrap();
        assert!(printed.contains(&format!("\"trace\":{}", here.trace)), "{printed}");
    }
}
