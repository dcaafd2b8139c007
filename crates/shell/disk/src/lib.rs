//! A [`Store`](syncline_store::Store) on disk.
//!
//! [`Store::apply`](syncline_store::Store::apply) returns once its batch is durable. After a crash each batch
//! is present completely or not at all. A [`DiskStoreView`] is a snapshot that later batches do not change.
//!
//! # Engine
//!
//! The engine is `fjall`, a log-structured merge tree (O'Neil, Cheng, Gawlick, O'Neil 1996) in Rust. It was
//! chosen by measurement: rows are small and scattered over the whole key space. When both engines were given
//! each record and each index node that a batch changes, the log-structured engine took two to three times as
//! many inserts a second as `redb`, a B-tree that rewrites a page for each. `rocksdb` is also log-structured,
//! but a C++ compiler needs many minutes to build it.
//!
//! # Index cache and redo log
//!
//! A thousand inserts into a large state change two thousand index nodes of about a kilobyte each, and nearly
//! all of these nodes change again soon. So the engine does not receive changed nodes batch by batch:
//!
//! - Index nodes that were read or written lately stay in memory, in an index cache.
//! - A batch writes its records, and one redo log entry that says what it changed in the index. The entry is a
//!   twentieth of the bytes of the nodes.
//! - Once the redo log is large, [`DiskStore::flush_index`] writes the row of each changed node once, for many
//!   batches, and deletes the log.
//!
//! A store that is opened after a crash replays the redo log, and refuses to open if the replayed index does
//! not have the root that was acknowledged. `cargo bench -- disk` in `benches/` measures all of this, beside
//! `redb` with every row.
//!
//! # Commit counter
//!
//! The engine cannot distinguish a journal whose end is damaged from one whose last write a crash interrupted:
//! it drops the batches there. So a counter of commits lies in a file of its own, written after each commit.
//! A store that is behind its counter has lost acknowledged batches and does not open.
//!
//! # Errors
//!
//! [`StoreError`](syncline_store::StoreError) tells full disks, limits, missing permissions, locks and versions from
//! damage. A store whose write has failed refuses further writes. Opened again, it has every acknowledged batch.
//! [`DiskStore::open_read_only`] opens a store that cannot be written.
//!
//! # Files
//!
//! | path in the folder | contents |
//! |---|---|
//! | `commits` | the commit counter: two slots of 16 bytes, each a count and its checksum, big-endian |
//! | `rows/` | the engine's files |
//!
//! Rows whose keys begin with byte 0 belong to this crate: `[0, 1]` is the format, `[0, 2]` the number of
//! commits (8 bytes, big-endian), and `[0, 3]` followed by the number of a commit (8 bytes, big-endian) is that
//! commit's redo log entry. All other rows are those of the state.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod commit_counter;
mod engine;
mod errors;
mod index_cache;
mod mirror;
mod parameters;
mod redo_log;
mod store;
mod unflushed;
mod view;

pub use store::{DiskStore, ReadOnlyStore};
pub use view::DiskStoreView;
