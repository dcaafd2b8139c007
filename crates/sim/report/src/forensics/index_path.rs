//! The way down the Merkle index to where two states differ.

use serde::Serialize;
use std::fmt;
use sync_sim_cluster::runtime::entity_hex;
use syncline_storage::{Interface, Node, Prefix, StorageError};
use syncline_store::{MemoryStore, Store};
use syncline_types::{Digest, EntityId};

/// A place in the index. Ids are in hex.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Place {
    /// The root of the state.
    Root,
    /// Some of the children of an entity: all below one node of their trie.
    Children {
        /// Of which entity.
        of: String,
        /// Under which prefix of their ids.
        prefix: String,
    },
    /// The record of an entity.
    Record {
        /// Of which.
        of: String,
    },
}

/// One place on the way, on both sides.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Step {
    /// Which.
    pub place: Place,
    /// The hash on the left, in hex; zeros if there is nothing.
    pub left: String,
    /// The hash on the right.
    pub right: String,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |id: &str| id.get(..16).unwrap_or(id).to_owned();
        match &self.place {
            Place::Root => write!(f, "root: ")?,
            Place::Children { of, prefix } => write!(f, "children of {} under \"{prefix}\": ", short(of))?,
            Place::Record { of } => write!(f, "record of {}: ", short(of))?,
        }
        write!(f, "{} | {}", self.left, self.right)
    }
}

/// The path from the root to the record of `entity`; as much of it as can be read.
pub(super) fn between(stores: (&MemoryStore, &MemoryStore), entity: EntityId) -> Vec<Step> {
    let mut steps = Vec::new();
    // What cannot be read is not shown; the rest is.
    let _ = walk(stores, entity, &mut steps);
    steps
}

type State = Interface<MemoryStore>;

fn walk(
    stores: (&MemoryStore, &MemoryStore),
    entity: EntityId,
    steps: &mut Vec<Step>,
) -> Result<(), StorageError> {
    let mut left = Interface::open(stores.0.view())?;
    let mut right = Interface::open(stores.1.view())?;
    steps.push(step(Place::Root, left.root_hash()?, right.root_hash()?));
    let mut chain = vec![entity];
    while let Some(&child) = chain.last().filter(|child| **child != EntityId::ROOT) {
        let record = match left.record(child)? {
            Some(record) => Some(record),
            None => right.record(child)?,
        };
        chain.push(record.map_or(EntityId::ROOT, |record| record.parent));
    }
    chain.reverse();
    for pair in chain.windows(2) {
        if let [parent, child] = pair {
            descend((&mut left, &mut right), *parent, *child, steps)?;
        }
    }
    let own =
        |state: &mut State| state.entry(entity).map(|entry| entry.map_or(Digest::ZERO, |entry| entry.own));
    steps.push(step(Place::Record { of: entity_hex(entity) }, own(&mut left)?, own(&mut right)?));
    Ok(())
}

/// The nodes of one trie, down to the bucket that holds `child` or would.
fn descend(
    (left, right): (&mut State, &mut State),
    parent: EntityId,
    child: EntityId,
    steps: &mut Vec<Step>,
) -> Result<(), StorageError> {
    let (mut prefix, mut words) = (Prefix::EMPTY, String::new());
    loop {
        let place = Place::Children { of: entity_hex(parent), prefix: words.clone() };
        steps.push(step(place, left.hash_at(parent, prefix)?, right.hash_at(parent, prefix)?));
        let inner = |node| matches!(node, Some(Node::Inner { .. }));
        if !inner(left.node(parent, prefix)?) && !inner(right.node(parent, prefix)?) {
            return Ok(());
        }
        let nibble = prefix.next_nibble(child) as u8;
        words.extend(char::from_digit(u32::from(nibble), 16));
        prefix = prefix.child(nibble);
    }
}

fn step(place: Place, left: Digest, right: Digest) -> Step {
    Step { place, left: left.to_string(), right: right.to_string() }
}
