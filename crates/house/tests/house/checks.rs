//! Every check runs in every run. The list of checks is `CHECKS` in `crates/sim/cluster/src/checks`. Simulations and
//! explorations call the same functions, which iterate over that list, so no check can be reached by one of
//! them alone. This holds as long as nobody makes a finding elsewhere, which is what is tested here.

use crate::source::without_tests;
use crate::tree::{files, read, relative, root};
use std::collections::BTreeSet;

const CHECKS: &str = "crates/sim/cluster/src/checks";
/// The two hosts of the checks: simulations (`run`, `sweep`, `replay`, `shrink`), and explorations.
const HOSTS: [&str; 2] = ["crates/sim/cluster/src/runtime", "crates/sim/explore/src"];

/// The folders beside the checks that have the type of a finding at hand.
const OTHERS: [&str; 2] = ["crates/sim/search/src", "crates/sim/facade/src"];

/// Files that make findings of their own, each with the reason.
const MAKERS: [(&str, &str); 1] = [(
    "crates/sim/search/src/custom/run.rs",
    "runs of replicas of another design have the checks of the network alone",
)];

/// Findings that are not about replicas, each with the reason.
const NOT_CHECKS: [(&str, &str); 3] = [
    ("Internal", "a part of the simulator failed, whichever part that is"),
    ("HonestApart", "the case promises nothing, which shows before the run begins"),
    ("Custom", "the checks of a replica of another design are its author's"),
];

/// Functions that only one host calls, each with the reason.
const FOR_ONE_HOST: [(&str, &str); 2] = [
    ("of_accounts", "an exploration has no router, and checks the buffers in every state of a node"),
    ("of_silence", "in an exploration no time passes between events"),
];

/// The list, and the functions that iterate over it.
fn list() -> String {
    ["mod.rs", "list.rs"].map(|file| read(&root().join(CHECKS).join(file))).concat()
}

/// The sources of a folder without their tests, each with its name.
fn sources(folder: &str) -> Vec<(String, String)> {
    let paths = files(&root().join(folder), ".rs");
    assert!(!paths.is_empty(), "{folder} has sources");
    paths.iter().map(|path| (relative(path), without_tests(&read(path)).0)).collect()
}

/// The names after each occurrence of `before`.
fn names_after<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

/// The names in the list of findings of each check.
fn reported(list: &str) -> BTreeSet<String> {
    let lists = list.split("reports: &[").skip(1).filter_map(|rest| rest.split(']').next());
    lists.flat_map(|names| names.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The variants of `Check`.
fn findings() -> BTreeSet<String> {
    let text = read(&root().join("crates/sim/cluster/src/verdict.rs"));
    let body = text.split("pub enum Check {").nth(1).expect("the enum").split("\n}").next().expect("its end");
    let lines = body.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
    let names = lines.filter_map(|line| line.trim().split([' ', '{', ',']).next());
    names
        .filter(|name| name.starts_with(|letter: char| letter.is_ascii_uppercase()))
        .map(str::to_owned)
        .collect()
}

fn is_excepted(name: &str) -> bool {
    NOT_CHECKS.iter().any(|(excepted, _)| *excepted == name)
}

#[test]
fn every_finding_has_a_check() {
    let reported = reported(&list());
    assert!(reported.len() > 15, "{reported:?}");
    let mut wanted = findings();
    wanted.retain(|name| !is_excepted(name) || reported.contains(name));
    assert_eq!(reported, wanted, "the findings of `CHECKS`, and those of `Check`");
}

#[test]
fn hosts_make_no_findings_themselves() {
    let mut wrong = Vec::new();
    for host in HOSTS.into_iter().chain(OTHERS) {
        for (file, text) in sources(host) {
            if MAKERS.iter().any(|(maker, _)| *maker == file) {
                continue;
            }
            let made = names_after(&text, "Check::").filter(|name| !is_excepted(name));
            // Names in lower case are functions.
            let made = made.filter(|name| name.starts_with(|letter: char| letter.is_ascii_uppercase()));
            wrong.extend(made.map(|name| format!("{file} makes {name}: move it to {CHECKS}, into the list")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_host_runs_every_check() {
    let list = list();
    let entry_points: Vec<&str> = names_after(&list, "\npub fn ").collect();
    assert!(entry_points.len() > 4, "{entry_points:?}");
    let mut wrong = Vec::new();
    for host in HOSTS {
        let all: String = sources(host).into_iter().map(|(_, text)| text).collect();
        for function in &entry_points {
            let is_called = all.contains(&format!("checks::{function}("));
            let is_excepted = FOR_ONE_HOST.iter().any(|(excepted, _)| excepted == function);
            if !is_called && !is_excepted {
                wrong.push(format!("{host} does not call checks::{function}"));
            }
        }
    }
    // A kind of check that no function iterates over would never run.
    for kind in names_after(list.split("impl CheckEntry").next().unwrap_or_default(), "\n    ") {
        if list.contains(&format!("run: Implementation::{kind}("))
            && !list.contains(&format!("Implementation::{kind}(run)"))
        {
            wrong.push(format!("no function runs the checks of the kind {kind}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn book_lists_every_check() {
    let book = read(&root().join("docs/book/faults.md"));
    let list = list();
    let names = list.split("name: \"").skip(1).filter_map(|rest| rest.split('"').next());
    let missing: Vec<&str> = names.filter(|name| !book.contains(&format!("| {name} |"))).collect();
    assert!(missing.is_empty(), "docs/book/faults.md does not list {missing:?}");
}
