//! `docs/guide-map.md` is correct: every file and test it names exists, and it covers every row of the guide.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn map() -> String {
    fs::read_to_string(root().join("docs/guide-map.md")).expect("docs/guide-map.md")
}

/// The first column of each row.
fn rows(text: &str) -> Vec<String> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.map(|cell| cell.replace("**", "").trim().to_owned()).collect()
}

#[test]
fn mapped_files_and_tests_exist() {
    let mut found = 0;
    for named in map().split('`').filter(|word| word.starts_with("crates/")) {
        let (path, test) = named.split_once("::").map_or((named, None), |(path, test)| (path, Some(test)));
        let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        if let Some(test) = test {
            assert!(text.contains(&format!("fn {test}(")), "{path} has no test {test}");
        }
        found += 1;
    }
    assert!(found > 40, "{found} places are named");
}

#[test]
fn every_guide_item_is_mapped() {
    // The guide is not part of the repository; a clone without it has nothing to compare.
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
