//! Opening a store: its version, what was acknowledged, and the redo log.

use super::DiskStore;
use crate::commit_counter::CommitCounter;
use crate::engine::{self, Access, Engine, Found};
use crate::errors::io_error;
use crate::index_cache::IndexCache;
use crate::mirror::Mirror;
use crate::parameters::{COMMITS_KEY, FORMAT_KEY, FORMAT_PREFIX};
use crate::redo_log::RedoRows;
use crate::view::DiskStoreView;
use std::path::Path;
use std::sync::Arc;
use syncline_storage::{StorageError, redo};
use syncline_store::{ReadView, StoreError};

/// What the engine's files and the redo log amount to.
struct Recovered {
    engine: Engine,
    cache: IndexCache,
    redo_log: RedoRows,
    commits: u64,
    /// Whether the store has a format row. Without one it is empty.
    has_format: bool,
}

/// A store that was opened to read. Nothing is written into its folder, and no other process can write there as
/// long as this store or a view of it exists.
pub struct ReadOnlyStore {
    view: DiskStoreView,
    commits: u64,
}

impl std::fmt::Debug for ReadOnlyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadOnlyStore").field("commits", &self.commits).finish_non_exhaustive()
    }
}

impl ReadOnlyStore {
    /// The state of the store. O(1).
    pub fn view(&self) -> DiskStoreView {
        self.view.clone()
    }

    /// The number of batches applied since the store was made.
    pub const fn commits(&self) -> u64 {
        self.commits
    }
}

impl DiskStore {
    /// The format of the stores that this program writes.
    pub const FORMAT: u32 = 4;
    /// The oldest format that this program reads.
    pub const OLDEST_FORMAT: u32 = 4;

    /// Opens the store in the folder `path`, or makes an empty one there. After a crash this replays the redo
    /// log, which takes one to two seconds at most.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if the store is open already; [`StoreError::Version`] if it has another format;
    /// [`StoreError::NoSpace`], [`StoreError::TooManyFiles`], [`StoreError::NotPermitted`] or [`StoreError::Io`]
    /// if the system refuses an operation; [`StoreError::Corrupt`] if the folder holds something else, or the
    /// store has lost acknowledged batches. A store that does not open is not changed.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        std::fs::create_dir_all(path).map_err(io_error("use the folder", path))?;
        match engine::find(path)? {
            Found::Complete => {}
            found => create(path, &found)?,
        }
        let engine = engine::folder(path);
        let engine = Engine::open(&engine, engine.as_path().into(), Access::Write)?;
        let Recovered { engine, cache, redo_log, commits, has_format } =
            recover(engine, path, Access::Write)?;
        if !has_format {
            engine.write_format(Self::FORMAT)?;
        }
        // Nobody else creates the counter meanwhile: the engine is open, which only one process can have.
        let counter = CommitCounter::open(path, Access::Write)?;
        let mut counter = counter.map_or_else(|| CommitCounter::create(path), Ok)?;
        // The counter's slots alternate with each commit. If a crash came between a commit and its count, and the
        // count were not written now, the next one would go to the slot of the last acknowledged commit, and if
        // it were torn, only a count two commits older would be left.
        if commits > counter.last() {
            counter.write(commits)?;
        }
        let store = Self { engine, counter, commits, cache, redo_log, stopped: None };
        store.debug_check();
        Ok(store)
    }

    /// As [`DiskStore::open`], but never makes a store.
    ///
    /// # Errors
    /// As [`DiskStore::open`]; [`StoreError::Missing`] if there is no store at `path`.
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        check_exists(path.as_ref())?;
        Self::open(path)
    }

    /// Opens the store in the folder `path` to read, also where nothing can be written there: on a file system
    /// that is mounted read-only, or in the folder of another user.
    ///
    /// The engine cannot open its files read-only. So it opens a *mirror*, a folder of this process in the
    /// temporary folder of the system (`TMPDIR`), which is removed with the last view: links to the sorted files,
    /// which hold nearly all rows, and copies of the rest, the journals mainly. The copies take as many bytes as
    /// were written since the engine last sorted: 20 to 100 MB for a large store that was just written, and
    /// 512 MB at most. On a system without symbolic links, every file is copied.
    ///
    /// # Errors
    /// As [`DiskStore::open_existing`]. [`StoreError::NoSpace`] may mean the temporary folder; its text names it.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<ReadOnlyStore, StoreError> {
        let path = path.as_ref();
        check_exists(path)?;
        if !matches!(engine::find(path)?, Found::Complete) {
            // Nothing was ever committed to an engine whose creation was interrupted.
            let counter = CommitCounter::open(path, Access::Read)?;
            let is_empty = counter.is_some_and(|counter| counter.last() == 0);
            return Err(if is_empty { missing(path) } else { unfinished(path) });
        }
        let at: Arc<Path> = engine::folder(path).into();
        let mirror = Mirror::of(&at)?;
        let engine = Engine::open(mirror.path(), at, Access::Read)?;
        let Recovered { engine, cache, commits, .. } = recover(engine, path, Access::Read)?;
        let view = DiskStoreView::new(&engine, cache).of_mirror(mirror);
        Ok(ReadOnlyStore { view, commits })
    }
}

fn check_exists(path: &Path) -> Result<(), StoreError> {
    if engine::folder(path).is_dir() { Ok(()) } else { Err(missing(path)) }
}

fn missing(path: &Path) -> StoreError {
    StoreError::Missing { at: path.display().to_string() }
}

fn unfinished(path: &Path) -> StoreError {
    StoreError::Corrupt {
        what: format!("the engine's folder {} does not name its version", engine::folder(path).display()),
    }
}

/// Creates the engine of a store that has none.
fn create(path: &Path, found: &Found) -> Result<(), StoreError> {
    let counter = CommitCounter::open(path, Access::Read)?;
    match (found, counter.map(|counter| counter.last())) {
        (Found::Nothing, None | Some(0)) => {}
        // Earlier versions created the engine in place, and the counter before it. A crash or a full disk could
        // leave half an engine, with nothing committed.
        (Found::Unfinished, Some(0)) => {
            let engine = engine::folder(path);
            std::fs::remove_dir_all(&engine).map_err(io_error("create its files", &engine))?;
        }
        (Found::Nothing, Some(acknowledged)) => {
            let at = engine::folder(path);
            let what = format!(
                "its rows are missing: {acknowledged} batches were acknowledged, and {} is not there",
                at.display()
            );
            return Err(StoreError::Corrupt { what });
        }
        _ => return Err(unfinished(path)),
    }
    engine::create(path, DiskStore::FORMAT)
}

/// Checks the engine's rows, and applies the redo log to the index, in a cache. Writes nothing.
fn recover(engine: Engine, path: &Path, access: Access) -> Result<Recovered, StoreError> {
    let view = DiskStoreView::new(&engine, IndexCache::default());
    // The version comes first: nothing else is understood without it.
    let has_format = check_format(&view, path)?;
    let counted = CommitCounter::open(path, access)?.map(|counter| counter.last());
    let commits = check_commits(&view, counted, path)?;
    if !has_format && counted != Some(0) {
        let what = format!("its rows are missing: {} has no row of the format", engine.at.display());
        return Err(StoreError::Corrupt { what });
    }
    let mut cache = IndexCache::default();
    let redo_log = replay(&engine, &mut cache)?;
    Ok(Recovered { engine, cache, redo_log, commits, has_format })
}

/// Checks the format of the store. `false` if it has none.
fn check_format(view: &DiskStoreView, path: &Path) -> Result<bool, StoreError> {
    let Some(format) = view.read(FORMAT_KEY)? else { return Ok(false) };
    let name = std::str::from_utf8(&format).ok();
    let found = name.and_then(|name| name.strip_prefix(FORMAT_PREFIX)).and_then(|found| found.parse().ok());
    let oldest = DiskStore::OLDEST_FORMAT;
    let newest = DiskStore::FORMAT;
    match found {
        Some(found) if (oldest..=newest).contains(&found) => Ok(true),
        Some(found) => {
            let what = format!("the store at {}", path.display());
            Err(StoreError::Version { what, found, oldest, newest })
        }
        None => Err(StoreError::Corrupt { what: "its row of the format does not name a version".into() }),
    }
}

/// Reads the number of commits, and compares it with the counter.
fn check_commits(view: &DiskStoreView, counted: Option<u64>, path: &Path) -> Result<u64, StoreError> {
    let corrupt = |what: String| Err(StoreError::Corrupt { what });
    let commits = match view.read(COMMITS_KEY)?.as_deref().map(TryInto::try_into) {
        None => 0,
        Some(Ok(bytes)) => u64::from_be_bytes(bytes),
        Some(Err(_)) => return corrupt("its row with the number of commits does not have 8 bytes".into()),
    };
    let file = CommitCounter::file(path);
    match counted {
        // A crash during the creation: the counter is created last.
        None if commits == 0 => Ok(0),
        None => corrupt(format!(
            "its counter of commits is missing: {commits} batches are there, and {} is not",
            file.display()
        )),
        // The counter is written after each commit, so a crash between the two leaves it one behind at most.
        Some(acknowledged) if commits > acknowledged.saturating_add(1) => corrupt(format!(
            "its counter of commits was lost: {commits} batches are there, and {} counts {acknowledged}",
            file.display()
        )),
        Some(acknowledged) if commits < acknowledged => corrupt(format!(
            "{acknowledged} batches were acknowledged and {commits} are there, according to {}",
            file.display()
        )),
        Some(_) => Ok(commits),
    }
}

/// Applies the redo log to the index, in `cache`.
fn replay(engine: &Engine, cache: &mut IndexCache) -> Result<RedoRows, StoreError> {
    let corrupt = |error: StorageError| match error {
        StorageError::Store(error) => error,
        error => StoreError::Corrupt { what: format!("its redo log cannot be replayed: {error}") },
    };
    let (log, changes_by_trie) = RedoRows::read(engine)?;
    let logs = changes_by_trie.iter().map(|(trie, changes)| (&**trie, changes.as_slice()));
    let batch = redo(&DiskStoreView::new(engine, cache.clone()), logs).map_err(corrupt)?;
    debug_assert!(batch.iter().len() == 0, "a replay changes the index and no records");
    cache.record(&batch, true)?;
    Ok(log)
}
