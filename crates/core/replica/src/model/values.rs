//! Handles for single values.

use super::{Data, ListItem, ReadError, handle, visible, wrong};
use crate::target::Target;
use crate::{Item, Operation};
use std::marker::PhantomData;
use syncline_crdt::{CrdtType, Value};
use syncline_storage::Interface;
use syncline_store::ReadView;

macro_rules! registers {
    ($($(#[$doc:meta])* $name:ident, $set:ident, $operation:ident, $value:ident, $kind:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct $name<T> {
            target: Target,
            of: PhantomData<T>,
        }

        handle!($name<T>);

        impl<T: Data> $name<T> {
            /// Writes a value.
            pub fn $set(&self, value: &T) -> Operation {
                Operation::$operation { target: self.target.clone(), bytes: value.to_data() }
            }

            /// The value, if there is one.
            pub fn get<V: ReadView>(&self, state: &mut Interface<V>) -> Result<Option<T>, ReadError> {
                let Some(record) = visible(state, &self.target)? else { return Ok(None) };
                let Value::$value(register) = &record.value else {
                    return Err(wrong(&self.target, &record, CrdtType::$kind));
                };
                let data = T::from_data(register.bytes());
                data.map(Some).map_err(|error| ReadError::Data { id: self.target.id, error })
            }
        }
    )*};
}

registers! {
    /// One value; the last writer wins.
    Register, set, Set, Lww, LwwRegister;
    /// One value that is set once; of several writers the earliest wins.
    Frozen, freeze, Freeze, Frozen, FrozenValue;
    /// Bytes of which no type is told: a register that is counted as such.
    Opaque, set, SetOpaque, Opaque, Opaque;
}

impl<T: Data> ListItem for Register<T> {
    type Start = T;

    fn item(start: T) -> Item {
        Item::Bytes(start.to_data())
    }
}

/// A counter that only grows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrowCounter {
    target: Target,
    of: PhantomData<()>,
}

handle!(GrowCounter);

impl GrowCounter {
    /// Adds to it.
    pub fn add(&self, by: u64) -> Operation {
        Operation::Increment { target: self.target.clone(), by }
    }

    /// What all replicas have counted together; zero if nobody has.
    pub fn get<V: ReadView>(&self, state: &mut Interface<V>) -> Result<u128, ReadError> {
        match visible(state, &self.target)? {
            None => Ok(0),
            Some(record) => match &record.value {
                Value::GCounter(counter) => Ok(counter.total()),
                _ => Err(wrong(&self.target, &record, CrdtType::GCounter)),
            },
        }
    }
}

/// A counter that goes both ways.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counter {
    target: Target,
    of: PhantomData<()>,
}

handle!(Counter);

impl Counter {
    /// Adds to it, or takes from it.
    pub fn add(&self, by: i64) -> Operation {
        Operation::Change { target: self.target.clone(), by }
    }

    /// What all replicas have counted together; zero if nobody has.
    pub fn get<V: ReadView>(&self, state: &mut Interface<V>) -> Result<i128, ReadError> {
        match visible(state, &self.target)? {
            None => Ok(0),
            Some(record) => match &record.value {
                Value::PnCounter(counter) => Ok(counter.total()),
                _ => Err(wrong(&self.target, &record, CrdtType::PnCounter)),
            },
        }
    }
}

/// Text that several people edit at once. Positions count characters (Unicode scalar values).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text {
    target: Target,
    of: PhantomData<()>,
}

handle!(Text);

impl Text {
    /// Inserts before the `at`-th character; at the length of the text, appends.
    pub fn insert(&self, at: usize, text: &str) -> Operation {
        Operation::InsertText { target: self.target.clone(), at, text: text.to_owned() }
    }

    /// Deletes `count` characters from the `at`-th on.
    pub fn remove(&self, at: usize, count: usize) -> Operation {
        Operation::DeleteText { target: self.target.clone(), at, count }
    }

    /// The text; empty if nobody has written.
    pub fn get<V: ReadView>(&self, state: &mut Interface<V>) -> Result<String, ReadError> {
        match visible(state, &self.target)? {
            None => Ok(String::new()),
            Some(record) => match &record.value {
                Value::Rga(text) => Ok(text.to_string()),
                _ => Err(wrong(&self.target, &record, CrdtType::Rga)),
            },
        }
    }
}

/// A value of the application's own type, merged by the function that is registered under its name
/// (see [`Merges`](crate::Merges)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Merged {
    target: Target,
    of: PhantomData<()>,
}

handle!(Merged);

impl Merged {
    /// Merges `state` of the type `name` into what is here.
    pub fn merge(&self, name: &str, state: &[u8]) -> Operation {
        Operation::Merge { target: self.target.clone(), name: name.to_owned(), bytes: state.to_vec() }
    }

    /// The merged state, if there is one.
    pub fn get<V: ReadView>(&self, state: &mut Interface<V>) -> Result<Option<Vec<u8>>, ReadError> {
        match visible(state, &self.target)? {
            None => Ok(None),
            Some(record) => match &record.value {
                Value::Custom(custom) => Ok(Some(custom.bytes.clone())),
                _ => Err(wrong(&self.target, &record, CrdtType::Custom)),
            },
        }
    }
}
