//! Paths of entities in words, built from the labels that writes gave.

use crate::node::replica_id;
use crate::oracle::specification::{Specification, SpecifiedEntity};
use crate::workload::COLLECTIONS;
use sync_sim_engine::node_id::NodeId;
use syncline_crdt::{CrdtType, position};
use syncline_storage::{BytesPreview, Label};
use syncline_types::EntityId;

impl Specification<'_> {
    /// The path of an entity, such as `map / key 3`. `nodes` are the names of all nodes.
    pub(super) fn place(&self, id: EntityId, nodes: &[&str]) -> String {
        if id == EntityId::ROOT {
            return "the root".to_owned();
        }
        // Without any write there is no label to name the entity by.
        let Some(entity) = self.entity(id) else { return format!("entity {id}") };
        // Pairs of a parent and its child, from the root down.
        let path = entity.ancestors.iter().chain([&id]);
        let above = [EntityId::ROOT].iter().chain(entity.ancestors);
        let steps: Vec<String> = above.zip(path).map(|(above, id)| self.step(*above, *id, nodes)).collect();
        steps.join(" / ")
    }

    fn step(&self, above: EntityId, id: EntityId, nodes: &[&str]) -> String {
        let named = self.entity(id).and_then(|entity| Some((entity, entity.label.bytes()?)));
        let Some((entity, label)) = named else {
            return guess(above, id).unwrap_or_else(|| format!("entity {id}"));
        };
        if above == EntityId::ROOT {
            return word(label);
        }
        match entity.kind {
            CrdtType::SetElement => format!("element {}", word(label)),
            CrdtType::UserValue => {
                let owner = (0..).zip(nodes).find(|(at, _)| replica_id(NodeId(*at)).as_bytes() == label);
                owner.map_or_else(|| format!("of {}", word(label)), |(_, name)| format!("of {name}"))
            }
            _ if position::is_position(label) => format!("item {}", self.rank(entity)),
            _ => format!("key {}", word(label)),
        }
    }

    /// The number of items that were ever inserted before this one into its list.
    fn rank(&self, item: &SpecifiedEntity<'_>) -> usize {
        let before = |other: &&SpecifiedEntity<'_>| {
            other.ancestors == item.ancestors
                && matches!((other.label, item.label), (Label::Ordered(a), Label::Ordered(b)) if a < b)
        };
        self.entities().iter().filter(before).count()
    }
}

/// The name of an entity that only has descendants and no write of its own. Its id is the hash of its name,
/// so the name whose hash equals the id is the right one.
fn guess(above: EntityId, id: EntityId) -> Option<String> {
    const KEYS: u64 = 1_000;
    if above == EntityId::ROOT {
        let name = COLLECTIONS.iter().find(|name| EntityId::child_of(above, name.as_bytes()) == id)?;
        return Some((*name).to_owned());
    }
    let key = (0..KEYS).find(|key| EntityId::child_of(above, &key.to_le_bytes()) == id)?;
    Some(format!("key {key}"))
}

/// A label in words: as text, as a number, or as bytes.
fn word(label: &[u8]) -> String {
    if let Ok(bytes) = <[u8; 8]>::try_from(label)
        && u64::from_le_bytes(bytes) < 1 << 32
    {
        return u64::from_le_bytes(bytes).to_string();
    }
    match std::str::from_utf8(label) {
        Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) => text.to_owned(),
        _ => BytesPreview(label).to_string(),
    }
}
