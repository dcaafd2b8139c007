//! The way down the Merkle index to where two states differ.

use crate::runtime::entity_words;
use serde::Serialize;
use std::fmt;
use syncline_storage::{Interface, Node, Prefix, StorageError};
use syncline_store::{MemoryStore, Store};
use syncline_types::{Digest, EntityId};

/// One node of the index on the way, on both sides.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Step {
    /// Among whose children, in hex.
    pub entity: String,
    /// Under which prefix of their ids, in hex digits. `None`: the entity itself.
    pub prefix: Option<String>,
    /// The hash on the left, in hex.
    pub left: String,
    /// The hash on the right, in hex.
    pub right: String,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entity = self.entity.get(..16).unwrap_or(&self.entity);
        match &self.prefix {
            Some(prefix) => write!(f, "children of {entity} under {prefix:?}: ")?,
            None => write!(f, "record of {entity}: ")?,
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
    steps.push(step(EntityId::ROOT, Some(""), left.root_hash()?, right.root_hash()?));
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
    let own = |state: &mut State| state.entry(entity).map(|entry| entry.map_or(Digest::ZERO, |entry| entry.own));
    steps.push(step(entity, None, own(&mut left)?, own(&mut right)?));
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
        steps.push(step(parent, Some(&words), left.hash_at(parent, prefix)?, right.hash_at(parent, prefix)?));
        let inner = |node| matches!(node, Some(Node::Inner { .. }));
        if !inner(left.node(parent, prefix)?) && !inner(right.node(parent, prefix)?) {
            return Ok(());
        }
        let nibble = prefix.next_nibble(child) as u8;
        words.extend(char::from_digit(u32::from(nibble), 16));
        prefix = prefix.child(nibble);
    }
}

fn step(entity: EntityId, prefix: Option<&str>, left: Digest, right: Digest) -> Step {
    let prefix = prefix.map(str::to_owned);
    Step { entity: entity_words(entity), prefix, left: left.to_string(), right: right.to_string() }
}
