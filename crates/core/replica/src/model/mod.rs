//! Typed handles: the replicated types as an application likes to use them.
//!
//! A handle is the name of a place and the type of what is there. Its writing methods give an
//! [`Operation`], to be handed to the replica; its reading methods look at a state. Handles hold no
//! data and cost nothing to make.
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
//! | [`List`] | items keep their places; Fugue order (Weidner, Kleppmann, 2023) | O(position) to find the place | O(1) an item |
//! | [`Text`] | all inserted characters are kept; Fugue order | O(n log n) in the runs of the text | the same |
//! | [`UserStorage`] | each replica's own last write | O(1) | O(1) an entry |
//! | [`FrozenStorage`] | the earliest write | O(1) | O(1) an entry |
//! | [`Merged`] | the application's own function | one merge | O(1) |
//! | [`Opaque`] | as a register; counted as of unknown type | O(1) | O(1) |
//!
//! Deleting a collection hides what was written below it before; what is written later is seen.

mod collections;
mod data;
mod values;

pub use collections::{FrozenStorage, List, Map, Set, SortedMap, SortedSet, UserStorage};
pub use data::{Data, NotThat};
pub use values::{Counter, Frozen, GrowCounter, Merged, Opaque, Register, Text};

use crate::target::Target;
use crate::{Collection, Item, Operation};
use std::sync::Arc;
use syncline_crdt::CrdtType;
use syncline_storage::{Interface, Record, StorageError};
use syncline_store::ReadView;
use syncline_types::EntityId;

/// Why a value cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// There is a value of another type.
    #[error("{id} is a {found}; it was read as a {wanted}")]
    WrongType {
        /// The entity.
        id: EntityId,
        /// What it is.
        found: CrdtType,
        /// What it was taken for.
        wanted: CrdtType,
    },
    /// The bytes of a value or key are not those of the type that the handle names.
    #[error("{id}: {error}")]
    Data {
        /// The entity.
        id: EntityId,
        /// What is wrong.
        error: NotThat,
    },
    /// The state itself failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A typed name of a place.
pub trait Handle: Sized {
    /// The handle for `target`.
    fn at(target: Target) -> Self;

    /// The place.
    fn target(&self) -> &Target;

    /// The handle for the child of the root that is called `name`.
    fn named(name: &str) -> Self {
        Self::at(Target::named(name.as_bytes()))
    }

    /// Deletes what is here, with all below it that is known.
    fn delete(&self) -> Operation {
        Operation::Delete { target: self.target().clone() }
    }

    /// Whether there is anything here that an application sees.
    fn exists<V: ReadView>(&self, state: &mut Interface<V>) -> Result<bool, ReadError> {
        Ok(state.is_visible(self.target().id)?)
    }
}

/// A handle for something that a list can hold.
pub trait ListItem: Handle {
    /// What it takes to make one.
    type Start;
    /// What is inserted.
    fn item(start: Self::Start) -> Item;
}

/// Implements [`Handle`] for a type around a [`Target`].
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
            /// The child of the root that is called `name`.
            pub fn named(name: &str) -> Self {
                $crate::model::Handle::named(name)
            }
        }
    };
}
use handle;

/// The record that an application sees at `target`, if it does.
fn visible<V: ReadView>(state: &mut Interface<V>, target: &Target) -> Result<Option<Arc<Record>>, ReadError> {
    Ok(if state.is_visible(target.id)? { state.record(target.id)? } else { None })
}

const fn wrong(target: &Target, record: &Record, wanted: CrdtType) -> ReadError {
    ReadError::WrongType { id: target.id, found: record.crdt_type(), wanted }
}

fn create(target: &Target, collection: Collection) -> Operation {
    Operation::Create { target: target.clone(), collection }
}
