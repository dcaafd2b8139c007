//! The label of an entity among its siblings.

use std::sync::Arc;

/// The name that a parent gives to an entity: the key of a map's entry, the element of a set, or the
/// position in a list.
///
/// The id of an entity is derived from its parent and its label, so honest replicas never disagree on a
/// label. Labels join by maximum, so that a label which is missing or forged somewhere still converges.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Label {
    /// No label, or none that is known yet.
    #[default]
    None,
    /// A label that identifies the entity and does not order it.
    Named(Arc<[u8]>),
    /// A label that identifies the entity and orders it among its siblings, byte by byte.
    Ordered(Arc<[u8]>),
}

impl Label {
    /// The bytes of the label; `None` without one.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::None => None,
            Self::Named(bytes) | Self::Ordered(bytes) => Some(bytes),
        }
    }
}
