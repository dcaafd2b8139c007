//! Links between documents lead to files that exist.

use crate::tree::{files, read, relative, root};
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

/// Whether a link leads somewhere: to another site, within the document, or to a file.
fn leads_somewhere(document: &Path, target: &str) -> bool {
    let path = target.split('#').next().unwrap_or(target);
    path.is_empty()
        || path.contains("://")
        || path.starts_with("mailto:")
        || document.parent().expect("a folder").join(path).exists()
}

#[test]
fn links_lead_to_files() {
    let documents = documents();
    assert!(documents.len() > 10, "the documents are found: {}", documents.len());
    let mut dead = Vec::new();
    for document in documents {
        let text = read(&document);
        let found = targets(&text).filter(|target| !leads_somewhere(&document, target));
        dead.extend(found.map(|target| format!("{}: {target}", relative(&document))));
    }
    assert_eq!(dead, [""; 0], "these links lead nowhere");
}
