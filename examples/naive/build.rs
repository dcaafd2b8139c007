//! Generates the later versions of the tutorial's replica from the patches in the book.

use std::path::Path;
use std::{env, fs};

const BOOK: &str = "../../docs/book/your-own-replica.md";

/// The hunks of a patch in the book: the text to replace, and its replacement.
fn hunks(patch: &str) -> Vec<(String, String)> {
    let side = |hunk: &str, marks: [char; 2]| {
        let lines = hunk.lines().skip(1).filter(|line| line.is_empty() || line.starts_with(marks));
        lines.map(|line| format!("{}\n", line.get(1..).unwrap_or_default())).collect::<String>()
    };
    patch.split("\n@@").skip(1).map(|hunk| (side(hunk, [' ', '-']), side(hunk, [' ', '+']))).collect()
}

fn patched(text: &str, patch: &str) -> String {
    hunks(patch).into_iter().fold(text.to_owned(), |text, (before, after)| {
        assert_eq!(text.matches(&before).count(), 1, "the replica contains this once:\n{before}");
        text.replace(&before, &after)
    })
}

fn main() {
    println!("cargo::rerun-if-changed={BOOK}");
    let book = fs::read_to_string(BOOK).expect("the book");
    // The program comes from the book and not from src/main.rs, which the reader changes.
    let between = |from: &str, to: &str| -> Vec<String> {
        book.split(from).skip(1).filter_map(|rest| rest.split(to).next()).map(str::to_owned).collect()
    };
    let program = between("```rust,no_run\n", "```\n");
    let edits = between("git apply <<'EOF'\n", "\nEOF\n");
    let ([naive], [stamps, gossip]) = (program.as_slice(), edits.as_slice()) else {
        panic!("{BOOK} has one program and two edits of it");
    };
    let stamped = patched(naive, stamps);
    let out = env::var("OUT_DIR").expect("cargo says it");
    for (name, text) in [
        ("naive.rs", naive.clone()),
        ("gossip.rs", patched(naive, gossip)),
        ("fixed.rs", patched(&stamped, gossip)),
        ("stamped.rs", stamped),
    ] {
        fs::write(Path::new(&out).join(name), text).expect("cargo's folder");
    }
}
