//! Converts errors of the system and of the engine. Full disks, limits and missing permissions are no damage.

use crate::parameters::{ENGINE_VERSION, MEMTABLE_BYTES};
use std::io::{Error, ErrorKind};
use std::path::Path;
use syncline_store::StoreError;

/// What the engine writes in one piece in the background: a flushed memtable, and its journal.
const BACKGROUND_BYTES: u64 = 2 * MEMTABLE_BYTES;

/// Whether the process or the system has as many open files as it may have. The standard library has no
/// [`ErrorKind`] for it.
fn is_too_many_files(error: &Error) -> bool {
    // ENFILE and EMFILE have these numbers on every Unix; ERROR_TOO_MANY_OPEN_FILES has 4 on Windows.
    match error.raw_os_error() {
        Some(23 | 24) => cfg!(unix),
        Some(4) => cfg!(windows),
        _ => false,
    }
}

/// Converts an error of the system about `at`: `operation` completes "the store cannot …".
pub(crate) fn io_error(operation: &'static str, at: &Path) -> impl Fn(Error) -> StoreError {
    move |error| {
        let reason = format!("{}: {error}", at.display());
        match error.kind() {
            // A file may be too large for a limit of the process or of the file system: that is its space.
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                StoreError::NoSpace { operation, reason }
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                StoreError::NotPermitted { operation, reason }
            }
            _ if is_too_many_files(&error) => StoreError::TooManyFiles { operation, reason },
            _ => StoreError::Io { operation, reason },
        }
    }
}

/// Converts an error of the engine about its files at `at`: `operation` completes "the store cannot …".
pub(crate) fn engine_error(operation: &'static str, at: &Path) -> impl Fn(fjall::Error) -> StoreError {
    let damaged = move |error: &dyn std::fmt::Display| StoreError::Corrupt {
        what: format!("the engine cannot {operation} in {}: {error}", at.display()),
    };
    move |error| match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => match error.kind() {
            // The engine knows which files exist and how long they are: one that is missing or ends early was
            // altered by others.
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::NotFound => damaged(&error),
            _ => io_error(operation, at)(error),
        },
        fjall::Error::Locked => StoreError::Locked { at: at.display().to_string() },
        fjall::Error::InvalidVersion(Some(found)) => StoreError::Version {
            what: format!("the engine's folder {}", at.display()),
            found: u32::from(u8::from(found)),
            oldest: ENGINE_VERSION,
            newest: ENGINE_VERSION,
        },
        fjall::Error::Poisoned => background_failure(operation, at),
        error => damaged(&error),
    }
}

/// Why the engine's background thread failed. The engine writes the reason to its log only, so the limits that can
/// be the reason are looked at.
fn background_failure(operation: &'static str, at: &Path) -> StoreError {
    if let Err(error) = std::fs::read_dir(at) {
        return io_error(operation, at)(error);
    }
    match free_bytes(at) {
        Some(free) if free < BACKGROUND_BYTES => StoreError::NoSpace {
            operation,
            reason: format!("{}: {free} bytes are free, and {BACKGROUND_BYTES} are needed", at.display()),
        },
        _ => StoreError::Stopped {
            cause: format!("the engine could not write in {} in the background", at.display()),
        },
    }
}

/// How many bytes this user may still write to the file system of `at`. `None` if the system does not say.
fn free_bytes(at: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let found = nix::sys::statvfs::statvfs(at).ok()?;
        // The types of the two differ between systems.
        #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "needed on other systems")]
        Some(u64::from(found.blocks_available() as u64).saturating_mul(found.fragment_size() as u64))
    }
    #[cfg(not(unix))]
    {
        let _ = at;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: Error) -> StoreError {
        engine_error("write a batch", Path::new("/x/rows"))(fjall::Error::Io(error))
    }

    /// Each error of the system, as the engine's layers wrap it, has its own variant.
    #[test]
    fn limits_of_the_system_are_no_damage() {
        let nested = |code| {
            of(Error::from_raw_os_error(code))
                == engine_error("write a batch", Path::new("/x/rows"))(fjall::Error::Storage(
                    fjall::LsmError::Io(Error::from_raw_os_error(code)),
                ))
        };
        // ENOSPC, EDQUOT, EFBIG; EMFILE, ENFILE; EACCES, EPERM, EROFS; EIO: the numbers of Linux.
        for code in [28, 122, 27, 24, 23, 13, 1, 30, 5] {
            let found = of(Error::from_raw_os_error(code));
            let is_right = match code {
                28 | 122 | 27 => matches!(found, StoreError::NoSpace { .. }),
                24 | 23 => matches!(found, StoreError::TooManyFiles { .. }),
                13 | 1 | 30 => matches!(found, StoreError::NotPermitted { .. }),
                _ => matches!(found, StoreError::Io { .. }),
            };
            assert!(is_right && nested(code), "{code}: {found}");
            let text = found.to_string();
            assert!(text.contains("/x/rows") && !text.contains("damage"), "{text}");
        }
    }

    #[test]
    fn missing_and_short_files_are_damage() {
        for kind in [ErrorKind::UnexpectedEof, ErrorKind::NotFound, ErrorKind::InvalidData] {
            let found = of(kind.into());
            assert!(matches!(&found, StoreError::Corrupt { what } if what.contains("/x/rows")), "{found}");
        }
    }

    #[test]
    fn background_failure_names_its_likely_cause() {
        let found = engine_error("write a batch", Path::new("/no such folder"))(fjall::Error::Poisoned);
        assert!(matches!(found, StoreError::Io { .. }), "{found}");
        let here = engine_error("write a batch", Path::new("."))(fjall::Error::Poisoned);
        assert!(matches!(here, StoreError::Stopped { .. } | StoreError::NoSpace { .. }), "{here}");
        assert!(free_bytes(Path::new(".")).is_some());
    }
}
