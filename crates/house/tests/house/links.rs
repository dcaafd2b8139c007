//! Links between documents lead to files that exist, and to headings that these have.

use crate::tree::{files, read, relative, root};
use std::collections::BTreeSet;
use std::iter::once;
use std::path::{Path, PathBuf};

/// The documents of the project.
fn documents() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(root()).expect("the root");
    let paths = folder.map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    found.sort();
    found.extend(files(&root().join("docs"), ".md"));
    found
}

/// The targets of the links in a text, as they are written.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// The anchors of the headings of a document, as GitHub makes them: lower case, hyphens for spaces, no other
/// punctuation, and a number after a heading that was there before.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        let title = line.trim_start_matches('#');
        if is_code || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let hyphened = title.trim().to_lowercase().replace(' ', "-");
        let anchor: String =
            hyphened.chars().filter(|c| c.is_alphanumeric() || ['-', '_'].contains(c)).collect();
        let again = (1..).map(|number| format!("{anchor}-{number}"));
        let free = once(anchor.clone()).chain(again).find(|anchor| !found.contains(anchor));
        found.extend(free);
    }
    found
}

/// Whether a link leads somewhere: to another site, to a file, or to a heading of this document or another one.
fn leads_somewhere(document: &Path, target: &str) -> bool {
    if target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = match path {
        "" => document.to_path_buf(),
        _ => document.parent().expect("a folder").join(path),
    };
    let has_anchor =
        || file.extension().is_none_or(|end| end != "md") || anchors(&read(&file)).contains(anchor);
    file.exists() && (anchor.is_empty() || has_anchor())
}

#[test]
fn links_lead_somewhere() {
    let documents = documents();
    assert!(documents.len() > 10, "the documents are found: {}", documents.len());
    let mut dead = Vec::new();
    for document in documents {
        let text = read(&document);
        let found = targets(&text).filter(|target| !leads_somewhere(&document, target));
        dead.extend(found.map(|target| format!("{}: {target}", relative(&document))));
    }
    assert_eq!(dead, [""; 0], "these links lead to no file, or to no heading of it");
}

#[test]
fn headings_have_the_anchors_of_github() {
    let text = "# Of `a_b`, and *c*\n```sh\n# no heading\n```\n## 4. Records\n#5\n## 4. Records\n";
    let wanted = ["4-records", "4-records-1", "of-a_b-and-c"];
    assert_eq!(anchors(text).iter().collect::<Vec<_>>(), wanted.iter().collect::<Vec<_>>());
}
