//! Typed handles: the replicated types for applications.
//!
//! A handle combines the target of an entity with the type of its value. The write methods of a handle return
//! an [`Operation`] for the replica; its read methods read a state. Handles contain no data and are cheap to
//! create.
//!
//! ```
//! use syncline_replica::model::{Counter, List, Map, Register, Text};
//!
//! let board: Map<String, Counter> = Map::named("scores");
//! let add = board.entry(&"alice".to_owned()).add(3);
//! let notes: Map<u64, List<Register<String>>> = Map::named("notes");
//! let push = notes.entry(&7).insert(0, "milk".to_owned());
//! let title = Text::named("title").insert(0, "Our list");
//! # let _ = (add, push, title);
//! ```
//!
//! | handle | merge | cost of a write | of a read |
//! |---|---|---|---|
//! | [`Register`] | the later write; between equal stamps the greater bytes | O(1) | O(1) |
//! | [`GrowCounter`], [`Counter`] | per replica the highest count, added up (Shapiro et al., 2011) | O(1) | O(replicas) |
//! | [`Map`] | entry by entry | that of the entry | O(1) an entry |
//! | [`SortedMap`] | the same | one row more | O(log n) to a key, then O(1) an entry |
//! | [`Set`], [`SortedSet`] | an add that no remove has seen wins (Bieniusa et al., 2012) | O(replicas) | as maps |
//! | [`List`] | insertions keep the order of items; Fugue order (Weidner, Kleppmann, 2023) | O(position) to find the item | O(1) an item |
//! | [`Text`] | insertions keep the order of characters; Fugue order | O(n log n) in the runs of the text | the same |
//! | [`UserStorage`] | each replica's own last write | O(1) | O(1) an entry |
//! | [`FrozenStorage`] | the earliest write | O(1) | O(1) an entry |
//! | [`Merged`] | operand by operand; shown by the application's own function | O(operands); on average one call | O(operands); a call for each new one |
//! | [`Opaque`] | as a register; counted as a value of unknown type | O(1) | O(1) |
//!
//! Deleting a collection hides everything below it that was written before the delete; later writes are
//! visible.

mod collections;
mod data;
mod values;

pub use collections::{FrozenStorage, List, Map, Set, SortedMap, SortedSet, UserStorage};
pub use data::{Data, DataError};
pub use values::{Counter, Frozen, GrowCounter, Merged, Opaque, Register, Text};

use crate::Target;
use crate::{Collection, Item, Operation};
use std::sync::Arc;
use syncline_crdt::{CrdtType, Unmerged};
use syncline_storage::{Interface, Record, StorageError};
use syncline_store::ReadView;
use syncline_types::EntityId;

/// Why a value cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the names of the fields and the messages say all")]
pub enum ReadError {
    /// The entity has a value of another type.
    #[error("{id} is a {found}; it was read as a {wanted}")]
    WrongType { id: EntityId, found: CrdtType, wanted: CrdtType },
    /// The bytes of a value or key do not encode a value of the handle's type.
    #[error("{id}: {error}")]
    Data { id: EntityId, error: DataError },
    /// The operands of a value of the application's own type cannot be merged here.
    #[error("{id}: {unmerged}")]
    Unmerged { id: EntityId, unmerged: Unmerged },
    /// The state cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The typed handle of an entity.
pub trait Handle: Sized {
    /// The handle of the entity at `target`.
    fn at(target: Target) -> Self;

    /// The entity and the path to it.
    fn target(&self) -> &Target;

    /// The handle of the child of the root that is called `name`.
    fn named(name: &str) -> Self {
        Self::at(Target::named(name.as_bytes()))
    }

    /// Deletes the entity, and all of its descendants that are known here.
    fn delete(&self) -> Operation {
        Operation::Delete { target: self.target().clone() }
    }

    /// Whether the entity is visible: written, and not deleted since.
    fn exists<V: ReadView>(&self, state: &mut Interface<V>) -> Result<bool, ReadError> {
        Ok(state.is_visible(self.target().id)?)
    }
}

/// The handle of a type that can be a list item.
pub trait ListItem: Handle {
    /// The initial value of a new item.
    type Start;
    /// The item to insert.
    fn item(start: Self::Start) -> Item;
}

/// Implements [`Handle`] for a type that wraps a [`Target`].
macro_rules! handle {
    ($name:ident $(<$($param:ident),*>)?) => {
        impl $(<$($param),*>)? $crate::model::Handle for $name $(<$($param),*>)? {
            fn at(target: $crate::Target) -> Self {
                Self { target, of: std::marker::PhantomData }
            }
            fn target(&self) -> &$crate::Target {
                &self.target
            }
        }
        impl $(<$($param),*>)? $name $(<$($param),*>)? {
            /// The handle of the child of the root that is called `name`.
            pub fn named(name: &str) -> Self {
                $crate::model::Handle::named(name)
            }
        }
    };
}
use handle;

/// The record at `target`, if it is visible.
fn visible<V: ReadView>(state: &mut Interface<V>, target: &Target) -> Result<Option<Arc<Record>>, ReadError> {
    Ok(if state.is_visible(target.id)? { state.record(target.id)? } else { None })
}

const fn wrong_type(target: &Target, record: &Record, wanted: CrdtType) -> ReadError {
    ReadError::WrongType { id: target.id, found: record.crdt_type(), wanted }
}

fn create(target: &Target, collection: Collection) -> Operation {
    Operation::Create { target: target.clone(), collection }
}
