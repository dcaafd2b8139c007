//! Where bytes live: an ordered map from keys to values with atomic batches and consistent read
//! views. The replicated state is written against [`ReadView`] and [`WriteBatch`] alone, so that
//! memory, a disk with injected faults and a production engine are interchangeable.
//!
//! ```
//! use syncline_store::{Key, MemoryStore, ReadView, Store, WriteBatch};
//!
//! let mut store = MemoryStore::default();
//! let before = store.view();
//! let mut batch = WriteBatch::default();
//! batch.put(Key::of(&[b"key"]), *b"value");
//! store.apply(batch)?;
//! assert_eq!(before.read(b"key")?, None, "a view never changes");
//! assert_eq!(store.view().read(b"key")?.as_deref(), Some(&b"value"[..]));
//! # Ok::<(), syncline_store::StoreError>(())
//! ```
#![warn(clippy::float_arithmetic)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod batch;
mod key;
mod memory;
mod radix;
mod run;

pub use batch::WriteBatch;
pub use key::Key;
pub use memory::MemoryStore;
pub use run::{Amended, Edit, Run, Runs};

use std::sync::Arc;

/// Bytes of one value. Cheap to clone.
pub type Bytes = Arc<[u8]>;

/// What a store could not do. The caller cannot mend any of these: stop and report.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A row is there but is not what was written.
    #[error("the store is damaged: {what}")]
    Corrupt {
        /// Which row, and what is wrong with it.
        what: String,
    },
    /// The medium refused.
    #[error("the store cannot {operation}: {reason}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the medium said.
        reason: String,
    },
}

/// One row: its key and its value.
pub type Row = (Key, Bytes);

/// A state of the store that does not change while it is held.
pub trait ReadView: Clone {
    /// The value under `key`.
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Up to `limit` rows with `from <= key < to`, ascending. Pass the successor of the last key
    /// to go on.
    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError>;

    /// The rows at these keys will be read next. A store may bring them nearer, all side by side; what is
    /// read does not depend on it.
    fn prefetch(&self, _keys: &[Key]) {}

    /// [`ReadView::range`] of each of these bounds. A store may look for all of them side by side.
    fn ranges(&self, bounds: &[(Key, Key)], limit: usize) -> Result<Vec<Vec<Row>>, StoreError> {
        bounds.iter().map(|(from, to)| self.range(from, to, limit)).collect()
    }

    /// As [`ReadView::prefetch`], of the runs at these keys.
    fn prefetch_runs(&self, _keys: &[Key]) {}

    /// The run at `key`, if this store keeps its rows as one.
    fn run(&self, _key: &[u8]) -> Option<&Arc<dyn Run>> {
        None
    }

    /// Whether changes to runs are to be told in short as well: see [`Edit::notes`].
    fn wants_notes(&self) -> bool {
        false
    }

    /// The keys of up to `limit` runs with `from <= key < to`, ascending.
    fn runs(&self, _from: &[u8], _to: &[u8], _limit: usize) -> Vec<Key> {
        Vec::new()
    }
}

/// An ordered key-value store.
pub trait Store {
    /// The views it gives out.
    type View: ReadView;

    /// The state as of now.
    fn view(&self) -> Self::View;

    /// Applies a batch: all of it or, on an error, none of it. When it returns the batch is as
    /// durable as the store can make it.
    fn apply(&mut self, batch: WriteBatch) -> Result<(), StoreError>;
}
