//! Durable stores: Syncline's (on fjall), and one on redb, the engine that was not chosen.

use crate::storage::grow;
use redb::ReadableDatabase;
use std::path::PathBuf;
use std::sync::Arc;
use syncline_disk::DiskStore;
use syncline_store::{Bytes, Key, MemoryStore, ReadView, Row, Store, StoreError, WriteBatch};

const ROWS: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("rows");

struct Redb(redb::Database);

#[derive(Clone)]
struct RedbView(Arc<redb::ReadOnlyTable<&'static [u8], &'static [u8]>>);

impl ReadView for RedbView {
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.get(key).expect("a row").map(|value| Bytes::from(value.value())))
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let rows = self.0.range::<&[u8]>(from..to).expect("rows").take(limit);
        Ok(rows
            .map(|row| row.expect("a row"))
            .map(|(key, value)| (Key::from(key.value()), Bytes::from(value.value())))
            .collect())
    }
}

impl Store for Redb {
    type View = RedbView;

    fn view(&self) -> RedbView {
        let read = self.0.begin_read().expect("a transaction");
        RedbView(Arc::new(read.open_table(ROWS).expect("a table")))
    }

    fn apply(&mut self, batch: WriteBatch) -> Result<(), StoreError> {
        let write = self.0.begin_write().expect("a transaction");
        {
            let mut table = write.open_table(ROWS).expect("a table");
            for (key, value) in batch.as_rows().iter() {
                match value {
                    Some(value) => drop(table.insert(&**key, &**value).expect("a write")),
                    None => drop(table.remove(&**key).expect("a write")),
                }
            }
        }
        write.commit().expect("a commit");
        Ok(())
    }
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("syncline-bench-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a folder");
    path
}

fn rows(name: &str, mut store: impl Store, upto: u64) {
    let mut at = 0;
    for to in [10_000u64, 50_000, 100_000, 200_000, 500_000, 1_000_000].into_iter().filter(|to| *to <= upto) {
        grow(&mut store, at, to, 1_000).row(&format!("{name}: from {at} to {to} entities"));
        at = to;
    }
}

/// Inserts in batches of a thousand. Each batch is durable, with its root hash, before the next begins.
pub(crate) fn durable() {
    println!("\ndurable stores: inserts of 100 bytes in batches of 1 000, root included, each batch on disk");
    rows("in memory, for comparison", MemoryStore::default(), 1_000_000);
    let ours = folder("fjall");
    let other = folder("redb");
    rows("ours (fjall 3)", DiskStore::open(&ours).expect("a store"), 1_000_000);
    let redb = redb::Database::create(other.join("rows")).expect("a store");
    let mut redb = Redb(redb);
    redb.apply(WriteBatch::default()).expect("a table");
    rows("redb 4", redb, 200_000);
    let _ = std::fs::remove_dir_all(ours);
    let _ = std::fs::remove_dir_all(other);
}
