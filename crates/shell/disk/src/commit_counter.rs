//! The counter of commits, in a file outside the engine.

use crate::engine::{Access, sync_folder};
use crate::errors::io_error;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use syncline_store::StoreError;

/// Two slots are written in turn, so that a torn write leaves the other one readable.
const SLOTS: usize = 2;
/// A count and its checksum, 8 bytes each, big-endian.
const SLOT_BYTES: usize = 16;

/// The number of the last acknowledged commit, as stored in the file `commits`.
#[derive(Debug)]
pub(crate) struct CommitCounter {
    file: File,
    path: PathBuf,
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

const KEEP: &str = "keep its counter of commits";

impl CommitCounter {
    /// The counter's file in the folder of a store.
    pub(crate) fn file(folder: &Path) -> PathBuf {
        folder.join("commits")
    }

    /// Opens the counter in `folder`. `None` if there is none.
    ///
    /// # Errors
    /// As [`io_error`] if the file cannot be used; [`StoreError::Corrupt`] if neither slot is readable.
    pub(crate) fn open(folder: &Path, access: Access) -> Result<Option<Self>, StoreError> {
        let path = Self::file(folder);
        let mut file = match OpenOptions::new().read(true).write(access == Access::Write).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("open its counter of commits", &path)(error)),
        };
        let mut bytes = [0; SLOTS * SLOT_BYTES];
        let mut len = 0;
        while let Some(rest) = bytes.get_mut(len..).filter(|rest| !rest.is_empty()) {
            match file.read(rest) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error("read its counter of commits", &path)(error)),
            }
        }
        let (slots, _torn) = bytes.get(..len).unwrap_or_default().as_chunks::<SLOT_BYTES>();
        match slots.iter().filter_map(|slot| decode(*slot)).max() {
            Some(last) => Ok(Some(Self { file, path, last })),
            None => {
                let what = format!("its counter of commits, {}, holds no count", path.display());
                Err(StoreError::Corrupt { what })
            }
        }
    }

    /// Creates the counter in `folder` at zero. The file appears complete or not at all.
    pub(crate) fn create(folder: &Path) -> Result<Self, StoreError> {
        let path = Self::file(folder);
        let new = folder.join("commits.new");
        // Count 0 fills the first slot, so a torn write of count 1 to the second slot leaves it readable.
        let created = File::create(&new).and_then(|mut file| {
            file.write_all(&encode(0))?;
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            Ok(file)
        });
        if created.is_err() {
            let _absent = std::fs::remove_file(&new);
        }
        let file = created.map_err(io_error(KEEP, &path))?;
        sync_folder(folder);
        Ok(Self { file, path, last: 0 })
    }

    /// The number of the last acknowledged commit; 0 before the first.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// Stores durably that commit number `count` was acknowledged.
    pub(crate) fn write(&mut self, count: u64) -> Result<(), StoreError> {
        // So `count` goes to the older slot, and the newer one survives a torn write.
        debug_assert!(count == self.last + 1, "every commit is counted: {count} after {}", self.last);
        let slot = SeekFrom::Start(count % SLOTS as u64 * SLOT_BYTES as u64);
        let written = self.file.seek(slot).and_then(|_| self.file.write_all(&encode(count)));
        written.and_then(|()| self.file.sync_data()).map_err(io_error(KEEP, &self.path))?;
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
