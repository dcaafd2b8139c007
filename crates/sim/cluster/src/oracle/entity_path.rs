//! Paths of entities in words, built from the labels that writes gave.

use crate::node::replica_id;
use crate::oracle::specification::{Specification, SpecifiedEntity};
use crate::wording::{guessed_name, label_words};
use sync_sim_engine::node_id::NodeId;
use syncline_crdt::{CrdtType, position};
use syncline_storage::Label;
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
        let above = [EntityId::ROOT].iter().chain(entity.ancestors.iter());
        let steps: Vec<String> = above.zip(path).map(|(above, id)| self.step(*above, *id, nodes)).collect();
        steps.join(" / ")
    }

    fn step(&self, above: EntityId, id: EntityId, nodes: &[&str]) -> String {
        let named = self.entity(id).and_then(|entity| Some((entity, entity.label.bytes()?)));
        let Some((entity, label)) = named else {
            return guess(above, id).unwrap_or_else(|| format!("entity {id}"));
        };
        if above == EntityId::ROOT {
            return label_words(label);
        }
        match entity.kind {
            CrdtType::SetElement => format!("element {}", label_words(label)),
            CrdtType::UserValue => {
                let owner = (0..).zip(nodes).find(|(at, _)| replica_id(NodeId(*at)).as_bytes() == label);
                owner.map_or_else(|| format!("of {}", label_words(label)), |(_, name)| format!("of {name}"))
            }
            _ if position::is_position(label) => format!("item {}", self.rank(entity)),
            _ => format!("key {}", label_words(label)),
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
    let name = guessed_name(above, id)?;
    Some(if above == EntityId::ROOT { name } else { format!("key {name}") })
}
