//! Writes as text: `{ set = { target = "register/3", to = "value 417" } }`.

use crate::case::serde_names::{bytes, name};
use crate::case::{entity_path as place, serde_names as words};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use syncline_replica::{Collection, Item, Operation, Target};

/// What serde is told of [`Operation`], which knows nothing of it.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Operation", rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    Set {
        #[serde(with = "place")]
        target: Target,
        #[serde(with = "bytes", rename = "to")]
        bytes: Vec<u8>,
    },
    SetOpaque {
        #[serde(with = "place")]
        target: Target,
        #[serde(with = "bytes", rename = "to")]
        bytes: Vec<u8>,
    },
    Increment {
        #[serde(with = "place")]
        target: Target,
        #[serde(with = "words::whole")]
        by: u64,
    },
    Change {
        #[serde(with = "place")]
        target: Target,
        by: i64,
    },
    Create {
        #[serde(with = "place")]
        target: Target,
        #[serde(with = "name")]
        collection: Collection,
    },
    AddElement {
        #[serde(with = "place")]
        target: Target,
    },
    RemoveElement {
        #[serde(with = "place")]
        target: Target,
    },
    InsertItem {
        #[serde(with = "place")]
        list: Target,
        at: usize,
        #[serde(with = "WrittenItem")]
        item: Item,
    },
    DeleteItem {
        #[serde(with = "place")]
        list: Target,
        at: usize,
    },
    InsertText {
        #[serde(with = "place")]
        target: Target,
        at: usize,
        text: String,
    },
    DeleteText {
        #[serde(with = "place")]
        target: Target,
        at: usize,
        count: usize,
    },
    SetOwn {
        #[serde(with = "place")]
        storage: Target,
        #[serde(with = "bytes", rename = "to")]
        bytes: Vec<u8>,
    },
    Freeze {
        #[serde(with = "place")]
        target: Target,
        #[serde(with = "bytes", rename = "as")]
        bytes: Vec<u8>,
    },
    Merge {
        #[serde(with = "place")]
        target: Target,
        #[serde(rename = "type")]
        name: String,
        #[serde(with = "bytes", rename = "in")]
        bytes: Vec<u8>,
    },
    Delete {
        #[serde(with = "place")]
        target: Target,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Item", rename_all = "snake_case")]
enum WrittenItem {
    Bytes(#[serde(with = "bytes")] Vec<u8>),
    Collection(#[serde(with = "name")] Collection),
}

#[derive(Deserialize)]
struct Own(#[serde(with = "Written")] Operation);

#[derive(Serialize)]
struct Lent<'a>(#[serde(with = "Written")] &'a Operation);

/// For `#[serde(with)]`.
pub(super) fn serialize<S: Serializer>(operations: &[Operation], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(operations.iter().map(Lent))
}

/// For `#[serde(with)]`: one at least.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Operation>, D::Error> {
    let operations = Vec::<Own>::deserialize(from)?;
    if operations.is_empty() {
        return Err(D::Error::custom("a write holds at least one operation"));
    }
    Ok(operations.into_iter().map(|own| own.0).collect())
}

/// For `#[serde(with)]`: writes of one operation or of several each.
pub(super) mod writes {
    use super::*;

    #[derive(Serialize)]
    #[serde(untagged)]
    enum Written<'a> {
        One(Lent<'a>),
        Several(Vec<Lent<'a>>),
    }

    pub(in crate::case) fn serialize<S: Serializer>(
        writes: &[Vec<Operation>],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(writes.iter().map(|write| match write.as_slice() {
            [one] => Written::One(Lent(one)),
            several => Written::Several(several.iter().map(Lent).collect()),
        }))
    }

    struct Read(Vec<Operation>);

    struct ReadVisitor;

    impl<'de> Visitor<'de> for ReadVisitor {
        type Value = Read;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an operation, as in { set = { target = \"a\", to = \"x\" } }, or a list of several")
        }

        fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Read, M::Error> {
            Ok(Read(vec![super::Written::deserialize(MapAccessDeserializer::new(map))?]))
        }

        fn visit_seq<S: SeqAccess<'de>>(self, seq: S) -> Result<Read, S::Error> {
            super::deserialize(SeqAccessDeserializer::new(seq)).map(Read)
        }
    }

    impl<'de> Deserialize<'de> for Read {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_any(ReadVisitor)
        }
    }

    pub(in crate::case) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<Vec<Operation>>, D::Error> {
        Ok(Vec::<Read>::deserialize(from)?.into_iter().map(|read| read.0).collect())
    }
}

/// Simpler operations on the same entity, simplest first: what a shrunk write may hold as well.
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
        Operation::InsertItem { at, item, .. } => (*at, *item) = (0, Item::Bytes(b"x".to_vec())),
        Operation::InsertText { at, text, .. } => (*at, *text) = (0, "x".into()),
        Operation::DeleteText { at, count, .. } => (*at, *count) = (0, 1),
        Operation::DeleteItem { at, .. } => *at = 0,
        _ => {}
    })];
    // Two writers who must differ cannot both have the simplest value.
    found.push(with(&|operation| match operation {
        Operation::Set { bytes, .. } | Operation::SetOwn { bytes, .. } | Operation::Freeze { bytes, .. } => {
            *bytes = b"y".to_vec();
        }
        Operation::Increment { by, .. } => *by = 2,
        Operation::Change { by, .. } => *by = -1,
        Operation::InsertText { at, text, .. } => (*at, *text) = (0, "y".into()),
        _ => {}
    }));
    // What is simple already stays as it is, so that shrinking comes to an end.
    match found.iter().position(|simpler| simpler == operation) {
        Some(at) => found.truncate(at),
        None => found.dedup(),
    }
    found
}
