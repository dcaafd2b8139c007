//! The table of checks in the book says under which class each check reports.

use crate::tree::{read, root};

/// What comes before the next `end`.
fn until(text: &str, end: char) -> &str {
    text.split(end).next().unwrap_or_default()
}

/// Each check of `CHECKS` with the classes that it reports.
fn checks() -> Vec<(String, Vec<String>)> {
    let list = read(&root().join("crates/sim/cluster/src/checks/list.rs"));
    let entries = list.split("name: \"").skip(1);
    let found = entries.map(|entry| {
        let reports = entry.split("reports: &[").nth(1).expect("each entry has classes");
        let classes = until(reports, ']').split('"').skip(1).step_by(2);
        (until(entry, '"').to_owned(), classes.map(str::to_owned).collect())
    });
    found.collect()
}

#[test]
fn book_names_the_classes_of_every_check() {
    let book = read(&root().join("docs/book/faults.md"));
    let checks = checks();
    assert!(checks.len() > 40, "{} checks", checks.len());
    let mut wrong = Vec::new();
    for (name, classes) in checks {
        let classes: Vec<String> = classes.iter().map(|class| format!("`{class}`")).collect();
        let cell = format!(" | {} | ", classes.join(", "));
        let row = book.lines().find(|line| line.starts_with(&format!("| {name} | ")));
        if !row.is_some_and(|row| row.contains(&cell)) {
            wrong.push(format!("the row of {name} needs the cell{cell}"));
        }
    }
    assert!(wrong.is_empty(), "docs/book/faults.md: {}", wrong.join("\n"));
}
