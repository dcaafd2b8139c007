//! Checks of the source tree. Each module checks one rule of `CONTRIBUTING.md`.
//!
//! Two rules compare the tree with a list that people review: `layers.txt` and `homonyms.txt`, beside
//! `Cargo.toml`. After a change that is meant, write them anew, read the difference, and replace each `TODO`
//! with a reason:
//!
//! ```sh
//! SYNCLINE_UPDATE_HOUSE=1 cargo test -p syncline-house
//! ```
//!
//! `docs/promises.md` is generated from the tests: `SYNCLINE_UPDATE_DOCS=1 cargo test -p syncline-house`.

mod book;
mod checks;
mod dependencies;
mod guide_map;
mod homonyms;
mod layers;
mod links;
mod lints;
mod measures;
mod mutants;
mod promises;
mod source;
mod tree;
