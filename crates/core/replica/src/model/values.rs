//! Typed handles of single values.

use super::{Data, ListItem, ReadError, handle, visible, wrong_type};
use crate::Target;
use crate::{Item, Operation};
use std::marker::PhantomData;
use syncline_crdt::{CrdtType, Custom, Value};
use syncline_storage::Interface;
use syncline_store::ReadView;
use syncline_types::Hlc;

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
            /// Writes a value of the handle's type.
            pub fn $set(&self, value: &T) -> Operation {
                Operation::$operation { target: self.target.clone(), bytes: value.to_data() }
            }

            /// The visible value; `None` if no value was written or the value is deleted.
            pub fn get<V: ReadView>(&self, state: &mut Interface<V>) -> Result<Option<T>, ReadError> {
                let Some(record) = visible(state, &self.target)? else { return Ok(None) };
                let Value::$value(register) = &record.value else {
                    return Err(wrong_type(&self.target, &record, CrdtType::$kind));
                };
                let data = T::from_data(register.bytes());
                data.map(Some).map_err(|error| ReadError::Data { id: self.target.id, error })
            }
        }
    )*};
}

registers! {
    /// One value; the last write wins.
    Register, set, Set, Lww, LwwRegister;
    /// One value that is set once. If several replicas set it, the earliest write wins.
    Frozen, freeze, Freeze, Frozen, FrozenValue;
    /// Bytes of an unknown type: a register that the statistics of the state count as such.
    Opaque, set, SetOpaque, Opaque, Opaque;
}

impl<T: Data> ListItem for Register<T> {
    type Start = T;

    fn item(start: T) -> Item {
        Item::Bytes(start.to_data())
    }
}

/// A counter that only grows (G-Counter).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrowCounter {
    target: Target,
    of: PhantomData<()>,
}

handle!(GrowCounter);

impl GrowCounter {
    /// Adds to the count.
    pub fn add(&self, by: u64) -> Operation {
        Operation::Increment { target: self.target.clone(), by }
    }

    /// The sum of the counts of all replicas; zero if no replica has counted.
    pub fn get<V: ReadView>(&self, state: &mut Interface<V>) -> Result<u128, ReadError> {
        match visible(state, &self.target)? {
            None => Ok(0),
            Some(record) => match &record.value {
                Value::GCounter(counter) => Ok(counter.total()),
                _ => Err(wrong_type(&self.target, &record, CrdtType::GCounter)),
            },
        }
    }
}

/// A counter that can be incremented and decremented (PN-Counter).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counter {
    target: Target,
    of: PhantomData<()>,
}

handle!(Counter);

impl Counter {
    /// Adds to the count, or subtracts from it.
    pub fn add(&self, by: i64) -> Operation {
        Operation::Change { target: self.target.clone(), by }
    }

    /// The sum of the counts of all replicas; zero if no replica has counted.
    pub fn get<V: ReadView>(&self, state: &mut Interface<V>) -> Result<i128, ReadError> {
        match visible(state, &self.target)? {
            None => Ok(0),
            Some(record) => match &record.value {
                Value::PnCounter(counter) => Ok(counter.total()),
                _ => Err(wrong_type(&self.target, &record, CrdtType::PnCounter)),
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
    /// Inserts before the `at`-th character; an `at` equal to the length of the text appends.
    pub fn insert(&self, at: usize, text: &str) -> Operation {
        Operation::InsertText { target: self.target.clone(), at, text: text.to_owned() }
    }

    /// Deletes `count` characters from the `at`-th on.
    pub fn remove(&self, at: usize, count: usize) -> Operation {
        Operation::DeleteText { target: self.target.clone(), at, count }
    }

    /// The visible text; empty if no text was written.
    pub fn get<V: ReadView>(&self, state: &mut Interface<V>) -> Result<String, ReadError> {
        match visible(state, &self.target)? {
            None => Ok(String::new()),
            Some(record) => match &record.value {
                Value::Rga(text) => Ok(text.to_string()),
                _ => Err(wrong_type(&self.target, &record, CrdtType::Rga)),
            },
        }
    }
}

/// A value of the application's own type. What replicates are its *operands*; they are shown merged by the function
/// that is registered under the name of the type (see [`Merges`](crate::Merges)).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Merged {
    target: Target,
    of: PhantomData<()>,
}

handle!(Merged);

impl Merged {
    /// Merges `state` of the type `name` into the value.
    pub fn merge(&self, name: &str, state: &[u8]) -> Operation {
        Operation::Merge { target: self.target.clone(), name: name.to_owned(), bytes: state.to_vec() }
    }

    /// The merged state; `None` if no state was written or the value is deleted.
    ///
    /// # Errors
    /// [`ReadError::Unmerged`] if the operands cannot be merged here. [`Merged::operands`] reads them then.
    pub fn get<V: ReadView>(&self, state: &mut Interface<V>) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(custom) = self.custom(state)? else { return Ok(None) };
        let shown = state.merges().shown(&custom);
        let id = self.target.id;
        shown.map(|bytes| Some(bytes.to_vec())).map_err(|unmerged| ReadError::Unmerged { id, unmerged })
    }

    /// The operands with the stamps of their writes, in the order in which they are merged; none if no state was
    /// written or the value is deleted. Calls no merge function.
    pub fn operands<V: ReadView>(&self, state: &mut Interface<V>) -> Result<Vec<(Hlc, Vec<u8>)>, ReadError> {
        let Some(custom) = self.custom(state)? else { return Ok(Vec::new()) };
        Ok(custom.operands().into_iter().map(|(stamp, bytes)| (stamp, bytes.to_vec())).collect())
    }

    fn custom<V: ReadView>(&self, state: &mut Interface<V>) -> Result<Option<Custom>, ReadError> {
        match visible(state, &self.target)? {
            None => Ok(None),
            Some(record) => match &record.value {
                Value::Custom(custom) => Ok(Some(custom.clone())),
                _ => Err(wrong_type(&self.target, &record, CrdtType::Custom)),
            },
        }
    }
}
