//! What became of records, for those who keep something beside the state that follows from it.

use crate::error::StorageError;
use crate::interface::Interface;
use crate::record_codec::own_hash;
use syncline_store::ReadView;
use syncline_types::{Digest, Encode, EntityId};

/// A record that is another one now, as the digests by which the index knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// The entity.
    pub id: EntityId,
    /// The record before, if there was one.
    pub before: Option<Digest>,
    /// The record now, if there is one.
    pub after: Option<Digest>,
}

/// The changes since they were last asked for; none are kept until they are asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    noted: Option<Vec<Change>>,
    /// The digest of the root's record as it was last told.
    root: Option<Digest>,
}

impl Changes {
    pub(crate) fn note(&mut self, id: EntityId, before: Option<Digest>, after: Option<Digest>) {
        if let Some(noted) = self.noted.as_mut().filter(|_| before != after) {
            noted.push(Change { id, before, after });
        }
    }

    /// The root has no entry in any trie: what was told of it last is kept here.
    pub(crate) fn note_root(&mut self, after: Digest) {
        let before = self.root.replace(after);
        self.note(EntityId::ROOT, before, Some(after));
    }
}

impl<V: ReadView> Interface<V> {
    /// What became of records, the root's among them, since this was last called; from the first call
    /// on. O(changes).
    pub fn take_changes(&mut self) -> Result<Vec<Change>, StorageError> {
        let root = self.root_hash()?;
        if self.changes.noted.is_none() && !root.is_zero() {
            let record = self.record(EntityId::ROOT)?;
            self.changes.root = record.map(|record| own_hash(EntityId::ROOT, &record.to_bytes()));
        }
        Ok(self.changes.noted.replace(Vec::new()).unwrap_or_default())
    }
}
