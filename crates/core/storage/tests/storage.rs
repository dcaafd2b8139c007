//! The tests of the replicated state, as one program: what is generic over the store is compiled once.
//! `cargo test -p syncline-storage --test storage laws::` runs one module.

mod anchors;
mod branches;
mod collection_pages;
mod laws;
mod order_dependence;
mod partial_tries;
mod staging;
mod storage_spec;

// `doc.rs` and `values.rs` serve other crates too and name each other from the root.
use storage_spec::doc;
