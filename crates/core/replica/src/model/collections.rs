//! Typed handles of collections.

use super::{Data, Frozen, Handle, ListItem, ReadError, create, handle, visible, wrong_type};
use crate::Target;
use crate::writes::{items, walk};
use crate::{Collection, Item, Operation};
use std::marker::PhantomData;
use syncline_crdt::{CrdtType, Value};
use syncline_storage::Interface;
use syncline_store::ReadView;
use syncline_types::{EntityId, ReplicaId};

/// The number of children read from the index at a time.
const PAGE: usize = 256;

/// The labels of up to `limit` visible children of `target`, in the order of their ids, after the id
/// `after`; and the last id that was read, to pass as `after` of the next page. `None` after the last page.
fn page<V: ReadView, T: Data>(
    state: &mut Interface<V>,
    target: &Target,
    mut after: Option<EntityId>,
    limit: usize,
) -> Result<(Vec<T>, Option<EntityId>), ReadError> {
    let mut found = Vec::new();
    loop {
        let entries = state.children(target.id, after, PAGE)?;
        debug_assert!(entries.len() <= PAGE, "a page of children is bounded");
        for entry in &entries {
            // This check comes before `after` moves: the next page begins with this entry.
            if found.len() == limit {
                return Ok((found, after));
            }
            after = Some(entry.id);
            if state.is_visible(entry.id)?
                && let Some(record) = state.record(entry.id)?
                && let Some(label) = record.label.bytes()
            {
                let data = T::from_data(label);
                found.push(data.map_err(|error| ReadError::Data { id: entry.id, error })?);
            }
        }
        if entries.len() < PAGE {
            return Ok((found, None));
        }
    }
}

/// The labels of up to `limit` visible children of `target`, ascending, from the label of `from` on.
fn ordered<V: ReadView, T: Data>(
    state: &mut Interface<V>,
    target: &Target,
    from: Option<&T>,
    limit: usize,
) -> Result<Vec<T>, ReadError> {
    let mut found = Vec::new();
    // The closure cannot return an error, so the first error is stored here.
    let mut failure = None;
    let from = from.map(Data::to_data).unwrap_or_default();
    walk(state, target.id, &from, |id, label| {
        if found.len() < limit {
            match T::from_data(label) {
                Ok(key) => found.push(key),
                Err(error) => failure = Some(ReadError::Data { id, error }),
            }
        }
        found.len() < limit && failure.is_none()
    })?;
    failure.map_or(Ok(found), Err)
}

macro_rules! maps {
    ($($(#[$doc:meta])* $name:ident, $child:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct $name<K, H> {
            target: Target,
            of: PhantomData<(K, H)>,
        }

        handle!($name<K, H>);

        impl<K: Data, H: Handle> $name<K, H> {
            /// Creates the collection, so that its parent lists it among its keys. Writing its contents does
            /// not require this.
            pub fn create(&self) -> Operation {
                create(&self.target, Collection::$name)
            }

            /// The handle of the entry of `key`, whether or not the entry exists yet.
            pub fn entry(&self, key: &K) -> H {
                H::at(self.target.$child(&key.to_data()))
            }

            /// Deletes the entry of `key`, and all of its descendants that are known here.
            pub fn remove(&self, key: &K) -> Operation {
                Operation::Delete { target: self.target.$child(&key.to_data()) }
            }

            /// Whether there is an entry of `key`.
            pub fn contains<V: ReadView>(&self, state: &mut Interface<V>, key: &K) -> Result<bool, ReadError> {
                Ok(state.is_visible(self.target.$child(&key.to_data()).id)?)
            }
        }
    )*};
}

maps! {
    /// Entries by key, each a value or a collection of its own.
    Map, child;
    /// A map that can be read in the order of its keys.
    SortedMap, ordered_child;
}

impl<K: Data, H: Handle> Map<K, H> {
    /// All keys, in an arbitrary order that is equal on all replicas. O(n).
    pub fn keys<V: ReadView>(&self, state: &mut Interface<V>) -> Result<Vec<K>, ReadError> {
        Ok(page(state, &self.target, None, usize::MAX)?.0)
    }

    /// Up to `limit` keys, and the id to pass as `after` for the next page; `None` after the last page.
    /// O(limit + log n).
    pub fn page<V: ReadView>(
        &self,
        state: &mut Interface<V>,
        after: Option<EntityId>,
        limit: usize,
    ) -> Result<(Vec<K>, Option<EntityId>), ReadError> {
        page(state, &self.target, after, limit)
    }
}

impl<K: Data, H: Handle> SortedMap<K, H> {
    /// Up to `limit` keys from `from` on, or from the first, ascending. O(limit + log n).
    pub fn keys<V: ReadView>(
        &self,
        state: &mut Interface<V>,
        from: Option<&K>,
        limit: usize,
    ) -> Result<Vec<K>, ReadError> {
        ordered(state, &self.target, from, limit)
    }
}

macro_rules! sets {
    ($($(#[$doc:meta])* $name:ident, $child:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct $name<T> {
            target: Target,
            of: PhantomData<T>,
        }

        handle!($name<T>);

        impl<T: Data> $name<T> {
            /// Creates the collection, so that its parent lists it among its keys. Writing its contents does
            /// not require this.
            pub fn create(&self) -> Operation {
                create(&self.target, Collection::$name)
            }

            /// Adds an element to the set.
            pub fn insert(&self, element: &T) -> Operation {
                Operation::AddElement { target: self.target.$child(&element.to_data()) }
            }

            /// Removes an element from the set. Only the adds that are known here are removed.
            pub fn remove(&self, element: &T) -> Operation {
                Operation::RemoveElement { target: self.target.$child(&element.to_data()) }
            }

            /// Whether the element is in the set. O(depth).
            pub fn contains<V: ReadView>(
                &self,
                state: &mut Interface<V>,
                element: &T,
            ) -> Result<bool, ReadError> {
                Ok(state.is_visible(self.target.$child(&element.to_data()).id)?)
            }
        }
    )*};
}

sets! {
    /// Elements that are added and removed; an add that no remove has seen wins.
    Set, child;
    /// A set that can be read in the order of its elements.
    SortedSet, ordered_child;
}

impl<T: Data> Set<T> {
    /// All elements, in an arbitrary order that is equal on all replicas. O(n).
    pub fn elements<V: ReadView>(&self, state: &mut Interface<V>) -> Result<Vec<T>, ReadError> {
        Ok(page(state, &self.target, None, usize::MAX)?.0)
    }
}

impl<T: Data> SortedSet<T> {
    /// Up to `limit` elements from `from` on, or from the first, ascending. O(limit + log n).
    pub fn elements<V: ReadView>(
        &self,
        state: &mut Interface<V>,
        from: Option<&T>,
        limit: usize,
    ) -> Result<Vec<T>, ReadError> {
        ordered(state, &self.target, from, limit)
    }
}

/// Items in an order that the application determines. Insertions do not change the relative order of existing
/// items.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List<H> {
    target: Target,
    of: PhantomData<H>,
}

handle!(List<H>);

impl<H: Handle> List<H> {
    /// Creates the collection, so that its parent lists it among its keys. Writing its contents does not
    /// require this.
    pub fn create(&self) -> Operation {
        create(&self.target, Collection::List)
    }

    /// Deletes the `at`-th item.
    pub fn remove(&self, at: usize) -> Operation {
        Operation::DeleteItem { list: self.target.clone(), at }
    }

    /// Up to `limit` items from the `at`-th on. O(at + limit).
    pub fn items<V: ReadView>(
        &self,
        state: &mut Interface<V>,
        at: usize,
        limit: usize,
    ) -> Result<Vec<H>, ReadError> {
        let mut seen = 0;
        let mut found = Vec::new();
        items(state, self.target.id, |_, label| {
            if seen >= at && found.len() < limit {
                found.push(H::at(self.target.ordered_child(label)));
            }
            seen += 1;
            found.len() < limit
        })?;
        Ok(found)
    }

    /// The number of items. O(n).
    pub fn len<V: ReadView>(&self, state: &mut Interface<V>) -> Result<usize, ReadError> {
        let mut count = 0;
        items(state, self.target.id, |_, _| {
            count += 1;
            true
        })?;
        Ok(count)
    }
}

impl<H: ListItem> List<H> {
    /// Inserts an item before the `at`-th; at the length of the list, appends.
    pub fn insert(&self, at: usize, start: H::Start) -> Operation {
        Operation::InsertItem { list: self.target.clone(), at, item: H::item(start) }
    }
}

macro_rules! nested {
    ($($name:ident<$($param:ident),*>, $collection:ident;)*) => {$(
        impl<$($param),*> ListItem for $name<$($param),*> {
            type Start = ();

            fn item((): ()) -> Item {
                Item::Collection(Collection::$collection)
            }
        }
    )*};
}

nested! {
    Map<K, H>, Map;
    SortedMap<K, H>, SortedMap;
    Set<T>, Set;
    SortedSet<T>, SortedSet;
    List<H>, List;
}

/// One value for each replica, which only that replica may write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserStorage<T> {
    target: Target,
    of: PhantomData<T>,
}

handle!(UserStorage<T>);

impl<T: Data> UserStorage<T> {
    /// Creates the collection, so that its parent lists it among its keys. Writing its contents does not
    /// require this.
    pub fn create(&self) -> Operation {
        create(&self.target, Collection::UserStorage)
    }

    /// Sets the value of the replica that executes the operation.
    pub fn set(&self, value: &T) -> Operation {
        Operation::SetOwn { storage: self.target.clone(), bytes: value.to_data() }
    }

    /// The value of `owner`, if there is one.
    pub fn get<V: ReadView>(
        &self,
        state: &mut Interface<V>,
        owner: ReplicaId,
    ) -> Result<Option<T>, ReadError> {
        let target = self.target.child(owner.as_bytes());
        let Some(record) = visible(state, &target)? else { return Ok(None) };
        match &record.value {
            Value::User(owned) if owned.owner == owner => {
                let data = T::from_data(owned.register.bytes());
                data.map(Some).map_err(|error| ReadError::Data { id: target.id, error })
            }
            _ => Err(wrong_type(&target, &record, CrdtType::UserValue)),
        }
    }
}

/// Values by key that are each set once and never change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrozenStorage<K, T> {
    target: Target,
    of: PhantomData<(K, T)>,
}

handle!(FrozenStorage<K, T>);

impl<K: Data, T: Data> FrozenStorage<K, T> {
    /// Creates the collection, so that its parent lists it among its keys. Writing its contents does not
    /// require this.
    pub fn create(&self) -> Operation {
        create(&self.target, Collection::FrozenStorage)
    }

    /// The handle of the value of `key`, whether or not it is set yet.
    pub fn entry(&self, key: &K) -> Frozen<T> {
        Frozen::at(self.target.child(&key.to_data()))
    }

    /// All keys, in an arbitrary order that is equal on all replicas. O(n).
    pub fn keys<V: ReadView>(&self, state: &mut Interface<V>) -> Result<Vec<K>, ReadError> {
        Ok(page(state, &self.target, None, usize::MAX)?.0)
    }
}
