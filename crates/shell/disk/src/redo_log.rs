//! The redo log of the index: one row for each batch whose index rows are not flushed yet.
//!
//! An entry holds, for each trie with entries of changed records, the key of the trie and the
//! [changes](syncline_store::Edit::redo_entry) in compact form, both with their lengths.

use crate::engine::Engine;
use fjall::Readable;
use std::collections::BTreeMap;
use syncline_store::{Key, StoreError, WriteBatch};
use syncline_types::{DecodeError, Reader, Writer};

/// Keys of entries begin with this; the number of the commit follows, 8 bytes, big-endian.
const PREFIX: &[u8] = &[0, 3];
const PREFIX_END: &[u8] = &[0, 4];
/// A log of this many bytes is flushed: half a million changes, which are replayed in one to two seconds.
const FULL_BYTES: usize = 1 << 25;
/// A log of this many entries is flushed, however short they are: each takes memory while the store is open, and the
/// flush deletes all of them in one batch.
const FULL_ENTRIES: usize = 1 << 17;

/// The entries that the engine stores. Their contents stay on disk: they are read only when a store is
/// opened.
#[derive(Debug, Default)]
pub(crate) struct RedoRows {
    /// The commits that have an entry, ascending.
    commits: Vec<u64>,
    /// The bytes of all entries, keys left out.
    bytes: usize,
}

/// The log entry of `batch`, empty if it does not change the index. `None` if one of its edits has no compact
/// form, because the view that the batch was made on did not ask for it: such a batch cannot be logged.
pub(crate) fn encode(batch: &WriteBatch) -> Option<Writer> {
    let mut entry = Writer::default();
    for (trie, edit) in batch.edits().filter_map(|(trie, edit)| Some((trie, edit?))) {
        let changes = edit.redo_entry()?;
        // Of a trie that changed because of changes further down there is nothing to log.
        if !changes.is_empty() {
            entry.bytes(trie);
            entry.bytes(&changes);
        }
    }
    Some(entry)
}

/// The key of a trie and its changes.
type TrieChanges<'a> = (&'a [u8], &'a [u8]);

fn decode(entry: &[u8]) -> Result<Vec<TrieChanges<'_>>, DecodeError> {
    let mut input = Reader::new(entry);
    let mut changes = Vec::new();
    while input.remaining() > 0 {
        let trie = input.bytes(entry.len(), "the key of a trie")?;
        changes.push((trie, input.bytes(entry.len(), "the changes of a trie")?));
    }
    Ok(changes)
}

/// The key of the entry of commit number `commit`.
pub(crate) fn entry_key(commit: u64) -> Key {
    Key::of(&[PREFIX, &commit.to_be_bytes()])
}

/// The commit whose entry has this key; `None` if the key is none of an entry.
fn commit_of(key: &[u8]) -> Option<u64> {
    key.strip_prefix(PREFIX)?.try_into().ok().map(u64::from_be_bytes)
}

impl RedoRows {
    /// Reads the log from the engine. Also returns the changes of each trie, concatenated over all batches in
    /// the order of commits, so that a node that changed often is looked up once.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if an entry does not decode.
    pub(crate) fn read(engine: &Engine) -> Result<(Self, BTreeMap<Key, Vec<u8>>), StoreError> {
        let corrupt = |error| StoreError::Corrupt { what: format!("its redo log cannot be read: {error}") };
        let mut log = Self::default();
        let mut changes_by_trie: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
        for row in engine.database.snapshot().range(&engine.rows, PREFIX..PREFIX_END) {
            let (key, entry) = row.into_inner().map_err(engine.error("read rows"))?;
            for (trie, changes) in decode(&entry).map_err(corrupt)? {
                changes_by_trie.entry(Key::from(trie)).or_default().extend_from_slice(changes);
            }
            let commit = commit_of(&key).ok_or_else(|| StoreError::Corrupt {
                what: format!("a key of its redo log has {} bytes and not {}", key.len(), PREFIX.len() + 8),
            })?;
            log.push(commit, entry.len());
        }
        Ok((log, changes_by_trie))
    }

    /// Adds the entry of `commit`, of `bytes` bytes, which the engine has made durable.
    pub(crate) fn push(&mut self, commit: u64, bytes: usize) {
        debug_assert!(
            self.commits.last().is_none_or(|last| *last < commit),
            "the log is in the order of commits"
        );
        self.commits.push(commit);
        self.bytes += bytes;
    }

    /// Forgets all entries, which the engine has deleted.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// Whether the log is so long that replaying it would delay the next opening, or its entries are so many.
    pub(crate) const fn is_full(&self) -> bool {
        self.bytes >= FULL_BYTES || self.commits.len() >= FULL_ENTRIES
    }

    /// The keys of the entries, ascending.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        self.commits.iter().map(|commit| entry_key(*commit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_short_entries_fill_a_log() {
        let mut log = RedoRows::default();
        for commit in 1..FULL_ENTRIES as u64 {
            log.push(commit, 40);
        }
        assert!(!log.is_full(), "{} bytes in {} entries", log.bytes, log.commits.len());
        log.push(FULL_ENTRIES as u64, 40);
        assert!(log.is_full());
    }

    #[test]
    fn entries_are_found_by_their_commits() {
        assert_eq!(commit_of(&entry_key(0x0102_0304_0506_0708)), Some(0x0102_0304_0506_0708));
        assert_eq!(commit_of(&entry_key(7)[..9]), None);
    }
}
