//! A mirror of the engine's folder, for a store that must not be written.

use crate::errors::io_error;
use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use syncline_store::StoreError;

/// The engine's file that only one process can lock.
const LOCK: &str = "lock";
/// The folders of the sorted files, which the engine never changes once they are written.
const SORTED: &str = "tables";
/// The deepest folder of the engine lies three levels below its own.
const MAX_DEPTH: usize = 8;
const BLOCK_BYTES: usize = 64 << 10;

/// A folder in the temporary folder of the system, in which the engine finds the files of the original and may
/// write. Dropping removes it.
#[derive(Debug)]
pub(crate) struct Mirror {
    path: PathBuf,
    /// A shared lock on the original: a process that writes holds an exclusive one. `None` once it is released.
    lock: Option<File>,
}

impl Mirror {
    /// Mirrors the engine's folder `original`. O(files + bytes of the journals).
    ///
    /// # Errors
    /// [`StoreError::Locked`] if a process has the original open to write.
    pub(crate) fn of(original: &Path) -> Result<Self, StoreError> {
        let lock = original.join(LOCK);
        let lock = File::open(&lock).map_err(io_error("lock its files", &lock))?;
        // The lock comes first: the files of a store that is written do not fit together.
        lock.try_lock_shared().map_err(|error| match error {
            fs::TryLockError::WouldBlock => StoreError::Locked { at: original.display().to_string() },
            fs::TryLockError::Error(error) => io_error("lock its files", original)(error),
        })?;
        let mirror = Self { path: new_folder()?, lock: Some(lock) };
        let absolute = original.canonicalize().map_err(io_error("find its files", original))?;
        mirror.fill(&absolute)?;
        Ok(mirror)
    }

    /// The folder of the mirror.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn fill(&self, original: &Path) -> Result<(), StoreError> {
        const READ: &str = "read its files";
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let from = original.join(&folder);
            if folder.components().count() > MAX_DEPTH {
                let what = format!("{} lies deeper than any folder of the engine", from.display());
                return Err(StoreError::Corrupt { what });
            }
            for entry in fs::read_dir(&from).map_err(io_error(READ, &from))? {
                let entry = entry.map_err(io_error(READ, &from))?;
                let name = folder.join(entry.file_name());
                let copy = self.path.join(&name);
                if entry.file_type().map_err(io_error(READ, &from))?.is_dir() {
                    fs::create_dir(&copy).map_err(io_error("make a mirror of its files", &copy))?;
                    folders.push(name);
                } else if folder.ends_with(SORTED) {
                    link(&entry.path(), &copy)?;
                } else if name != Path::new(LOCK) {
                    copy_file(&entry.path(), &copy)?;
                }
            }
        }
        // The engine locks the mirror with a file of the mirror's own.
        let lock = self.path.join(LOCK);
        File::create_new(&lock).map_err(io_error("make a mirror of its files", &lock))?;
        Ok(())
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // A process with too many open files needs this descriptor to remove the folder.
        self.lock = None;
        // Links are removed, not what they point to. Leftovers of a failure are the temporary folder's business.
        let _ignored = fs::remove_dir_all(&self.path);
    }
}

/// Makes an empty folder that only this user can read: the rows are the user's data.
fn new_folder() -> Result<PathBuf, StoreError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    #[cfg_attr(not(unix), allow(unused_mut, reason = "the mode is Unix's"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("syncline-{}-{number}", std::process::id()));
        match builder.create(&path) {
            // The folder of an earlier process with this number, or of somebody who expected this name.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => {
                return created.map(|()| path.clone()).map_err(io_error("make a mirror of its files", &path));
            }
        }
    }
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) -> Result<(), StoreError> {
    std::os::unix::fs::symlink(from, to).map_err(io_error("make a mirror of its files", to))
}

#[cfg(not(unix))]
fn link(from: &Path, to: &Path) -> Result<(), StoreError> {
    copy_file(from, to)
}

/// Copies a file without its blocks of zeros: a journal is longer than what was written to it.
fn copy_file(from: &Path, to: &Path) -> Result<(), StoreError> {
    let mut source = File::open(from).map_err(io_error("read its files", from))?;
    let copied = File::create_new(to).and_then(|mut target| {
        let mut block = vec![0; BLOCK_BYTES];
        let mut len = 0;
        loop {
            let read = match source.read(&mut block) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // The text names the mirror, and the system's error says which operation failed.
                Err(error) => return Err(error),
            };
            let Some(found) = block.get(..read).filter(|found| !found.is_empty()) else { break };
            len += read as u64;
            if found.iter().all(|byte| *byte == 0) {
                target.seek(SeekFrom::Start(len))?;
            } else {
                target.write_all(found)?;
            }
        }
        target.set_len(len)
    });
    copied.map_err(io_error("make a mirror of its files", to))
}
