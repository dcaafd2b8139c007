//! Reading and writing files. An error says what the file is for, and names it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// The largest file that a command reads. A larger one, or a device without an end, would use up the memory.
const MAX_BYTES: u64 = 512 << 20;

/// Reads a text. `what` is its role in words, such as "the case".
pub(crate) fn read(path: &Path, what: &str) -> Result<String, String> {
    read_at_most(path, what, MAX_BYTES)
}

/// As [`read`], with another limit.
pub(crate) fn read_at_most(path: &Path, what: &str, most: u64) -> Result<String, String> {
    let place = format!("{what} {}", path.display());
    let file = File::open(path).map_err(|error| format!("cannot read {place}: {error}"))?;
    take_at_most(file, &place, most)
}

/// As [`read_at_most`], from the standard input.
pub(crate) fn read_input_at_most(what: &str, most: u64) -> Result<String, String> {
    take_at_most(io::stdin(), &format!("{what} from the standard input"), most)
}

fn take_at_most(from: impl Read, place: &str, most: u64) -> Result<String, String> {
    let mut text = String::new();
    let taken = from.take(most + 1).read_to_string(&mut text);
    taken.map_err(|error| format!("cannot read {place}: {error}"))?;
    if text.len() as u64 > most {
        return Err(format!("cannot read {place}: it has more than {most} bytes, which is the limit"));
    }
    Ok(text)
}

/// Writes a file, and the folders above it if they do not exist. A file that exists is replaced by the whole of the
/// new one, or stays as it is.
pub(crate) fn write(path: &Path, what: &str, bytes: &[u8]) -> Result<(), String> {
    let made =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| put(path, bytes))
        .map_err(|error| format!("cannot write {what} {}: {error}", path.display()))
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Only a plain file can be replaced: a device, a pipe or a link keeps its place, and is written to.
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
        return file.write_all(bytes);
    }
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let written = fs::write(&new, bytes).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_file_is_refused() {
        let refused = read_at_most(Path::new("/dev/zero"), "the case", 1_000);
        assert_eq!(
            refused,
            Err("cannot read the case /dev/zero: it has more than 1000 bytes, which is the limit".into())
        );
    }

    #[test]
    fn full_disk_leaves_no_part() {
        let full = Path::new("/dev/full");
        if full.exists() {
            let refused = write(full, "the page", b"page").expect_err("there is no space");
            assert!(
                refused.starts_with("cannot write the page /dev/full: No space left on device"),
                "{refused}"
            );
            assert!(!fs::symlink_metadata(full).expect("it exists").is_file());
        }
    }
}
