//! The final records of all nodes side by side.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use sync_sim_cluster::runtime::entity_hex;
use syncline_storage::{Record, StorageError, record_page};
use syncline_store::MemoryStore;
use syncline_types::{Decode, EntityId};

/// The final record of one entity on each node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ShownRecord {
    /// The id of the entity, in hex.
    pub id: String,
    /// The key under which the parent knows the entity, or its id.
    pub place: String,
    /// The CRDT type of the value.
    pub kind: String,
    /// The value on each node as text; `None` where the node has no such record.
    pub values: Vec<Option<String>>,
    /// Whether the record differs between nodes.
    pub differs: bool,
}

/// The final records; those that differ between nodes come first.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ShownRecords {
    /// The records that are shown.
    pub list: Vec<ShownRecord>,
    /// The number of records that were left out.
    pub left: usize,
}

impl ShownRecords {
    /// Compares the records of these states: all that differ, then others, `most` at most. O(records).
    ///
    /// # Errors
    ///
    /// If a state cannot be read.
    pub fn of(states: &[&MemoryStore], most: usize) -> Result<Self, StorageError> {
        let mut sides = Vec::with_capacity(states.len());
        for state in states {
            let page = record_page(*state, None, usize::MAX)?;
            sides.push(page.records.into_iter().collect::<BTreeMap<_, _>>());
        }
        let ids: BTreeSet<EntityId> = sides.iter().flat_map(|side| side.keys().copied()).collect();
        let differs = |id: &EntityId| {
            let mut values = sides.iter().map(|side| side.get(id));
            let first = values.next().flatten();
            values.any(|value| value != first)
        };
        let (differing, same): (Vec<EntityId>, Vec<EntityId>) = ids.into_iter().partition(differs);
        let all = differing.len() + same.len();
        let chosen = differing.iter().map(|id| (*id, true)).chain(same.iter().map(|id| (*id, false)));
        let show = |(id, differs): (EntityId, bool)| {
            let records: Vec<Option<Record>> = sides
                .iter()
                .map(|side| side.get(&id).and_then(|bytes| Record::from_bytes(bytes).ok()))
                .collect();
            let any = records.iter().flatten().next();
            ShownRecord {
                id: entity_hex(id),
                place: any.map_or_else(String::new, |record| place(id, record)),
                kind: any.map_or_else(String::new, |record| record.value.crdt_type().to_string()),
                values: records.iter().map(|record| record.as_ref().map(ToString::to_string)).collect(),
                differs,
            }
        };
        let list: Vec<ShownRecord> = chosen.take(most).map(show).collect();
        assert!(list.len() <= most.min(all), "no more records are shown than asked for");
        Ok(Self { left: all - list.len(), list })
    }
}

/// The key under which the parent knows the entity, if it is readable text; else the id.
fn place(id: EntityId, record: &Record) -> String {
    let label = record.label.bytes().and_then(|label| std::str::from_utf8(label).ok());
    let readable = |text: &&str| !text.is_empty() && !text.contains(char::is_control);
    label.filter(readable).map_or_else(|| id.to_string(), str::to_owned)
}
