//! Faults of the replicas that nobody has repaired yet. Each has a case in `known/` that must fail in the class that it
//! was found for; a repair makes the case converge, and then it moves to where such cases are tested.

use std::path::Path;
use sync_sim::case::RunResult;
use sync_sim::prelude::*;

/// Whether a drawn run ended in a way that a fault explains which is not repaired yet, and the run drew what shows it.
pub(crate) fn is_known(case: &Case, ended: &RunResult) -> bool {
    let class = ended.class.as_str();
    let is_value = ["violated: Lost", "violated: WrongValue"].contains(&class);
    let has_reuse = case.workload.reuse > Rate::ZERO;
    let has_namings = case.naming_spread > SimDuration::ZERO;
    let is_explained =
        ["violated: HistoryLost", "violated: NotBroughtBack", "violated: Muted", "violated: DividedByMerge"]
            .contains(&class);
    is_explained
        || is_value && has_reuse
        || class == "violated: ImpossibleOutcome" && has_namings
        || class.starts_with("panicked: a merge function of the application")
}

/// The cases in `known/`, by file name.
fn cases() -> Vec<(String, Case)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/known");
    let mut cases: Vec<(String, Case)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            (path.file_name().unwrap().to_string_lossy().into_owned(), text.parse().unwrap())
        })
        .collect();
    cases.sort_by(|one, two| one.0.cmp(&two.0));
    cases
}

#[test]
fn known_cases_still_fail() {
    for (name, case) in cases() {
        let ended = case.run().unwrap();
        assert_eq!(Some(&ended.class), case.found.as_ref(), "{name}: {ended}");
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
