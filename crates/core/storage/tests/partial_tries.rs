//! Views that have parts of a trie in memory and all of it as rows, as a store on disk does.

use std::sync::Arc;
use syncline_crdt::Value;
use syncline_storage::{Action, ApplyContext, Interface, Label, Metadata};
use syncline_store::{Bytes, MemoryStore, ReadView, Row, RowRun, RowRuns, Store, StoreError, WriteBatch};
use syncline_types::{EntityId, Hlc, Moment, ReplicaId, SimTime};

const CONTEXT: ApplyContext = ApplyContext::new(Moment::at(SimTime::from_millis(1_000)));

/// All rows, and the nodes of tries that were written since [`Partial::drop_memory`].
#[derive(Clone, Default)]
struct Partial {
    rows: MemoryStore,
    runs: RowRuns,
}

impl Partial {
    fn apply(&mut self, batch: &WriteBatch) {
        for (key, edit) in batch.edits() {
            self.runs.amend(key, edit);
        }
        self.rows.apply(batch.as_rows().into_owned()).unwrap();
    }

    /// Drops the nodes in memory, as a restart does.
    fn drop_memory(&mut self) {
        self.runs = RowRuns::default();
    }
}

impl ReadView for Partial {
    fn read(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.rows.read(key)
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.rows.range(from, to, limit)
    }

    fn run(&self, key: &[u8]) -> Option<&Arc<dyn RowRun>> {
        self.runs.get(key)
    }
}

fn add(store: &mut Partial, ids: impl IntoIterator<Item = u64>) {
    let stamp = Hlc::new(1, 0, ReplicaId::from_u64(1));
    let mut state = Interface::open(store.clone()).unwrap();
    for id in ids {
        let metadata = Metadata { created_at: stamp, updated_at: stamp, label: Label::None };
        let id = EntityId(syncline_types::Digest::of(9, &id.to_be_bytes()).0);
        let action = Action::Add { id, ancestors: vec![], value: Value::Map, metadata };
        state.apply_action(&action, &CONTEXT).unwrap();
    }
    let batch = state.finish().unwrap();
    store.apply(&batch);
}

#[test]
fn scan_reads_children_missing_in_memory() {
    let mut store = Partial::default();
    add(&mut store, 0..2_000);
    store.drop_memory();
    add(&mut store, [2_000]);
    let mut state = Interface::open(store).unwrap();
    let listed = state.children(EntityId::ROOT, None, usize::MAX).unwrap();
    assert_eq!(listed.len(), 2_001);
    let mut state = Interface::open(state.view().clone()).unwrap();
    let mut scanned = Vec::new();
    state.each_entry(|_, entry| scanned.push(*entry)).unwrap();
    assert_eq!(scanned.len(), listed.len(), "a pass over all entries misses some");
    assert_eq!(scanned, listed);
}

#[test]
fn updates_load_children_missing_in_memory() {
    let mut store = Partial::default();
    add(&mut store, 0..2_000);
    store.drop_memory();
    add(&mut store, [2_000]);
    add(&mut store, 1_900..2_100);
    let found = syncline_storage::verify(&store).unwrap();
    assert!(found.is_sound(), "{found:?}");
}
