//! The counter of commits, in a file outside the engine.

use std::fs::{File, OpenOptions};
use std::io::{Error, Read, Seek, SeekFrom, Write};
use std::path::Path;
use syncline_store::StoreError;

/// Two slots are written in turn, so that a torn write leaves the other one readable.
const SLOTS: u64 = 2;
/// A count and its checksum, 8 bytes each, big-endian.
const SLOT_BYTES: usize = 16;

/// The number of the last acknowledged commit, as stored in the file `commits`.
#[derive(Debug)]
pub(crate) struct CommitCounter {
    file: File,
    last: u64,
}

/// A bijection that maps small counts to large checksums: a damaged slot passes with probability 2⁻⁶⁴.
const fn checksum(count: u64) -> u64 {
    (count ^ 0x5379_6e63_6c69_6e65).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

fn encode(count: u64) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    let (number, check) = bytes.split_at_mut(8);
    number.copy_from_slice(&count.to_be_bytes());
    check.copy_from_slice(&checksum(count).to_be_bytes());
    bytes
}

/// The count in a slot, or `None` if its checksum does not match.
fn decode(bytes: [u8; SLOT_BYTES]) -> Option<u64> {
    let slot = u128::from_be_bytes(bytes);
    let count = (slot >> 64) as u64;
    let check = slot as u64;
    (checksum(count) == check).then_some(count)
}

fn counter_error(error: &Error) -> StoreError {
    StoreError::Io { operation: "keep its counter of commits", reason: error.to_string() }
}

impl CommitCounter {
    /// Opens the counter in `folder`, or creates it at zero.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the file cannot be used; [`StoreError::Corrupt`] if neither slot is readable.
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("commits");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let is_new = !path.exists();
        let mut file = options.open(&path).map_err(|error| counter_error(&error))?;
        if is_new {
            // Count 0 fills the first slot, so a torn write of count 1 to the second slot leaves it readable.
            let created = file.write_all(&encode(0)).and_then(|()| file.sync_all());
            // Syncing the folder makes the new name durable. A system that cannot sync folders does not need it.
            let _unsupported = File::open(folder).and_then(|folder| folder.sync_all());
            created.map_err(|error| counter_error(&error))?;
        }
        let mut last = None;
        for slot in 0..SLOTS {
            let mut bytes = [0; SLOT_BYTES];
            file.seek(SeekFrom::Start(slot * SLOT_BYTES as u64)).map_err(|error| counter_error(&error))?;
            if file.read_exact(&mut bytes).is_ok() {
                last = last.max(decode(bytes));
            }
        }
        match last {
            Some(last) => Ok(Self { file, last }),
            None => Err(StoreError::Corrupt { what: "its counter of commits".into() }),
        }
    }

    /// The number of the last acknowledged commit; 0 before the first.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// Stores durably that commit number `count` was acknowledged.
    pub(crate) fn write(&mut self, count: u64) -> Result<(), StoreError> {
        // So `count` goes to the older slot, and the newer one survives a torn write.
        debug_assert!(count == self.last + 1, "every commit is counted: {count} after {}", self.last);
        let slot = SeekFrom::Start(count % SLOTS * SLOT_BYTES as u64);
        let written = self.file.seek(slot).and_then(|_| self.file.write_all(&encode(count)));
        written.and_then(|()| self.file.sync_data()).map_err(|error| counter_error(&error))?;
        self.last = count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn any_changed_bit_is_detected() {
        for count in [0, 1, 255, u64::MAX] {
            let sound = encode(count);
            assert_eq!(decode(sound), Some(count));
            for bit in 0..128 {
                let mut damaged = sound;
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(decode(damaged), None, "count {count}, bit {bit}");
            }
        }
    }
}
