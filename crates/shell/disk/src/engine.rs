//! The engine: its files, and how a new one comes into being.

use crate::errors::{engine_error, io_error};
use crate::parameters::{ENGINE_VERSION, FORMAT_KEY, FORMAT_PREFIX, MEMTABLE_BYTES};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use syncline_store::StoreError;

/// The file with which the engine marks a folder whose creation is complete, and names its version.
const MARKER: &str = "version";
/// Who writes to the engine's files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// The store writes, and the engine sorts what was written in the background.
    Write,
    /// The store is read only, and the engine writes no file.
    Read,
}

/// An open engine and its only keyspace.
pub(crate) struct Engine {
    pub(crate) database: Database,
    pub(crate) rows: Keyspace,
    /// The folder that errors name.
    pub(crate) at: Arc<Path>,
}

/// The state of the engine's folder.
pub(crate) enum Found {
    /// The folder does not exist.
    Nothing,
    /// A folder whose creation was interrupted: nothing was ever committed to it.
    Unfinished,
    /// A complete folder, of the version that this program reads.
    Complete,
}

/// The folder of the engine in the folder of a store.
pub(crate) fn folder(store: &Path) -> PathBuf {
    store.join("rows")
}

/// Looks at the engine's folder in `store`, and changes nothing.
///
/// # Errors
/// [`StoreError::Version`] if the engine's files have another version.
pub(crate) fn find(store: &Path) -> Result<Found, StoreError> {
    let at = folder(store);
    let marker = match fs::read(at.join(MARKER)) {
        Ok(marker) => marker,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let exists = at.try_exists().map_err(io_error("look at its files", &at))?;
            return Ok(if exists { Found::Unfinished } else { Found::Nothing });
        }
        Err(error) => return Err(io_error("read the version of its files", &at)(error)),
    };
    match marker.as_slice() {
        [] => Ok(Found::Unfinished),
        [b'F', b'J', b'L', found, ..] if u32::from(*found) != ENGINE_VERSION => Err(StoreError::Version {
            what: format!("the engine's folder {}", at.display()),
            found: u32::from(*found),
            oldest: ENGINE_VERSION,
            newest: ENGINE_VERSION,
        }),
        _ => Ok(Found::Complete),
    }
}

/// Creates an empty engine in `store`, with its format row. The folder appears complete or not at all: it is made
/// under another name and then renamed. If another process creates one at the same time, the first one remains.
pub(crate) fn create(store: &Path, format: u32) -> Result<(), StoreError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let new = store.join(format!("rows.new-{}-{number}", std::process::id()));
    let created = fill(&new, format).and_then(|()| match fs::rename(&new, folder(store)) {
        // The name exists already: another process was faster, and its engine is as good.
        Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
            Ok(())
        }
        renamed => renamed.map_err(io_error("create its files", store)),
    });
    // A leftover of a failure, or of a race that was lost.
    let _absent = fs::remove_dir_all(&new);
    created?;
    sync_folder(store);
    Ok(())
}

fn fill(new: &Path, format: u32) -> Result<(), StoreError> {
    match fs::remove_dir_all(new) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(io_error("create its files", new)(error));
        }
        _ => {}
    }
    Engine::open(new, new.into(), Access::Write)?.write_format(format)
}

/// Makes new names in `folder` durable. A system that cannot sync folders does not need it.
pub(crate) fn sync_folder(folder: &Path) {
    let _unsupported = File::open(folder).and_then(|folder| folder.sync_all());
}

impl Engine {
    /// Opens the engine in the folder `path`, or creates it there. Errors name the folder `at`.
    pub(crate) fn open(path: &Path, at: Arc<Path>, access: Access) -> Result<Self, StoreError> {
        // The engine may panic on a damaged file. The file is at fault then and not the caller, so this is an error.
        let opened = std::panic::catch_unwind(|| {
            // Digests, which make up most of the redo log, do not compress.
            let builder = Database::builder(path).journal_compression(CompressionType::None);
            let builder = match access {
                Access::Write => builder.worker_threads(1),
                // Without a thread in the background, the engine writes no file.
                Access::Read => builder.worker_threads_unchecked(0),
            };
            let database = builder.open()?;
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            let rows = database.keyspace("rows", options)?;
            Ok((database, rows))
        });
        let (database, rows) = opened
            .map_err(|_| StoreError::Corrupt {
                what: format!("the engine cannot read its files in {}", at.display()),
            })?
            .map_err(engine_error("open its files", &at))?;
        Ok(Self { database, rows, at })
    }

    /// Converts an error of this engine: `operation` completes "the store cannot …".
    pub(crate) fn error(&self, operation: &'static str) -> impl Fn(fjall::Error) -> StoreError {
        engine_error(operation, &self.at)
    }

    /// Writes the row of the format.
    pub(crate) fn write_format(&self, format: u32) -> Result<(), StoreError> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.rows, FORMAT_KEY, format!("{FORMAT_PREFIX}{format}"));
        batch.commit().map_err(self.error("write its format"))
    }

    /// An empty batch with room for `rows` rows, which is durable once it is committed.
    pub(crate) fn durable_batch(&self, rows: usize) -> OwnedWriteBatch {
        OwnedWriteBatch::with_capacity(self.database.clone(), rows).durability(Some(PersistMode::SyncData))
    }
}
