//! Why a store failed.

/// A store failed. The caller cannot correct the error: it stops the replica and reports the text, which says
/// what was found, what is allowed, and what to do.
///
/// Only [`StoreError::Corrupt`] means that data is lost. After every other error the store opens again once its
/// cause is removed, with every acknowledged batch.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A row or a file exists but does not have the bytes that were written, or is missing.
    #[error(
        "the store is damaged: {what}; restore its folder from a backup, or start a new replica, with a new id, \
         that syncs from its peers"
    )]
    Corrupt {
        /// The row or the file, and what is wrong with it.
        what: String,
    },
    /// The disk or the quota of the user is full.
    #[error(
        "the store cannot {operation}, because no space is left: {reason}; free space or raise the quota, and \
         open the store again: every acknowledged batch is there"
    )]
    NoSpace {
        /// The operation that failed.
        operation: &'static str,
        /// The error text of the system.
        reason: String,
    },
    /// The process or the system has as many open files as it may have.
    #[error(
        "the store cannot {operation}, because too many files are open: {reason}; close files or raise the limit \
         (`ulimit -n`), and open the store again: every acknowledged batch is there"
    )]
    TooManyFiles {
        /// The operation that failed.
        operation: &'static str,
        /// The error text of the system.
        reason: String,
    },
    /// The user may not do this, or the file system is mounted read-only.
    #[error(
        "the store cannot {operation}, because the system does not permit it: {reason}; give this user access to \
         every file of the folder, or open the store read-only"
    )]
    NotPermitted {
        /// The operation that failed.
        operation: &'static str,
        /// The error text of the system.
        reason: String,
    },
    /// Another process, or another part of this one, has the store open.
    #[error(
        "the store at {at} is open in another process, and only one at a time may have it open; close it there, \
         or work on a copy of a closed store"
    )]
    Locked {
        /// The folder of the store.
        at: String,
    },
    /// The store was written in a version that this program does not read.
    #[error("{what} has version {found}, and this program reads {}; {}", versions(*oldest, *newest), version_advice(*found, *newest))]
    Version {
        /// What has the version, with its place.
        what: String,
        /// The version that was found.
        found: u32,
        /// The oldest version that this program reads.
        oldest: u32,
        /// The newest version that this program reads.
        newest: u32,
    },
    /// There is no store in the folder.
    #[error("there is no store at {at}; give the folder of a store, or create one there")]
    Missing {
        /// The folder that was looked at.
        at: String,
    },
    /// An earlier write failed, and the store accepts no further writes until it is opened again.
    #[error(
        "the store accepts no more writes, because an earlier one failed: {cause}; remove the cause and open the \
         store again: every acknowledged batch is there"
    )]
    Stopped {
        /// The error text of the write that failed.
        cause: String,
    },
    /// The storage medium reported any other error.
    #[error("the store cannot {operation}: {reason}")]
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// The error text of the medium.
        reason: String,
    },
}

/// A range of versions, in words.
fn versions(oldest: u32, newest: u32) -> String {
    if oldest == newest { format!("version {oldest}") } else { format!("versions {oldest} to {newest}") }
}

/// What to do about version `found` where `newest` is the newest one that is read.
fn version_advice(found: u32, newest: u32) -> String {
    if found > newest {
        format!("use a newer program that reads version {found}; the store was not changed")
    } else {
        format!(
            "open it with the program that wrote version {found}, or start a new replica, with a new id, that \
             syncs from its peers; the store was not changed"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::StoreError;

    #[test]
    fn text_of_a_version_names_both_and_says_what_to_do() {
        let text = |found, oldest, newest| {
            StoreError::Version { what: "the store at /x".into(), found, oldest, newest }.to_string()
        };
        let newer = text(9, 2, 4);
        assert!(newer.contains("version 9") && newer.contains("versions 2 to 4"), "{newer}");
        assert!(newer.contains("a newer program"), "{newer}");
        let older = text(1, 2, 2);
        assert!(older.contains("reads version 2;") && older.contains("that wrote version 1"), "{older}");
    }

    #[test]
    fn only_damage_is_called_damage() {
        let operation = "write a batch";
        let reason = String::from("why");
        let others = [
            StoreError::NoSpace { operation, reason: reason.clone() },
            StoreError::TooManyFiles { operation, reason: reason.clone() },
            StoreError::NotPermitted { operation, reason: reason.clone() },
            StoreError::Locked { at: "/x".into() },
            StoreError::Version { what: "the store".into(), found: 3, oldest: 2, newest: 2 },
            StoreError::Missing { at: "/x".into() },
            StoreError::Stopped { cause: reason.clone() },
            StoreError::Io { operation, reason },
        ];
        for error in others {
            assert!(!error.to_string().contains("damage"), "{error}");
        }
        assert!(StoreError::Corrupt { what: "row 1".into() }.to_string().contains("damaged: row 1"));
    }
}
