//! The writes that applications make while their replicas are explored.

use crate::search::ExploredWrite;
use sync_sim_cluster::workload;
use syncline_replica::{Collection, Operation, Target};
use syncline_types::EntityId;

/// The target of the writes. The writes of all nodes have the same target, so that they conflict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteKind {
    /// One register. Each write sets a different value.
    Register,
    /// One counter. Each write increments it.
    Counter,
    /// One register. Writes alternate between a value and a deletion.
    Delete,
    /// One element of a set. Writes alternate between adding and removing it.
    Set,
    /// An entry of a map. Writes alternate between setting the entry and deleting the whole map.
    Map,
    /// One text. Each write inserts at the beginning.
    Text,
}

impl WriteKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 6] =
        [Self::Register, Self::Counter, Self::Delete, Self::Set, Self::Map, Self::Text];

    /// The write with this number, counted from 0 over all nodes.
    pub fn write(self, number: usize) -> ExploredWrite<workload::Write> {
        let target = |name: &[u8]| Target::top(EntityId::child_of(EntityId::ROOT, name));
        let even = number.is_multiple_of(2);
        let value = format!("v{number}");
        let (op, words) = match self {
            Self::Delete if !even => {
                (Operation::Delete { target: target(b"title") }, "deletes the title".to_owned())
            }
            Self::Register | Self::Delete => {
                let words = format!("sets the title to {value:?}");
                (Operation::Set { target: target(b"title"), bytes: value.into_bytes() }, words)
            }
            Self::Counter => {
                let by = number as u64 + 1;
                (Operation::Increment { target: target(b"likes"), by }, format!("adds {by} to the likes"))
            }
            Self::Set if even => (
                Operation::AddElement { target: target(b"tags").child(b"red") },
                "adds the tag red".to_owned(),
            ),
            Self::Set => {
                let words = "removes the tag red".to_owned();
                (Operation::RemoveElement { target: target(b"tags").child(b"red") }, words)
            }
            Self::Map if even => {
                let words = format!("sets the setting \"mode\" to {value:?}");
                let target = target(b"settings").child(b"mode");
                (Operation::Set { target, bytes: value.into_bytes() }, words)
            }
            Self::Map => {
                (Operation::Delete { target: target(b"settings") }, "deletes all settings".to_owned())
            }
            Self::Text => {
                let words = format!("inserts {value:?} at the beginning of the text");
                (Operation::InsertText { target: target(b"text"), at: 0, text: value }, words)
            }
        };
        let mut ops = vec![op];
        // A map must exist before it has entries; the other collections come with their first write.
        if self == Self::Map && number == 0 {
            let make = Operation::Create { target: target(b"settings"), collection: Collection::Map };
            ops.insert(0, make);
        }
        ExploredWrite { op: ops.into(), words }
    }
}
