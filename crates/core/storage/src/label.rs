//! What an entity is called by its parent.

use std::sync::Arc;

/// The key of a map's entry, the element itself in a set, the position in a list. The id of an entity
/// follows from its parent and its label, so that honest replicas never disagree on one; if a label
/// is missing or invented somewhere, the greater one wins everywhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Label {
    /// Nothing is known, or there is none.
    #[default]
    None,
    /// Found by name alone.
    Named(Arc<[u8]>),
    /// Found by name, and read in the order of the bytes.
    Ordered(Arc<[u8]>),
}

impl Label {
    /// The bytes, if there are any.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::None => None,
            Self::Named(bytes) | Self::Ordered(bytes) => Some(bytes),
        }
    }
}
