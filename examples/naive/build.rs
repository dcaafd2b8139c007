//! Makes the later states of the tutorial's replica, by the edits that the book has its reader make.

use std::path::Path;
use std::{env, fs};

const BOOK: &str = "../../docs/book/your-own-replica.md";

/// The hunks of a patch in the book: what stands there, and what shall.
fn hunks(patch: &str) -> Vec<(String, String)> {
    let side = |hunk: &str, marks: [char; 2]| {
        let lines = hunk.lines().skip(1).filter(|line| line.is_empty() || line.starts_with(marks));
        lines.map(|line| format!("{}\n", line.get(1..).unwrap_or_default())).collect::<String>()
    };
    patch.split("\n@@").skip(1).map(|hunk| (side(hunk, [' ', '-']), side(hunk, [' ', '+']))).collect()
}

fn patched(text: &str, patch: &str) -> String {
    hunks(patch).into_iter().fold(text.to_owned(), |text, (before, after)| {
        assert_eq!(text.matches(&before).count(), 1, "this stands once in the replica:\n{before}");
        text.replace(&before, &after)
    })
}

fn main() {
    println!("cargo::rerun-if-changed={BOOK}");
    println!("cargo::rerun-if-changed=src/main.rs");
    let book = fs::read_to_string(BOOK).expect("the book");
    let naive = fs::read_to_string("src/main.rs").expect("the replica");
    assert!(book.contains(&format!("```rust,no_run\n{naive}```\n")), "the book shows src/main.rs as it is");
    let patches: Vec<&str> =
        book.split("git apply <<'EOF'\n").skip(1).filter_map(|rest| rest.split("\nEOF\n").next()).collect();
    let [stamps, gossip] = patches.as_slice() else { panic!("the book has two edits") };
    let stamped = patched(&naive, stamps);
    let out = env::var("OUT_DIR").expect("cargo says it");
    for (name, text) in [
        ("gossip.rs", patched(&naive, gossip)),
        ("mended.rs", patched(&stamped, gossip)),
        ("stamped.rs", stamped),
    ] {
        fs::write(Path::new(&out).join(name), text).expect("cargo's folder");
    }
}
