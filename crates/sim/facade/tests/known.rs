//! Known findings: each has pinned cases in `crates/sim/search/known`, which fail as its signature says. A repair makes
//! its cases converge; then the finding is taken off the list, its cases move to `crates/sim/search/repaired`, and its
//! drawn seed joins those of `swarm.rs` that once failed.

use std::collections::BTreeSet;
use std::path::Path;
use sync_sim::known::{KNOWN_FINDINGS, KnownFinding};
use sync_sim::prelude::*;

/// The pinned cases of the findings, by file name without the ending.
fn cases() -> Vec<(String, Case)> {
    cases_in("known")
}

/// The cases in a folder of the crate `search`, by file name without the ending.
fn cases_in(folder: &str) -> Vec<(String, Case)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../search").join(folder);
    let mut cases: Vec<(String, Case)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            (path.file_stem().unwrap().to_string_lossy().into_owned(), text.parse().unwrap())
        })
        .collect();
    cases.sort_by(|one, two| one.0.cmp(&two.0));
    cases
}

#[test]
fn pinned_cases_still_fail_as_their_findings_say() {
    for (name, case) in cases() {
        let ended = case.run().unwrap();
        assert!(
            !ended.class.is_converged(),
            "{name} converges: take its finding off crates/sim/search/src/known/list.rs"
        );
        assert_eq!(Some(&ended.class), case.found.as_ref(), "{name}: {ended}");
        let finding = KnownFinding::of(&case, &ended.class, &ended.reason);
        let finding = finding.unwrap_or_else(|| panic!("{name}: no known finding explains: {ended}"));
        assert!(finding.cases.contains(&name.as_str()), "{name} is explained by {}", finding.name);
    }
}

#[test]
fn cases_of_repaired_findings_converge() {
    let cases = cases_in("repaired");
    assert!(cases.len() >= 5, "the cases are there");
    for (name, case) in cases {
        assert!(case.found.as_ref().is_some_and(|class| !class.is_converged()), "{name} once failed");
        let ended = case.run().unwrap();
        assert!(ended.class.is_converged(), "{name} fails again: {ended}");
    }
}

#[test]
fn every_finding_has_a_name_and_cases_of_its_own() {
    let names: BTreeSet<&str> = KNOWN_FINDINGS.iter().map(|finding| finding.name).collect();
    assert_eq!(names.len(), KNOWN_FINDINGS.len());
    let listed = KNOWN_FINDINGS.iter().flat_map(|finding| finding.cases);
    let listed: Vec<&str> = listed.copied().collect();
    let stored: BTreeSet<String> = cases().into_iter().map(|(name, _)| name).collect();
    assert_eq!(listed.len(), stored.len(), "each case is listed once");
    for finding in KNOWN_FINDINGS {
        assert!(!finding.cases.is_empty(), "{} has a case", finding.name);
        assert_eq!(KnownFinding::named(finding.name), Some(finding));
    }
    assert!(listed.iter().all(|name| stored.contains(*name)), "{listed:?}: {stored:?}");
}

/// The signature of each finding is about its cases: without what the finding needs, it explains nothing.
#[test]
fn findings_do_not_explain_other_failures() {
    let plain = Case { forget_tombstones: false, ..Case::default() };
    for (name, case) in cases() {
        let ended = case.run().unwrap();
        let finding = KnownFinding::of(&case, &ended.class, &ended.reason).unwrap();
        if !finding.features.is_empty() {
            assert_eq!(KnownFinding::of(&plain, &ended.class, &ended.reason), None, "{name}");
        }
    }
}

/// Text form, pinning and shrinking keep what the new lines say.
#[test]
fn known_cases_survive_text_and_pinning() {
    for (name, case) in cases() {
        assert_eq!(case.to_text().unwrap().parse::<Case>().unwrap(), case, "{name}");
        let pinned = case.pinned().unwrap();
        assert_eq!(pinned.run().unwrap().class, case.run().unwrap().class, "{name}");
    }
}

/// Compares a generated file with its expected text, or rewrites it if SYNCLINE_UPDATE_DOCS is set.
pub(crate) fn golden(path: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("SYNCLINE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{} is out of date: run with SYNCLINE_UPDATE_DOCS=1", path.display());
}
