//! What an application asks for, and the actions that make it so.

use syncline_crdt::{CounterOverflow, Element, GCounter, PnCounter, Register, Value};
use syncline_storage::{Action, Interface, Metadata, StorageError};
use syncline_store::ReadView;
use syncline_types::{EntityId, Hlc, limits};

/// An entity and the path to it: its ancestors from below the root down to its parent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Target {
    /// The entity.
    pub id: EntityId,
    /// The path to it.
    pub ancestors: Vec<EntityId>,
}

impl Target {
    /// A child of the root.
    pub const fn top(id: EntityId) -> Self {
        Self { id, ancestors: Vec::new() }
    }

    /// The child of this entity that is called `key`: a map's entry, a set's element.
    pub fn child(&self, key: &[u8]) -> Self {
        let mut ancestors = self.ancestors.clone();
        ancestors.push(self.id);
        Self { id: EntityId::child_of(self.id, key), ancestors }
    }
}

/// A change that an application asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Sets a register.
    Set {
        /// Which.
        target: Target,
        /// To what.
        bytes: Vec<u8>,
    },
    /// Adds to a growing counter.
    Increment {
        /// Which.
        target: Target,
        /// How much.
        by: u64,
    },
    /// Changes a counter either way.
    Change {
        /// Which.
        target: Target,
        /// By how much.
        by: i64,
    },
    /// Makes the entity a map. Its entries are its children: see [`Target::child`].
    CreateMap {
        /// Which.
        target: Target,
    },
    /// Makes the entity a set. Its elements are its children: see [`Target::child`].
    CreateSet {
        /// Which.
        target: Target,
    },
    /// Adds an element to its set.
    AddElement {
        /// The element.
        target: Target,
    },
    /// Removes an element from its set, as far as its adds are known here.
    RemoveElement {
        /// The element.
        target: Target,
    },
    /// Deletes an entity and all below it that is known here.
    Delete {
        /// Which.
        target: Target,
    },
}

/// Why an operation cannot be done. Nothing of its batch was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OperationError {
    /// The entity holds a value of another type, which this operation would not change.
    #[error("{id} is a {found}; the operation needs a {needed}")]
    WrongType {
        /// The entity.
        id: EntityId,
        /// What it is.
        found: syncline_crdt::CrdtType,
        /// What it would have to be.
        needed: syncline_crdt::CrdtType,
    },
    /// A counter is full.
    #[error(transparent)]
    Overflow(#[from] CounterOverflow),
    /// The batch holds more operations than one delta may.
    #[error("{found} operations in one write; the limit is {}", limits::MAX_ACTIONS_PER_DELTA)]
    TooMany {
        /// How many.
        found: usize,
    },
    /// The operations together take more bytes than one delta may.
    #[error("a write of {bytes} bytes; the limit is {}", limits::MAX_DELTA_BYTES)]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// This replica has written as often as one replica may. Go on under another id.
    #[error("this replica has written {} times, which is as often as one may", limits::MAX_DELTA_SEQ)]
    SequenceExhausted,
    /// The operation breaks a rule of the state.
    #[error(transparent)]
    Malformed(#[from] syncline_storage::Malformed),
    /// The state itself failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Operation {
    /// The entity it changes.
    pub const fn target(&self) -> &Target {
        match self {
            Self::Set { target, .. }
            | Self::Increment { target, .. }
            | Self::Change { target, .. }
            | Self::CreateMap { target }
            | Self::CreateSet { target }
            | Self::AddElement { target }
            | Self::RemoveElement { target }
            | Self::Delete { target } => target,
        }
    }

    /// The action that does it, given the state it is done to and the stamp it is done at.
    pub fn to_action<V: ReadView>(
        &self,
        state: &mut Interface<V>,
        stamp: Hlc,
    ) -> Result<Action, OperationError> {
        let Target { id, ancestors } = self.target().clone();
        let own = state.record(id)?.map(|record| record.value.clone()).unwrap_or_default();
        let empty = own == Value::Empty;
        let replica = stamp.replica();
        let wrong = |needed: Value| OperationError::WrongType {
            id,
            found: own.crdt_type(),
            needed: needed.crdt_type(),
        };
        let (value, updated_at) = match (self, &own) {
            (Self::Delete { .. }, _) => return Ok(Action::DeleteRef { id, ancestors, deleted_at: stamp }),
            (Self::Set { bytes, .. }, Value::Empty | Value::Lww(_)) => {
                (Value::Lww(Register::new(stamp, bytes.clone())), stamp)
            }
            (Self::Increment { by, .. }, Value::Empty) => {
                (Value::GCounter(GCounter::of(replica, *by)), stamp)
            }
            (Self::Increment { by, .. }, Value::GCounter(counter)) => {
                (Value::GCounter(counter.increment(replica, *by)?), stamp)
            }
            (Self::Change { by, .. }, Value::Empty) => {
                (Value::PnCounter(PnCounter::default().change(replica, *by)?), stamp)
            }
            (Self::Change { by, .. }, Value::PnCounter(counter)) => {
                (Value::PnCounter(counter.change(replica, *by)?), stamp)
            }
            (Self::CreateMap { .. }, Value::Empty | Value::Map) => (Value::Map, stamp),
            (Self::CreateSet { .. }, Value::Empty | Value::Set) => (Value::Set, stamp),
            (Self::AddElement { .. }, Value::Empty | Value::Element(_)) => {
                (Value::Element(Element::added(stamp)), stamp)
            }
            (Self::RemoveElement { .. }, Value::Empty) => (Value::Element(Element::default()), Hlc::ZERO),
            (Self::RemoveElement { .. }, Value::Element(element)) => {
                (Value::Element(element.removed()), Hlc::ZERO)
            }
            (Self::Set { .. }, _) => return Err(wrong(Value::Lww(Register::default()))),
            (Self::Increment { .. }, _) => return Err(wrong(Value::GCounter(GCounter::default()))),
            (Self::Change { .. }, _) => return Err(wrong(Value::PnCounter(PnCounter::default()))),
            (Self::CreateMap { .. }, _) => return Err(wrong(Value::Map)),
            (Self::CreateSet { .. }, _) => return Err(wrong(Value::Set)),
            (Self::AddElement { .. } | Self::RemoveElement { .. }, _) => {
                return Err(wrong(Value::Element(Element::default())));
            }
        };
        let created_at = if empty && updated_at != Hlc::ZERO { stamp } else { Hlc::MAX };
        let metadata = Metadata { created_at, updated_at };
        let action = if empty {
            Action::Add { id, ancestors, value, metadata }
        } else {
            Action::Update { id, ancestors, value, metadata }
        };
        action.to_record()?;
        Ok(action)
    }
}
