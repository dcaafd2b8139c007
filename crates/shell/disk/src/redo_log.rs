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

/// The entries that the engine stores. Their contents stay on disk: they are read only when a store is
/// opened.
#[derive(Debug, Default)]
pub(crate) struct RedoRows {
    /// The keys of the entries, ascending.
    keys: Vec<Key>,
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
            log.push(Key::from(&*key), entry.len());
        }
        Ok((log, changes_by_trie))
    }

    /// Adds the entry at `key`, of `bytes` bytes, which the engine has made durable.
    pub(crate) fn push(&mut self, key: Key, bytes: usize) {
        debug_assert!(key.starts_with(PREFIX), "log entries have keys of their own");
        debug_assert!(self.keys.last().is_none_or(|last| *last < key), "the log is in the order of commits");
        self.keys.push(key);
        self.bytes += bytes;
    }

    /// Forgets all entries, which the engine has deleted.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether the log is so long that replaying it would delay the next opening.
    pub(crate) const fn is_full(&self) -> bool {
        self.bytes >= FULL_BYTES
    }

    /// The keys of the entries, ascending.
    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }
}
