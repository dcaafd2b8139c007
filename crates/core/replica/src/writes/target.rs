//! The location of an entity.

use syncline_storage::Label;
use syncline_types::EntityId;

/// An entity, the path to it, and its name within its parent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Target {
    /// The id of the entity.
    pub id: EntityId,
    /// The ancestors from below the root down to the parent.
    pub ancestors: Vec<EntityId>,
    /// The key, the element or the position of the entity in its parent.
    pub label: Label,
}

impl Target {
    /// A child of the root, by its id alone.
    pub const fn top(id: EntityId) -> Self {
        Self { id, ancestors: Vec::new(), label: Label::None }
    }

    /// The child of the root with the label `name`.
    pub fn named(name: &[u8]) -> Self {
        let id = EntityId::child_of(EntityId::ROOT, name);
        Self { id, ancestors: Vec::new(), label: Label::Named(name.into()) }
    }

    /// The child of this entity with the label `key`: the entry of a map, the element of a set.
    pub fn child(&self, key: &[u8]) -> Self {
        self.below(key, Label::Named(key.into()))
    }

    /// Like [`Target::child`], in a collection whose children are read in the order of their keys.
    pub fn ordered_child(&self, key: &[u8]) -> Self {
        self.below(key, Label::Ordered(key.into()))
    }

    fn below(&self, key: &[u8], label: Label) -> Self {
        let mut ancestors = self.ancestors.clone();
        ancestors.push(self.id);
        Self { id: EntityId::child_of(self.id, key), ancestors, label }
    }
}
