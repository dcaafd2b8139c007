//! The path down the Merkle index from the root to the record on which two states differ.

use serde::Serialize;
use std::fmt;
use sync_sim_cluster::runtime::entity_hex;
use syncline_storage::{Interface, Node, Prefix, StorageError};
use syncline_store::{MemoryStore, Store};
use syncline_types::{Digest, EntityId};

/// A position in the index. Ids are in hex.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum IndexPosition {
    /// The root of the state.
    Root,
    /// The children of an entity below one node of their trie.
    Children {
        /// The id of the entity whose children these are.
        of: String,
        /// The prefix of the child ids, as hex digits.
        prefix: String,
    },
    /// The record of one entity.
    Record {
        /// The id of that entity.
        of: String,
    },
}

/// One position of the path, with its hash on both sides.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PathStep {
    /// Which position of the index this is.
    pub place: IndexPosition,
    /// The hash in the left state, in hex; all zeros if there is nothing at this position.
    pub left: String,
    /// The hash in the right state, in hex; all zeros if there is nothing at this position.
    pub right: String,
}

impl fmt::Display for PathStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |id: &str| id.get(..16).unwrap_or(id).to_owned();
        match &self.place {
            IndexPosition::Root => write!(f, "root: ")?,
            IndexPosition::Children { of, prefix } => {
                write!(f, "children of {} under \"{prefix}\": ", short(of))?;
            }
            IndexPosition::Record { of } => write!(f, "record of {}: ", short(of))?,
        }
        write!(f, "{} | {}", self.left, self.right)
    }
}

/// The path from the root to the record of `entity`. Stops early where a state cannot be read.
pub(super) fn between(stores: (&MemoryStore, &MemoryStore), entity: EntityId) -> Vec<PathStep> {
    let mut steps = Vec::new();
    // The report is best effort: after a storage error, the positions read so far are still worth showing.
    let _ = walk(stores, entity, &mut steps);
    steps
}

type State = Interface<MemoryStore>;

fn walk(
    stores: (&MemoryStore, &MemoryStore),
    entity: EntityId,
    steps: &mut Vec<PathStep>,
) -> Result<(), StorageError> {
    let mut left = Interface::open(stores.0.view())?;
    let mut right = Interface::open(stores.1.view())?;
    steps.push(step(IndexPosition::Root, left.root_hash()?, right.root_hash()?));
    // The ancestors come from whichever side has the record: the other side may lack it altogether.
    let mut chain = vec![entity];
    while let Some(&child) = chain.last().filter(|child| **child != EntityId::ROOT) {
        let record = match left.record(child)? {
            Some(record) => Some(record),
            None => right.record(child)?,
        };
        chain.push(record.map_or(EntityId::ROOT, |record| record.parent));
    }
    // The parents were collected from the record upwards; the path is shown from the root downwards.
    chain.reverse();
    for pair in chain.windows(2) {
        if let [parent, child] = pair {
            descend((&mut left, &mut right), *parent, *child, steps)?;
        }
    }
    let own =
        |state: &mut State| state.entry(entity).map(|entry| entry.map_or(Digest::ZERO, |entry| entry.own));
    steps.push(step(IndexPosition::Record { of: entity_hex(entity) }, own(&mut left)?, own(&mut right)?));
    Ok(())
}

/// Appends the trie nodes of one parent, down to the bucket that holds `child` or would hold it.
fn descend(
    (left, right): (&mut State, &mut State),
    parent: EntityId,
    child: EntityId,
    steps: &mut Vec<PathStep>,
) -> Result<(), StorageError> {
    let mut prefix = Prefix::EMPTY;
    let mut digits = String::new();
    loop {
        let place = IndexPosition::Children { of: entity_hex(parent), prefix: digits.clone() };
        steps.push(step(place, left.hash_at(parent, prefix)?, right.hash_at(parent, prefix)?));
        let inner = |node| matches!(node, Some(Node::Inner { .. }));
        if !inner(left.node(parent, prefix)?) && !inner(right.node(parent, prefix)?) {
            return Ok(());
        }
        let nibble = prefix.next_nibble(child) as u8;
        digits.extend(char::from_digit(u32::from(nibble), 16));
        prefix = prefix.child(nibble);
    }
}

fn step(place: IndexPosition, left: Digest, right: Digest) -> PathStep {
    PathStep { place, left: left.to_string(), right: right.to_string() }
}
