//! The counter of commits that lies outside the engine.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use syncline_store::StoreError;

/// Two places are written in turn, so that a torn write leaves the other.
const PLACES: u64 = 2;
const PLACE: usize = 16;

/// The last commit that was acknowledged.
#[derive(Debug)]
pub(crate) struct Progress {
    file: File,
    last: u64,
}

/// Far from any count that a damaged place would show by chance.
const fn seal(count: u64) -> u64 {
    (count ^ 0x5379_6e63_6c69_6e65).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

fn failed(error: &std::io::Error) -> StoreError {
    StoreError::Io { operation: "keep its counter of commits", reason: error.to_string() }
}

impl Progress {
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("commits");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(|error| failed(&error))?;
        let len = file.metadata().map_err(|error| failed(&error))?.len();
        let (mut last, mut sealed) = (0, len == 0);
        for place in 0..PLACES {
            let mut bytes = [0; PLACE];
            file.seek(SeekFrom::Start(place * PLACE as u64)).map_err(|error| failed(&error))?;
            if file.read_exact(&mut bytes).is_ok() {
                let (count, check) = bytes.split_at(8);
                let number = |bytes: &[u8]| bytes.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
                if seal(number(count)) == number(check) {
                    (last, sealed) = (number(count).max(last), true);
                }
            }
        }
        if !sealed {
            return Err(StoreError::Corrupt { what: "its counter of commits".into() });
        }
        Ok(Self { file, last })
    }

    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// Takes note, durably, that `count` commits were acknowledged.
    pub(crate) fn write(&mut self, count: u64) -> Result<(), StoreError> {
        let mut bytes = [0; PLACE];
        let (number, check) = bytes.split_at_mut(8);
        number.copy_from_slice(&count.to_be_bytes());
        check.copy_from_slice(&seal(count).to_be_bytes());
        let place = SeekFrom::Start(count % PLACES * PLACE as u64);
        let sought = self.file.seek(place).and_then(|_| self.file.write_all(&bytes));
        sought.and_then(|()| self.file.sync_data()).map_err(|error| failed(&error))?;
        self.last = count;
        Ok(())
    }
}
