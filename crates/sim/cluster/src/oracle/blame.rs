//! Finds the acknowledged write that is missing from what a replica shows.

use crate::oracle::Oracle;
use crate::oracle::fact::Fact;
use crate::oracle::specification::{Mismatch, Specification};
use crate::verdict::Check;
use crate::wording::collection_words;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use syncline_replica::{Item, Operation};
use syncline_storage::{Action, BytesPreview};
use syncline_types::{EntityId, Hlc, SimTime};

/// A value that differs from the one that the acknowledged writes imply.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ValueMismatch {
    /// The entity that is shown incorrectly.
    #[serde(serialize_with = "as_words")]
    pub entity: EntityId,
    /// The path to the entity as a person would say it, such as `map / key 3`.
    pub place: String,
    /// The node that shows it.
    pub node: String,
    /// The value that must be visible; none if `None`.
    pub expected: Option<String>,
    /// The value that is visible; none if `None`.
    pub found: Option<String>,
    /// Number of other entities that the node shows incorrectly.
    pub others: usize,
}

impl fmt::Display for ValueMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        let Self { place, node, expected, found, .. } = self;
        write!(f, "{node} shows {} at {place}, where {} must be", words(found), words(expected))?;
        if self.others > 0 { write!(f, " (and {} more are wrong)", self.others) } else { Ok(()) }
    }
}

/// A write that a node acknowledged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AckedWrite {
    /// The node that acknowledged it.
    pub node: String,
    /// The simulated time of the acknowledgement.
    #[serde(with = "sync_sim_engine::faults::time")]
    pub at: SimTime,
    /// The stamp of the write; [`Hlc::ZERO`] for a remove, which has none.
    #[serde(serialize_with = "as_words")]
    pub stamp: Hlc,
    /// The operation in words.
    pub operation: String,
}

impl fmt::Display for AckedWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, acknowledged by {} at {}", self.operation, self.node, self.at)
    }
}

fn as_words<T: fmt::Display, S: serde::Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

/// The number of latest writes of an entity that are tried. Each try evaluates the whole specification.
const TRIED: usize = 200;

/// Finds the acknowledged write without which the specification implies the value that was found. `names` are
/// those of all nodes.
pub(super) fn blame(
    oracle: &Oracle,
    specification: &Specification<'_>,
    mismatch: Mismatch,
    node: &str,
    names: &[&str],
) -> Check {
    let Mismatch { id, expected, found, others } = mismatch;
    let place = specification.place(id, names);
    // The writes that may have decided the value: those to the entity, and deletes of its ancestors.
    let mut candidates: BTreeSet<(usize, usize)> = BTreeSet::new();
    if let Some(entity) = specification.entity(id) {
        for id in entity.ancestors.iter().chain([&id]) {
            let facts = specification.entity(*id).map_or(&[][..], |above| specification.facts(above));
            // A write to an ancestor matters only if it deletes the ancestor, which hides the entity.
            let hides = |fact: &&Fact<'_>| fact.id == entity.id || fact.deleted_at > Hlc::ZERO;
            candidates.extend(facts.iter().filter(hides).filter_map(|fact| fact.write));
        }
    }
    let without = |number: usize| {
        let other = Specification::of(oracle, Some(number));
        let visible = other.entity(id).and_then(|entity| other.visible_value(entity));
        visible.map(|value| value.to_string())
    };
    let tried = candidates.iter().rev().take(TRIED);
    // The latest write first: if leaving out one write explains the value, the latest such write was
    // lost.
    let lost = tried.clone().find(|(number, _)| without(*number) == found).copied();
    let latest = candidates.last().copied();
    let acked = |(number, operation)| acked(oracle, specification, (number, operation), names);
    let wrong = ValueMismatch { entity: id, place, node: node.to_owned(), expected, found, others };
    match lost.and_then(acked) {
        Some(write) => Check::Lost { wrong, write },
        None => Check::WrongValue { wrong, latest: latest.and_then(acked) },
    }
}

/// The operation `at` of write `number`, in words. `None` for initial state.
fn acked(
    oracle: &Oracle,
    specification: &Specification<'_>,
    (number, at): (usize, usize),
    names: &[&str],
) -> Option<AckedWrite> {
    let write = oracle.writes.get(number)?;
    let operation = write.operations.get(at)?;
    let action = write.actions.get(at)?;
    let stamp = match action {
        Action::Add { metadata, .. } | Action::Update { metadata, .. } => metadata.updated_at,
        Action::DeleteRef { deleted_at, .. } => *deleted_at,
    };
    let place = specification.place(action.id(), names);
    let node =
        names.get(write.node.index()).map_or_else(|| write.node.to_string(), |name| (*name).to_owned());
    Some(AckedWrite { node, at: write.at, stamp, operation: words(operation, &place) })
}

/// An operation on the entity at `place`, in words.
fn words(operation: &Operation, place: &str) -> String {
    match operation {
        Operation::Set { bytes, .. } => format!("set {place} to {}", BytesPreview(bytes)),
        Operation::SetOpaque { bytes, .. } => format!("set {place} to opaque {}", BytesPreview(bytes)),
        Operation::Increment { by, .. } => format!("add {by} to {place}"),
        Operation::Change { by, .. } => format!("change {place} by {by}"),
        Operation::Create { collection, .. } => format!("make {place} {}", collection_words(*collection)),
        Operation::AddElement { .. } => format!("add {place}"),
        Operation::RemoveElement { .. } => format!("remove {place}"),
        Operation::InsertItem { item: Item::Bytes(bytes), at, .. } => {
            format!("insert {} before number {at} of its list, as {place}", BytesPreview(bytes))
        }
        Operation::InsertItem { item: Item::Collection(collection), at, .. } => {
            let collection = collection_words(*collection);
            format!("insert {collection} before number {at} of its list, as {place}")
        }
        Operation::DeleteItem { at, .. } => format!("delete number {at} of its list, {place}"),
        Operation::InsertText { at, text, .. } => format!("insert {text:?} at {at} of {place}"),
        Operation::DeleteText { at, count, .. } => format!("delete {count} characters at {at} of {place}"),
        Operation::SetOwn { bytes, .. } => format!("set {place} to {}", BytesPreview(bytes)),
        Operation::Freeze { bytes, .. } => format!("freeze {place} as {}", BytesPreview(bytes)),
        Operation::Merge { name, bytes, .. } => format!("merge {name} {} into {place}", BytesPreview(bytes)),
        Operation::Delete { .. } => format!("delete {place}"),
    }
}
