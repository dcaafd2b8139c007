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

fn place(count: u64) -> [u8; PLACE] {
    let mut bytes = [0; PLACE];
    let (number, check) = bytes.split_at_mut(8);
    number.copy_from_slice(&count.to_be_bytes());
    check.copy_from_slice(&seal(count).to_be_bytes());
    bytes
}

fn failed(error: &std::io::Error) -> StoreError {
    StoreError::Io { operation: "keep its counter of commits", reason: error.to_string() }
}

impl Progress {
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("commits");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let is_new = !path.exists();
        let mut file = options.open(&path).map_err(|error| failed(&error))?;
        if is_new {
            // Whatever becomes of the first count, there is a good place beside it.
            let begun = file.write_all(&place(0)).and_then(|()| file.sync_all());
            // Not every system can sync a folder; where it cannot, it need not.
            let _unsupported = File::open(folder).and_then(|folder| folder.sync_all());
            begun.map_err(|error| failed(&error))?;
        }
        let (mut last, mut sealed) = (0, false);
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
        let at = SeekFrom::Start(count % PLACES * PLACE as u64);
        let sought = self.file.seek(at).and_then(|_| self.file.write_all(&place(count)));
        sought.and_then(|()| self.file.sync_data()).map_err(|error| failed(&error))?;
        self.last = count;
        Ok(())
    }
}
