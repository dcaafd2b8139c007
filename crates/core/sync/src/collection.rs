//! The row that says that a collection of tombstones is under way: after a crash it begins again, and finds what is left.

use syncline_storage::{StorageError, keys};
use syncline_store::{ReadView, WriteBatch};

const UNDER_WAY: &[u8] = &[keys::METADATA, 8];

/// Whether a collection had not ended when the store was last written.
pub fn is_under_way<V: ReadView>(view: &V) -> Result<bool, StorageError> {
    Ok(view.read(UNDER_WAY)?.is_some())
}

pub(crate) fn begin(batch: &mut WriteBatch) {
    batch.put(UNDER_WAY.into(), []);
}

pub(crate) fn end(batch: &mut WriteBatch) {
    batch.delete(UNDER_WAY.into());
}
