//! The change feed: which records a batch has changed, for callers that maintain something derived from the
//! state.

use super::Interface;
use crate::error::StorageError;
use crate::record::own_hash;
use syncline_store::ReadView;
use syncline_types::{Digest, Encode, EntityId};

/// A record that changed. The digests are those of the index, see [`own_hash`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// The entity whose record changed.
    pub id: EntityId,
    /// The digest before; `None` if the record is new.
    pub before: Option<Digest>,
    /// The digest now; `None` if the record was removed.
    pub after: Option<Digest>,
}

/// The changes since the last [`Interface::take_changes`]. Nothing is recorded before the first call.
#[derive(Clone, Debug, Default)]
pub(super) struct ChangeFeed {
    changes: Option<Vec<Change>>,
    /// The digest of the root's record when it was last pushed. The root has no entry in any trie from which
    /// the digest before a change could be read.
    root: Option<Digest>,
}

impl ChangeFeed {
    pub(super) fn push(&mut self, id: EntityId, before: Option<Digest>, after: Option<Digest>) {
        if let Some(changes) = self.changes.as_mut().filter(|_| before != after) {
            changes.push(Change { id, before, after });
        }
    }

    pub(super) fn push_root(&mut self, after: Digest) {
        let before = self.root.replace(after);
        self.push(EntityId::ROOT, before, Some(after));
    }
}

impl<V: ReadView> Interface<V> {
    /// The records that changed since the last call, the root's among them. The first call returns nothing and
    /// starts the feed. A record may occur several times; each change begins where the one before it ended.
    /// O(changes).
    pub fn take_changes(&mut self) -> Result<Vec<Change>, StorageError> {
        let root = self.root_hash()?;
        if self.change_feed.changes.is_none() && !root.is_zero() {
            let record = self.record(EntityId::ROOT)?;
            self.change_feed.root = record.map(|record| own_hash(EntityId::ROOT, &record.to_bytes()));
        }
        Ok(self.change_feed.changes.replace(Vec::new()).unwrap_or_default())
    }
}
