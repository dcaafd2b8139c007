//! `docs/guide-map.md` is complete and correct: every place that it names exists, and no row of the guide is
//! missing.

use crate::tree::{read, root};
use std::fs;

fn map() -> String {
    read(&root().join("docs/guide-map.md"))
}

/// The first cell of each row.
fn rows(text: &str) -> Vec<String> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.map(|cell| cell.replace("**", "").trim().to_owned()).collect()
}

#[test]
fn named_files_and_tests_exist() {
    let mut found = 0;
    for named in map().split('`').filter(|word| word.starts_with("crates/")) {
        let (path, test) = named.split_once("::").map_or((named, None), |(path, test)| (path, Some(test)));
        let text = read(&root().join(path));
        if let Some(test) = test {
            assert!(text.contains(&format!("fn {test}(")), "{path} has no test {test}");
        }
        found += 1;
    }
    assert!(found > 40, "{found} places are named");
}

#[test]
fn every_row_of_the_guide_is_mapped() {
    // The guide lies beside the project on the machines of its maintainers. Other clones have no guide to
    // compare with.
    let Ok(guide) = fs::read_to_string(root().join("../shared/guide.md")) else { return };
    let mapped = rows(&map());
    let items = guide.lines().filter_map(|line| {
        let (marker, rest) = line.split_once("**")?;
        let is_item = marker == "- " || marker.trim_end_matches(['.', ' ']).parse::<u32>().is_ok();
        is_item.then(|| rest.split("**").next().unwrap_or(rest).to_owned())
    });
    let guide_rows = rows(&guide).into_iter().filter(|row| !row.contains('│'));
    let mut checked = 0;
    for row in guide_rows.chain(items) {
        assert!(mapped.contains(&row), "docs/guide-map.md does not say where {row:?} lives");
        checked += 1;
    }
    assert!(checked > 55, "{checked} rows of the guide were looked for");
}
