//! The published storage under faults: sound experiments converge in every run, and the sweeps of the others find
//! their failures again.

use calimero_under_faults::{EXPERIMENTS, experiment};
use sync_sim::case::Case;
use sync_sim::custom::FaultConfig;

/// The experiments that converge in every run, also under heavy chaos.
const SOUND: [&str; 7] =
    ["registers", "registers-tied", "registers-any-order", "plain-tied", "custom-tied", "maps", "frozen"];

/// The classes of failures with deletions.
const DELETED: &[&str] = &["diverged", "violated: what was deleted is back"];
/// The other experiments, with the classes of their failures.
const UNSOUND: [(&str, &[&str]); 7] = [
    ("registers-deleted", DELETED),
    ("registers-deleted-tied", DELETED),
    ("registers-deleted-any-order", DELETED),
    ("maps-tied", &["diverged"]),
    ("vectors-tied", &["diverged"]),
    ("user-storage-tied", &["diverged"]),
    ("frozen-storage", &["diverged"]),
];

/// The stored cases: the experiment, the file and the class of each.
const CASES: [(&str, &str, &str); 6] = [
    ("registers-deleted", "deleted-again", "violated: what was deleted is back"),
    ("registers-deleted", "written-beside-a-delete", "diverged"),
    ("registers-deleted-tied", "deleted-at-the-same-time", "diverged"),
    ("registers-deleted-any-order", "deleted-before-it-is-there", "diverged"),
    ("maps-tied", "swapped", "diverged"),
    ("frozen-storage", "frozen-twice", "diverged"),
];

#[test]
fn every_experiment_has_an_expectation() {
    let mut expected: Vec<&str> =
        SOUND.iter().copied().chain(UNSOUND.iter().map(|(name, _)| *name)).collect();
    let mut names: Vec<&str> = EXPERIMENTS.iter().map(|(name, _)| *name).collect();
    expected.sort_unstable();
    names.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn sound_experiments_converge() {
    for name in SOUND {
        for faults in [FaultConfig::none(), FaultConfig::heavy_chaos(), FaultConfig::partition_heavy()] {
            experiment(name).unwrap().faults(faults).check(0..300);
        }
    }
}

#[test]
fn unsound_experiments_fail() {
    for (name, classes) in UNSOUND {
        let sweep = experiment(name).unwrap().sweep(0..300).unwrap();
        for class in classes {
            assert!(sweep.first(class).is_some(), "{name}: {:?}", sweep.classes);
        }
        let known = |class: &String| class == "converged" || classes.contains(&class.as_str());
        assert!(sweep.classes.keys().all(known), "{name}: {:?}", sweep.classes);
    }
}

#[test]
fn stored_cases_still_fail() {
    for (name, file, class) in CASES {
        let path = format!("{}/cases/{file}.toml", env!("CARGO_MANIFEST_DIR"));
        let case: Case = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        let ended = experiment(name).unwrap().replay(&case).unwrap();
        assert_eq!(ended.class.as_str(), class, "{path}: {ended}");
    }
}

#[test]
fn early_delete_leaves_no_tombstone() {
    let lab = experiment("registers-deleted-any-order").unwrap();
    let case: Case = include_str!("../cases/deleted-before-it-is-there.toml").parse().unwrap();
    let (run, _) = lab.record(&case).unwrap();
    let [first, second] = run.nodes().map(|(_, node)| node).collect::<Vec<_>>()[..] else { panic!("two") };
    assert!(first.refused().is_some_and(|error| error.starts_with("Index not found")));
    assert_eq!((first.entries().len(), second.entries().len()), (1, 0), "it is there where it came last");
}
