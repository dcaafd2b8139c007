//! The storage interface: an ordered map from keys to values with atomic batches and consistent read views.
//! The replicated state uses only [`ReadView`] and [`WriteBatch`], so that a store in memory, a simulated
//! disk with faults and a storage engine are interchangeable.
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
mod error;
mod key;
mod memory;
mod radix;
mod run;

pub use batch::WriteBatch;
pub use error::StoreError;
pub use key::Key;
pub use memory::MemoryStore;
pub use run::{AmendOutcome, Edit, RowRun, RowRuns};

use std::sync::Arc;

/// The bytes of one value. A clone takes O(1).
pub type Bytes = Arc<[u8]>;

/// A row of the store: its key and its value.
pub type Row = (Key, Bytes);

/// A consistent state of the store: later batches do not change it. A clone should take O(1).
pub trait ReadView: Clone {
    /// Returns the value under `key`; `None` if there is no such row.
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Returns up to `limit` rows with `from <= key < to`, ascending by key. To continue, pass the
    /// successor of the last key as `from`.
    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError>;

    /// Announces that the rows at `keys` will be read next. A store may load them together, so that
    /// their cache misses overlap. The results of reads do not depend on it.
    fn prefetch(&self, _keys: &[Key]) {}

    /// Returns [`ReadView::range`] for each of `bounds`. A store may load all ranges together, so that
    /// their cache misses overlap.
    fn ranges(&self, bounds: &[(Key, Key)], limit: usize) -> Result<Vec<Vec<Row>>, StoreError> {
        bounds.iter().map(|(from, to)| self.range(from, to, limit)).collect()
    }

    /// Announces that the runs at `keys` will be read next; see [`ReadView::prefetch`].
    fn prefetch_runs(&self, _keys: &[Key]) {}

    /// Returns the run at `key`, if the store holds its rows as a run.
    fn run(&self, _key: &[u8]) -> Option<&Arc<dyn RowRun>> {
        None
    }

    /// Whether the store needs a redo entry for each edit of a run: see [`Edit::redo_entry`].
    fn wants_redo_entries(&self) -> bool {
        false
    }

    /// Returns the keys of up to `limit` runs with `from <= key < to`, ascending. Stores without runs
    /// return none.
    fn runs(&self, _from: &[u8], _to: &[u8], _limit: usize) -> Vec<Key> {
        Vec::new()
    }
}

/// An ordered key-value store.
pub trait Store {
    /// The type of the read views of this store.
    type View: ReadView;

    /// Returns a view of the current state.
    fn view(&self) -> Self::View;

    /// Applies all of a batch or, on an error, none of it. After the return the batch is as durable as
    /// the store can make it.
    fn apply(&mut self, batch: WriteBatch) -> Result<(), StoreError>;
}
