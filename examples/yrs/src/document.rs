//! A yrs document as a value: it can be cloned, edited, read and encoded.

use crate::Edit;
use std::collections::{BTreeMap, BTreeSet};
use yrs::updates::decoder::Decode;
use yrs::{
    Array, ArrayRef, ClientID, Doc, GetString, Map, MapRef, OffsetKind, Options, Out, ReadTxn, Snapshot,
    StateVector, Text, TextRef, Transact, Update,
};

/// The visible content of a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// The content of the text.
    pub text: String,
    /// The items of the list, as text.
    pub list: Vec<String>,
    /// The entries of the map, as text.
    pub map: BTreeMap<String, String>,
}

/// What an edit deleted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Removed {
    /// The deleted letters of the text.
    pub letters: BTreeSet<char>,
    /// The deleted items of the list.
    pub items: BTreeSet<String>,
}

/// A document with a text, a list and a map. Clones of a `Doc` share one document. A clone of this type is an
/// independent document, decoded from the bytes of the original.
pub struct Document {
    doc: Doc,
    text: TextRef,
    list: ArrayRef,
    map: MapRef,
}

impl Clone for Document {
    fn clone(&self) -> Self {
        self.reopened(self.doc.client_id().get())
    }
}

impl Document {
    /// An empty document, edited by this client.
    pub fn new(client: u64) -> Self {
        // yrs would draw the client id and the guid at random. Both are fixed here, for deterministic runs.
        let options = Options {
            offset_kind: OffsetKind::Utf16,
            ..Options::with_guid_and_client_id("document".into(), ClientID::new(client))
        };
        let doc = Doc::with_options(options);
        let text = doc.get_or_insert_text("text");
        let list = doc.get_or_insert_array("list");
        let map = doc.get_or_insert_map("map");
        Self { doc, text, list, map }
    }

    /// The document decoded from its own encoding, edited by this client.
    pub fn reopened(&self, client: u64) -> Self {
        let new = Self::new(client);
        new.apply(&self.missing(&StateVector::default())).expect("its own bytes");
        new
    }

    /// The state vector: the number of edits that the document has of each client.
    pub fn state_vector(&self) -> StateVector {
        self.doc.transact().state_vector()
    }

    /// The state vector and the set of deletions.
    pub fn snapshot(&self) -> Snapshot {
        self.doc.transact().snapshot()
    }

    /// The update for a replica with this state vector: the edits that it lacks, all deletions, and the edits that
    /// wait for a predecessor.
    pub fn missing(&self, from: &StateVector) -> Vec<u8> {
        self.doc.transact().encode_state_as_update_v1(from)
    }

    pub fn waits(&self) -> bool {
        self.doc.transact().has_missing_updates()
    }

    /// Applies an update. Fails if the update cannot be decoded or applied.
    pub fn apply(&self, update: &[u8]) -> Result<(), String> {
        let update = Update::decode_v1(update).map_err(|error| error.to_string())?;
        self.doc.transact_mut().apply_update(update).map_err(|error| error.to_string())
    }

    /// Applies an edit. Returns the update for other replicas, and what the edit deleted.
    pub fn edit(&self, edit: &Edit) -> (Vec<u8>, Removed) {
        let mut removed = Removed::default();
        let shown = self.shown();
        let mut change = self.doc.transact_mut();
        // The position among this many, if there is any.
        let place = |at: u64, places: usize| (places > 0).then(|| (at % places as u64) as usize);
        match edit {
            Edit::Type { at, word } => {
                let at = place(*at, shown.text.chars().count() + 1).unwrap_or_default();
                self.text.insert(&mut change, at as u32, word);
            }
            Edit::Rub { at } => {
                if let Some(at) = place(*at, shown.text.chars().count()) {
                    removed.letters.extend(shown.text.chars().nth(at));
                    self.text.remove_range(&mut change, at as u32, 1);
                }
            }
            Edit::Put { at, item } => {
                let at = place(*at, shown.list.len() + 1).unwrap_or_default();
                self.list.insert(&mut change, at as u32, *item);
            }
            Edit::Take { at } => {
                if let Some(at) = place(*at, shown.list.len()) {
                    removed.items.extend(shown.list.get(at).cloned());
                    self.list.remove(&mut change, at as u32);
                }
            }
            Edit::Set { key, value } => drop(self.map.insert(&mut change, key.as_str(), *value)),
            Edit::Unset { key } => drop(self.map.remove(&mut change, key)),
        }
        (change.encode_update_v1(), removed)
    }

    /// The visible content.
    pub fn shown(&self) -> Shown {
        let reading = self.doc.transact();
        let words = |value: Out| value.to_string(&reading);
        Shown {
            text: self.text.get_string(&reading),
            list: self.list.iter(&reading).map(words).collect(),
            map: self.map.iter(&reading).map(|(key, value)| (key.to_owned(), words(value))).collect(),
        }
    }

    /// The visible content and the state vector as bytes, equal for equal documents.
    pub fn summary(&self) -> Vec<u8> {
        let vector: BTreeMap<u64, u32> =
            self.state_vector().iter().map(|(client, clock)| (client.get(), *clock)).collect();
        format!("{:?} {vector:?}", self.shown()).into_bytes()
    }
}
