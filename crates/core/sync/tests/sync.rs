//! The tests of messages and sessions, as one program: what is generic over the store is compiled once.
//! `cargo test -p syncline-sync --test sync sessions::` runs one module.

mod sessions;
mod wire_spec;

// `doc.rs` and `values.rs` serve other crates too and name each other from the root.
use wire_spec::doc;
