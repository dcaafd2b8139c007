//! A [`Store`] on disk.
//!
//! A batch is durable when [`Store::apply`] returns, and after a crash it is there whole or not at
//! all. Views are snapshots that later batches do not change.
//!
//! The engine is `fjall`, a log-structured merge tree in Rust. It was chosen by measurement: rows are small
//! and scattered over the whole key space, and when both were given each record and each node of the index
//! that a batch changes, a log took two to three times as many of them as a B-tree that rewrites a page for
//! each (`redb`); `rocksdb` is of the same kind and takes a C++ compiler many minutes.
//!
//! By now it is given less. Nodes of the index that were read or written lately stay in memory as they are, so
//! that changing them again reads no row. A batch brings the engine its records and, for the index, notes of
//! what changed; the nodes themselves are written once for many batches ([`DiskStore::settle`]). What a crash
//! comes before is made again from the notes when the store is opened, and must give the root that was
//! acknowledged. `cargo bench -- disk` in `benches/` measures it, `redb` with every row beside it.
//!
//! A log has one weakness: when its end is damaged, that cannot be told from a crash, and the engine
//! forgets the batches there. So a counter of commits lies in a file of its own, written after each
//! commit. A store that is behind its counter has lost what it had acknowledged, and does not open.

mod owed;
mod progress;

use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use owed::Owed;
use progress::Progress;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use syncline_storage::{StorageError, index, trie_roots_match};
use syncline_store::{Bytes, Key, ReadView, Row, RowRun, RowRuns, Store, StoreError, WriteBatch};
use syncline_types::{DecodeError, Reader, Writer};

/// Where the format of a store is written; no row of a state has this key.
const FORMAT_KEY: &[u8] = &[0, 1];
/// How many batches were applied: grows with each.
const COMMITS_KEY: &[u8] = &[0, 2];
/// Notes of what a batch has done to the index, by its number among the batches.
const NOTES: &[u8] = &[0, 3];
const NOTES_END: &[u8] = &[0, 4];
const FORMAT: &[u8] = b"syncline store 2";
/// How many bytes the engine gathers before it sorts them into a file: a quarter of what it would, for a tenth
/// more inserts a second, since its list of them is searched for every row that is read.
const MEMTABLE: u64 = 16 << 20;
/// How many nodes of the index stay in memory unless told otherwise.
const NODES_AT_HAND: usize = 1 << 17;
/// How many bytes of notes there may be: half a million changes, which are made again in a second or two.
const BYTES_OF_NOTES: usize = 1 << 25;

/// A store in a folder.
pub struct DiskStore {
    database: Database,
    rows: Keyspace,
    progress: Progress,
    commits: u64,
    /// What is known of the index, and of how many nodes at most.
    at_hand: RowRuns,
    nodes_at_hand: usize,
    most_at_hand: usize,
    /// Of these, what the engine does not have yet.
    owed: Owed,
    /// The keys of the notes that the engine holds, and how many bytes these are.
    noted: Vec<Key>,
    bytes_of_notes: usize,
    /// Something failed, and nobody knows how much of it is on the disk.
    failed: bool,
}

impl std::fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskStore").field("commits", &self.commits).finish_non_exhaustive()
    }
}

/// A state of a [`DiskStore`] that does not change while it is held.
#[derive(Clone)]
pub struct DiskView {
    snapshot: Arc<Snapshot>,
    rows: Keyspace,
    at_hand: RowRuns,
    owed: Owed,
}

impl std::fmt::Debug for DiskView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskView").finish_non_exhaustive()
    }
}

/// What the engine could not do, in our words.
fn failed(operation: &'static str) -> impl Fn(fjall::Error) -> StoreError {
    move |error| match error {
        fjall::Error::Io(error) => StoreError::Io { operation, reason: error.to_string() },
        fjall::Error::Locked => StoreError::Io { operation, reason: "another process has it open".into() },
        error => StoreError::Corrupt { what: format!("the engine cannot {operation}: {error}") },
    }
}

/// What a batch does to the index, in short: nothing at all if somebody did not take notes.
fn notes_of(batch: &WriteBatch) -> Option<Writer> {
    let mut out = Writer::default();
    for (trie, edit) in batch.edits().filter_map(|(trie, edit)| Some((trie, edit?))) {
        out.bytes(trie);
        out.bytes(&edit.redo_entry()?);
    }
    Some(out)
}

/// The key of a trie, and the notes of what was done to it.
type Noted<'a> = (&'a [u8], &'a [u8]);

/// What a row of notes tells.
fn notes_in(row: &[u8]) -> Result<Vec<Noted<'_>>, DecodeError> {
    let (mut input, mut notes) = (Reader::new(row), Vec::new());
    while input.remaining() > 0 {
        notes.push((input.bytes(row.len(), "the key of a trie")?, input.bytes(row.len(), "notes")?));
    }
    Ok(notes)
}

impl DiskStore {
    /// Opens the store in the folder `path`, or makes an empty one there.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the folder cannot be used or another process has it open;
    /// [`StoreError::Corrupt`] if it holds something else, or has lost what it once acknowledged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let io = |error: std::io::Error| StoreError::Io {
            operation: "use the folder",
            reason: format!("{}: {error}", path.display()),
        };
        std::fs::create_dir_all(path).map_err(io)?;
        let progress = Progress::open(path)?;
        // A damaged file may surprise the engine itself; that is the file's fault and not the caller's.
        let opened = std::panic::catch_unwind(|| {
            // Digests, which notes consist of, do not compress.
            let builder = Database::builder(path.join("rows")).journal_compression(CompressionType::None);
            let database = builder.worker_threads(1).open()?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE);
            let rows = database.keyspace("rows", options)?;
            Ok((database, rows))
        });
        let (database, rows) = opened
            .map_err(|_| StoreError::Corrupt { what: "the engine cannot make sense of its files".into() })?
            .map_err(failed("open its files"))?;
        let mut store = Self {
            database,
            rows,
            progress,
            commits: 0,
            at_hand: RowRuns::default(),
            nodes_at_hand: 0,
            most_at_hand: NODES_AT_HAND,
            owed: Owed::default(),
            noted: Vec::new(),
            bytes_of_notes: 0,
            // Until all is seen to be right: what is dropped before that settles nothing.
            failed: true,
        };
        store.check_format()?;
        let commits = store.view().read(COMMITS_KEY)?;
        store.commits = match commits.as_deref().map(TryInto::try_into) {
            None => 0,
            Some(Ok(bytes)) => u64::from_be_bytes(bytes),
            Some(Err(_)) => return Err(StoreError::Corrupt { what: "the number of commits".into() }),
        };
        let acknowledged = store.progress.last();
        if store.commits > acknowledged + 1 {
            // A crash leaves the counter one behind at most.
            return Err(StoreError::Corrupt { what: "its counter of commits was lost".into() });
        }
        if store.commits < acknowledged {
            let found = store.commits;
            let what = format!("{acknowledged} batches were acknowledged and {found} are there");
            return Err(StoreError::Corrupt { what });
        }
        store.redo()?;
        store.failed = false;
        Ok(store)
    }

    /// As [`DiskStore::open`], but only what is there already.
    ///
    /// # Errors
    /// As [`DiskStore::open`]; [`StoreError::Io`] if there is no store at `path`.
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        if !path.as_ref().join("rows").is_dir() {
            let reason = format!("there is no store at {}", path.as_ref().display());
            return Err(StoreError::Io { operation: "open it", reason });
        }
        Self::open(path)
    }

    fn check_format(&mut self) -> Result<(), StoreError> {
        match self.view().read(FORMAT_KEY)? {
            Some(format) if *format == *FORMAT => Ok(()),
            Some(_) => Err(StoreError::Corrupt { what: "it is of another format".into() }),
            None if self.progress.last() > 0 => Err(StoreError::Corrupt { what: "its rows are gone".into() }),
            None => {
                let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
                batch.insert(&self.rows, FORMAT_KEY, FORMAT);
                batch.commit().map_err(failed("write its format"))
            }
        }
    }

    /// Makes the changes to the index again of which there are notes.
    fn redo(&mut self) -> Result<(), StoreError> {
        let damaged = |error: StorageError| match error {
            StorageError::Store(error) => error,
            error => StoreError::Corrupt { what: format!("its index cannot be made again: {error}") },
        };
        let unread = |error| StoreError::Corrupt { what: format!("its notes cannot be read: {error}") };
        // Those of one trie, all batches together: what is changed often is looked up once.
        let mut all: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
        let mut from = Key::from(NOTES);
        while let Some((key, row)) = self.view().range(&from, NOTES_END, 1)?.pop() {
            for (trie, notes) in notes_in(&row).map_err(unread)? {
                all.entry(Key::from(trie)).or_default().extend_from_slice(notes);
            }
            self.bytes_of_notes += row.len();
            from = Key::of(&[&key, &[0]]);
            self.noted.push(key);
        }
        for (trie, notes) in &all {
            let batch = index::redo(&self.view(), trie, notes).map_err(damaged)?;
            self.remember(&batch, true)?;
        }
        if !trie_roots_match(&self.view(), all.keys()).map_err(damaged)? {
            let what = "what its notes make of the index does not give the root that was acknowledged";
            return Err(StoreError::Corrupt { what: what.into() });
        }
        Ok(())
    }

    /// Keeps at hand what a batch has done to the index, and which rows the engine is `owed`, if it is.
    fn remember(&mut self, batch: &WriteBatch, owed: bool) -> Result<(), StoreError> {
        for (trie, edit) in batch.edits() {
            self.at_hand.amend(trie, edit);
            self.nodes_at_hand += edit.map_or(0, |edit| edit.len());
            if let Some(edit) = edit.filter(|_| owed) {
                self.owed.take(trie, &**edit)?;
            }
        }
        if !self.at_hand.is_empty() {
            batch.iter().for_each(|(key, _)| drop(self.at_hand.remove_covering(key)));
        }
        Ok(())
    }

    /// Lets go of what is at hand if that is too much.
    fn make_room(&mut self) -> Result<(), StoreError> {
        if self.nodes_at_hand > self.most_at_hand {
            // Nodes that changed again were counted again.
            self.nodes_at_hand = self.at_hand.len();
            if self.nodes_at_hand > self.most_at_hand / 4 * 3 {
                self.settle()?;
                (self.at_hand, self.nodes_at_hand) = (RowRuns::default(), 0);
            }
        }
        Ok(())
    }

    /// Writes the rows of the index that were not written yet, one durable batch. [`Store::apply`] and closing
    /// the store see to it; done by itself it keeps the next opening short. O(rows).
    ///
    /// # Errors
    /// As [`Store::apply`]; nothing is lost then.
    pub fn settle(&mut self) -> Result<(), StoreError> {
        if self.noted.is_empty() {
            return Ok(());
        }
        self.check()?;
        let mut writes = fjall::OwnedWriteBatch::with_capacity(self.database.clone(), self.owed.len())
            .durability(Some(PersistMode::SyncData));
        let now = self.view();
        for key in self.owed.keys(&[], &[0xff]) {
            let key = key?;
            match now.at_hand(&key) {
                Some(value) => writes.insert(&self.rows, &*key, &*value),
                None => writes.remove(&self.rows, &*key),
            }
        }
        self.noted.iter().for_each(|key| writes.remove(&self.rows, &**key));
        self.failed = true;
        writes.commit().map_err(failed("write its index"))?;
        (self.owed, self.noted, self.bytes_of_notes) = (Owed::default(), Vec::new(), 0);
        self.failed = false;
        Ok(())
    }

    /// Refuses what comes after a failure.
    fn check(&self) -> Result<(), StoreError> {
        if self.failed {
            let reason = "an earlier batch failed; open the store again to see what is there".into();
            return Err(StoreError::Io { operation: "write a batch", reason });
        }
        Ok(())
    }

    /// Whether rows that are owed must be written before this batch: there are notes enough, or the batch
    /// may touch such rows in ways of which there are no notes.
    fn must_settle(&self, batch: &WriteBatch, notes: Option<&Writer>) -> Result<bool, StoreError> {
        if self.noted.is_empty() || self.bytes_of_notes >= BYTES_OF_NOTES || notes.is_none() {
            return Ok(!self.noted.is_empty());
        }
        for (key, _) in batch.iter() {
            if self.at_hand.covering(key).is_some() || self.owed.contains(key)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sets how many nodes of the index may stay in memory, about 1 KiB each: 131,072 unless told otherwise,
    /// which is all of the index of some million entities.
    pub const fn keep_at_hand(&mut self, nodes: usize) {
        self.most_at_hand = nodes;
    }

    /// How many batches were applied.
    pub const fn commits(&self) -> u64 {
        self.commits
    }
}

impl Store for DiskStore {
    type View = DiskView;

    fn view(&self) -> DiskView {
        DiskView {
            snapshot: Arc::new(self.database.snapshot()),
            rows: self.rows.clone(),
            at_hand: self.at_hand.clone(),
            owed: self.owed.clone(),
        }
    }

    fn apply(&mut self, batch: WriteBatch) -> Result<(), StoreError> {
        self.check()?;
        let notes = notes_of(&batch);
        if self.must_settle(&batch, notes.as_ref())? {
            self.settle()?;
        }
        self.make_room()?;
        self.failed = true;
        let commits = self.commits + 1;
        let mut writes = fjall::OwnedWriteBatch::with_capacity(self.database.clone(), batch.len() + 2)
            .durability(Some(PersistMode::SyncData));
        let mut write = |key: &[u8], value: Option<&Bytes>| match value {
            Some(value) => writes.insert(&self.rows, key, &**value),
            None => writes.remove(&self.rows, key),
        };
        batch.iter().for_each(|(key, value)| write(key, value));
        let edits = batch.edits().filter(|_| notes.is_none());
        for (key, edit) in edits.filter_map(|(key, edit)| Some((key, edit?))) {
            edit.rows().iter().for_each(|(suffix, value)| write(&Key::of(&[key, suffix]), value.as_ref()));
        }
        let notes = notes.filter(|notes| !notes.is_empty());
        let noted = Key::of(&[NOTES, &commits.to_be_bytes()]);
        if let Some(notes) = &notes {
            writes.insert(&self.rows, &*noted, notes.as_slice());
        }
        writes.insert(&self.rows, COMMITS_KEY, commits.to_be_bytes());
        writes.commit().map_err(failed("write a batch"))?;
        self.progress.write(commits)?;
        self.remember(&batch, notes.is_some())?;
        if let Some(notes) = notes {
            self.noted.push(noted);
            self.bytes_of_notes += notes.len();
        }
        (self.commits, self.failed) = (commits, false);
        Ok(())
    }
}

impl Drop for DiskStore {
    /// Settles, or leaves it to the next opening.
    fn drop(&mut self) {
        if !self.failed {
            let _left = self.settle();
        }
    }
}

impl DiskView {
    /// What the row `key` of the index is, if it is at hand.
    fn at_hand(&self, key: &[u8]) -> Option<Bytes> {
        let (trie, run) = self.at_hand.covering(key)?;
        run.read(key.split_at(trie.len()).1)
    }
}

impl ReadView for DiskView {
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        if self.owed.contains(key)? {
            return Ok(self.at_hand(key));
        }
        let value = self.snapshot.get(&self.rows, key).map_err(failed("read a row"))?;
        Ok(value.map(|value| Bytes::from(&*value)))
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let rows = self.snapshot.range(&self.rows, from.to_vec()..to.to_vec()).map(|row| {
            let (key, value) = row.into_inner().map_err(failed("read rows"))?;
            Ok((Key::from(&*key), Bytes::from(&*value)))
        });
        owed::merged(rows, self.owed.keys(from, to), |key| self.at_hand(key), limit)
    }

    fn wants_redo_entries(&self) -> bool {
        true
    }

    fn prefetch_runs(&self, keys: &[Key]) {
        self.at_hand.prefetch(keys);
    }

    fn run(&self, key: &[u8]) -> Option<&Arc<dyn RowRun>> {
        self.at_hand.get(key)
    }
}
