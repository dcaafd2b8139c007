//! The patch of the mutants applies to the present sources.

use crate::tree::root;
use std::process::Command;

#[test]
fn patch_of_mutants_applies() {
    let patch = root().join(".ci/mutants/core.patch");
    let checked = Command::new("git").arg("apply").arg("--check").arg(&patch).current_dir(root()).output();
    // Sources without Git, as in an archive, have no mutants to run either.
    let Ok(checked) = checked else { return };
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "refresh .ci/mutants/core.patch, as .ci/mutants/run says:\n{said}");
}
