//! Whose write is missing from what a replica shows.

use crate::oracle::Oracle;
use crate::oracle::fact::Fact;
use crate::oracle::specification::{Specification, Wrong};
use crate::verdict::Check;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use syncline_replica::{Item, Operation};
use syncline_storage::{Action, BytesPreview};
use syncline_types::{EntityId, Hlc, SimTime};

/// A value that a replica does not show as the acknowledged writes imply.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct WrongPlace {
    /// The entity.
    #[serde(serialize_with = "as_words")]
    pub entity: EntityId,
    /// Where a person put it, such as `map / key 3`.
    pub place: String,
    /// Which node shows it wrong.
    pub node: String,
    /// What must be seen; nothing if `None`.
    pub expected: Option<String>,
    /// What is seen; nothing if `None`.
    pub found: Option<String>,
    /// How many other entities are wrong there too.
    pub others: usize,
}

impl fmt::Display for WrongPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |seen: &Option<String>| seen.clone().unwrap_or_else(|| "nothing".to_owned());
        let Self { place, node, expected, found, .. } = self;
        write!(f, "{node} shows {} at {place}, where {} must be", words(found), words(expected))?;
        if self.others > 0 { write!(f, " (and {} more are wrong)", self.others) } else { Ok(()) }
    }
}

/// A write that a node acknowledged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AckedWrite {
    /// Who acknowledged it.
    pub node: String,
    /// When.
    #[serde(with = "sync_sim_engine::faults::time")]
    pub at: SimTime,
    /// Under which stamp; [`Hlc::ZERO`] for a remove, which has none.
    #[serde(serialize_with = "as_words")]
    pub stamp: Hlc,
    /// What was asked for.
    pub operation: String,
}

impl fmt::Display for AckedWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, acknowledged by {} at {}", self.operation, self.node, self.at)
    }
}

fn as_words<T: fmt::Display, S: serde::Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

/// How many of the latest writes of an entity are tried: each costs as much as the whole specification.
const TRIED: usize = 200;

/// Finds the write without which what was found would be right. `names` are those of all nodes.
pub(super) fn blame(
    oracle: &Oracle,
    specification: &Specification<'_>,
    wrong: Wrong,
    node: &str,
    names: &[&str],
) -> Check {
    let Wrong { id, expected, found, others } = wrong;
    let place = specification.place(id, names);
    let mut concerned: BTreeSet<(usize, usize)> = BTreeSet::new();
    if let Some(entity) = specification.entity(id) {
        for id in entity.ancestors.iter().chain([&id]) {
            let facts = specification.entity(*id).map_or(&[][..], |above| specification.facts(above));
            // What happens above counts only if it hides what is below.
            let hides = |fact: &&Fact<'_>| fact.id == entity.id || fact.deleted_at > Hlc::ZERO;
            concerned.extend(facts.iter().filter(hides).filter_map(|fact| fact.write));
        }
    }
    let without = |number: usize| {
        let other = Specification::of(oracle, Some(number));
        let seen = other.entity(id).and_then(|entity| other.seen(entity));
        seen.map(|seen| seen.to_string())
    };
    let tried = concerned.iter().rev().take(TRIED);
    let lost = tried.clone().find(|(number, _)| without(*number) == found).copied();
    let latest = concerned.last().copied();
    let acked = |(number, operation)| acked(oracle, specification, (number, operation), names);
    let wrong = WrongPlace { entity: id, place, node: node.to_owned(), expected, found, others };
    match lost.and_then(acked) {
        Some(write) => Check::Lost { wrong, write },
        None => Check::WrongValue { wrong, latest: latest.and_then(acked) },
    }
}

fn acked(
    oracle: &Oracle,
    specification: &Specification<'_>,
    (number, at): (usize, usize),
    names: &[&str],
) -> Option<AckedWrite> {
    let write = oracle.writes.get(number)?;
    let (operation, action) = (write.operations.get(at)?, write.actions.get(at)?);
    let stamp = match action {
        Action::Add { metadata, .. } | Action::Update { metadata, .. } => metadata.updated_at,
        Action::DeleteRef { deleted_at, .. } => *deleted_at,
    };
    let place = specification.place(action.id(), names);
    let node =
        names.get(write.node.index()).map_or_else(|| write.node.to_string(), |name| (*name).to_owned());
    Some(AckedWrite { node, at: write.at, stamp, operation: words(operation, &place) })
}

/// An operation on what is at a place, as a person would say it.
fn words(operation: &Operation, place: &str) -> String {
    match operation {
        Operation::Set { bytes, .. } => format!("set {place} to {}", BytesPreview(bytes)),
        Operation::SetOpaque { bytes, .. } => format!("set {place} to opaque {}", BytesPreview(bytes)),
        Operation::Increment { by, .. } => format!("add {by} to {place}"),
        Operation::Change { by, .. } => format!("change {place} by {by}"),
        Operation::Create { collection, .. } => format!("make {place} a {collection:?}"),
        Operation::AddElement { .. } => format!("add {place}"),
        Operation::RemoveElement { .. } => format!("remove {place}"),
        Operation::InsertItem { item: Item::Bytes(bytes), at, .. } => {
            format!("insert {} before number {at} of its list, as {place}", BytesPreview(bytes))
        }
        Operation::InsertItem { item: Item::Collection(collection), at, .. } => {
            format!("insert a {collection:?} before number {at} of its list, as {place}")
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
