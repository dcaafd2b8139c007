//! The text form of operations: `{ set = { target = "register/3", to = "value 417" } }`.

use crate::case::serde_names::{bytes, name};
use crate::case::{Case, ScriptAction, entity_path as path, serde_names as words};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use syncline_replica::{Collection, Item, Operation, Target};

/// The serde form of [`Operation`], whose crate does not depend on serde.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Operation", rename_all = "snake_case", deny_unknown_fields)]
enum OperationDef {
    Set {
        #[serde(with = "path")]
        target: Target,
        #[serde(with = "bytes", rename = "to")]
        bytes: Vec<u8>,
    },
    SetOpaque {
        #[serde(with = "path")]
        target: Target,
        #[serde(with = "bytes", rename = "to")]
        bytes: Vec<u8>,
    },
    Increment {
        #[serde(with = "path")]
        target: Target,
        #[serde(with = "words::whole")]
        by: u64,
    },
    Change {
        #[serde(with = "path")]
        target: Target,
        by: i64,
    },
    Create {
        #[serde(with = "path")]
        target: Target,
        #[serde(with = "name")]
        collection: Collection,
    },
    AddElement {
        #[serde(with = "path")]
        target: Target,
    },
    RemoveElement {
        #[serde(with = "path")]
        target: Target,
    },
    InsertItem {
        #[serde(with = "path")]
        list: Target,
        at: usize,
        #[serde(with = "ItemDef")]
        item: Item,
    },
    DeleteItem {
        #[serde(with = "path")]
        list: Target,
        at: usize,
    },
    InsertText {
        #[serde(with = "path")]
        target: Target,
        at: usize,
        text: String,
    },
    DeleteText {
        #[serde(with = "path")]
        target: Target,
        at: usize,
        count: usize,
    },
    SetOwn {
        #[serde(with = "path")]
        storage: Target,
        #[serde(with = "bytes", rename = "to")]
        bytes: Vec<u8>,
    },
    Freeze {
        #[serde(with = "path")]
        target: Target,
        #[serde(with = "bytes", rename = "as")]
        bytes: Vec<u8>,
    },
    Merge {
        #[serde(with = "path")]
        target: Target,
        #[serde(rename = "type")]
        name: String,
        #[serde(with = "bytes", rename = "in")]
        bytes: Vec<u8>,
    },
    Delete {
        #[serde(with = "path")]
        target: Target,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Item", rename_all = "snake_case")]
enum ItemDef {
    Bytes(#[serde(with = "bytes")] Vec<u8>),
    Collection(#[serde(with = "name")] Collection),
}

#[derive(Deserialize)]
struct OwnedOperation(#[serde(with = "OperationDef")] Operation);

#[derive(Serialize)]
struct OperationRef<'a>(#[serde(with = "OperationDef")] &'a Operation);

/// For `#[serde(with)]`: writes a list of operations.
pub(super) fn serialize<S: Serializer>(operations: &[Operation], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(operations.iter().map(OperationRef))
}

/// For `#[serde(with)]`: reads a list of at least one operation.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Operation>, D::Error> {
    let operations = Vec::<OwnedOperation>::deserialize(from)?;
    if operations.is_empty() {
        return Err(D::Error::custom("a write holds at least one operation"));
    }
    Ok(operations.into_iter().map(|owned| owned.0).collect())
}

/// For `#[serde(with)]`: a list of writes; each is one operation or a list of several.
pub(super) mod writes {
    use super::*;

    #[derive(Serialize)]
    #[serde(untagged)]
    enum WriteDef<'a> {
        One(OperationRef<'a>),
        Several(Vec<OperationRef<'a>>),
    }

    pub(in crate::case) fn serialize<S: Serializer>(
        writes: &[Vec<Operation>],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(writes.iter().map(|write| match write.as_slice() {
            [one] => WriteDef::One(OperationRef(one)),
            several => WriteDef::Several(several.iter().map(OperationRef).collect()),
        }))
    }

    struct ReadWrite(Vec<Operation>);

    struct WriteVisitor;

    impl<'de> Visitor<'de> for WriteVisitor {
        type Value = ReadWrite;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an operation, as in { set = { target = \"a\", to = \"x\" } }, or a list of several")
        }

        fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<ReadWrite, M::Error> {
            Ok(ReadWrite(vec![OperationDef::deserialize(MapAccessDeserializer::new(map))?]))
        }

        fn visit_seq<S: SeqAccess<'de>>(self, seq: S) -> Result<ReadWrite, S::Error> {
            super::deserialize(SeqAccessDeserializer::new(seq)).map(ReadWrite)
        }
    }

    impl<'de> Deserialize<'de> for ReadWrite {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_any(WriteVisitor)
        }
    }

    pub(in crate::case) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Vec<Operation>>, D::Error> {
        Ok(Vec::<ReadWrite>::deserialize(from)?.into_iter().map(|read| read.0).collect())
    }
}

impl Case {
    /// All operations: those before the run, node by node, and those of the script.
    pub(crate) fn operations_mut(&mut self) -> impl Iterator<Item = &mut Operation> {
        let early = self.nodes.iter_mut().flat_map(|node| {
            node.writes.iter_mut().chain(node.contexts.iter_mut().flat_map(|contents| &mut contents.writes))
        });
        let scripted = self.script.iter_mut().filter_map(|line| match &mut line.what {
            ScriptAction::Write(write) => Some(&mut write.ops),
            _ => None,
        });
        early.chain(scripted).flatten()
    }
}

/// The entity on which an operation works.
pub(super) const fn target_mut(operation: &mut Operation) -> &mut Target {
    match operation {
        Operation::Set { target, .. }
        | Operation::SetOpaque { target, .. }
        | Operation::Increment { target, .. }
        | Operation::Change { target, .. }
        | Operation::Create { target, .. }
        | Operation::AddElement { target }
        | Operation::RemoveElement { target }
        | Operation::InsertItem { list: target, .. }
        | Operation::DeleteItem { list: target, .. }
        | Operation::InsertText { target, .. }
        | Operation::DeleteText { target, .. }
        | Operation::SetOwn { storage: target, .. }
        | Operation::Freeze { target, .. }
        | Operation::Merge { target, .. }
        | Operation::Delete { target } => target,
    }
}

/// Simpler operations on the same entity, the simplest first: the candidates of shrinking for one
/// operation.
pub(crate) fn simpler(operation: &Operation) -> Vec<Operation> {
    let with = |change: &dyn Fn(&mut Operation)| {
        let mut simpler = operation.clone();
        change(&mut simpler);
        simpler
    };
    let mut found = vec![with(&|operation| match operation {
        Operation::Set { bytes, .. }
        | Operation::SetOpaque { bytes, .. }
        | Operation::SetOwn { bytes, .. }
        | Operation::Freeze { bytes, .. } => *bytes = b"x".to_vec(),
        Operation::Increment { by, .. } => *by = 1,
        Operation::Change { by, .. } => *by = 1,
        Operation::InsertItem { at, item, .. } => {
            *at = 0;
            *item = Item::Bytes(b"x".to_vec());
        }
        Operation::InsertText { at, text, .. } => {
            *at = 0;
            *text = "x".into();
        }
        Operation::DeleteText { at, count, .. } => {
            *at = 0;
            *count = 1;
        }
        Operation::DeleteItem { at, .. } => *at = 0,
        _ => {}
    })];
    // Two writers whose values must differ cannot both have the simplest value.
    found.push(with(&|operation| match operation {
        Operation::Set { bytes, .. } | Operation::SetOwn { bytes, .. } | Operation::Freeze { bytes, .. } => {
            *bytes = b"y".to_vec();
        }
        Operation::Increment { by, .. } => *by = 2,
        Operation::Change { by, .. } => *by = -1,
        Operation::InsertText { at, text, .. } => {
            *at = 0;
            *text = "y".into();
        }
        _ => {}
    }));
    // Only candidates simpler than the operation remain, so that shrinking terminates.
    match found.iter().position(|simpler| simpler == operation) {
        Some(at) => found.truncate(at),
        None => found.dedup(),
    }
    found
}
