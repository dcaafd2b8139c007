//! Entities by the place in which a person put them.

use crate::node::replica_id;
use crate::oracle::specification::{Entity, Specification};
use crate::workload::COLLECTIONS;
use sync_sim_engine::node_id::NodeId;
use syncline_crdt::{CrdtType, position};
use syncline_storage::{BytesPreview, Label};
use syncline_types::EntityId;

impl Specification<'_> {
    /// The place of an entity, such as `map / key 3`.
    pub(super) fn place(&self, id: EntityId, nodes: &[&str]) -> String {
        if id == EntityId::ROOT {
            return "the root".to_owned();
        }
        let Some(entity) = self.entity(id) else { return format!("entity {id}") };
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

    /// How many items were ever put before this one into its list.
    fn rank(&self, item: &Entity<'_>) -> usize {
        let before = |other: &&Entity<'_>| {
            other.ancestors == item.ancestors
                && matches!((other.label, item.label), (Label::Ordered(a), Label::Ordered(b)) if a < b)
        };
        self.entities().iter().filter(before).count()
    }
}

/// What an entity is called that nobody wrote to, only below it: an id follows from a name, so a name that
/// gives the id is the one.
fn guess(above: EntityId, id: EntityId) -> Option<String> {
    const KEYS: u64 = 1_000;
    if above == EntityId::ROOT {
        let name = COLLECTIONS.iter().find(|name| EntityId::child_of(above, name.as_bytes()) == id)?;
        return Some((*name).to_owned());
    }
    let key = (0..KEYS).find(|key| EntityId::child_of(above, &key.to_le_bytes()) == id)?;
    Some(format!("key {key}"))
}

/// A label as a person wrote it: text, a number, or bytes.
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
