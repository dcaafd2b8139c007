//! The bytes of a disk, compared with what applications see of it.

use crate::budgets::{Budget, OverBudget, content};
use syncline_storage::{Record, Slot, StorageError, keys};
use syncline_store::{Key, MemoryStore, ReadView, WriteBatch};
use syncline_sync::staged;
use syncline_types::Decode;

/// What a record may take besides its content: stamps, ids, the order row, the tombstone row, in units of the budget.
const A_RECORD: u64 = 64;
/// The last first byte of a key of the two states.
const STATES_END: u8 = keys::METADATA;
/// The first byte of the keys of deltas, which have a budget of their own: the retention.
const DELTA: u8 = keys::METADATA + 1;

/// Compares the bytes of a disk with the content that it shows. The nodes of the index and the deltas are left out:
/// the number of the former follows from the records, and the number of the latter from the retention. O(rows).
pub(crate) fn check_disk(disk: &MemoryStore) -> Result<Option<OverBudget>, StorageError> {
    let mut bytes = 0;
    let mut records = 0;
    let mut shown = 0;
    let visible = Slot::active(disk)?;
    // The records of a snapshot that is being received are content as well: they are kept until it has arrived.
    let receives = staged::is_under_way(disk, &WriteBatch::default())?;
    for slot in [Slot::First, Slot::Second] {
        let (first, end) = slot.bounds();
        // The nodes of the index come right after the records; what is left is order and tombstones.
        let after_records = keys::records_end(slot);
        let after_nodes = Key::of(&[&[after_records[0] + 1]]);
        for (key, row) in disk.range(&first, &after_records, usize::MAX)? {
            bytes += (key.len() + row.len()) as u64;
            if (slot == visible || receives) && keys::record_id(&key).is_some() {
                records += 1;
                shown += Record::from_bytes(&row).map_or(0, |record| content::of_record(&record));
            }
        }
        bytes += total(disk, &after_nodes, &end)?;
    }
    bytes += total(disk, &[STATES_END], &[DELTA])? + total(disk, &[DELTA + 1], &[0xff])?;
    let of = || format!("a disk of {records} records that show {shown} bytes");
    Ok(Budget::DiskBytes.check(bytes, A_RECORD * records + shown, of))
}

/// The bytes of the rows with `from <= key < to`.
fn total(disk: &MemoryStore, from: &[u8], to: &[u8]) -> Result<u64, StorageError> {
    let rows = disk.range(from, to, usize::MAX)?;
    Ok(rows.iter().map(|(key, row)| (key.len() + row.len()) as u64).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_store::Store;

    #[test]
    fn bytes_without_content_are_over() {
        let mut disk = MemoryStore::default();
        assert_eq!(check_disk(&disk), Ok(None));
        let mut batch = WriteBatch::default();
        batch.put(Key::of(&[&[DELTA]]), vec![0; 1 << 20]);
        disk.apply(batch.clone()).unwrap();
        assert_eq!(check_disk(&disk), Ok(None), "deltas have a bound of their own");
        batch.put(Key::of(&[&[DELTA + 1]]), vec![0; 1 << 20]);
        disk.apply(batch).unwrap();
        let over = check_disk(&disk).unwrap().unwrap();
        assert_eq!((over.budget, over.found), (Budget::DiskBytes, (1 << 20) + 1));
    }
}
