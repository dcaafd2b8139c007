//! The operations that an application requests, and the actions that execute them.

use super::{Target, list};
use crate::clock_guard::ImplausibleClock;
use syncline_crdt::{
    CounterOverflow, CrdtType, Custom, Element, GCounter, OutOfText, OwnedRegister, PnCounter, Register,
    Text, Value,
};
use syncline_storage::{Action, Interface, Malformed, Merges, Metadata, StorageError};
use syncline_store::ReadView;
use syncline_types::{EntityId, Hlc, HlcClock, Moment, limits};

/// A change that an application requests. Positions and lengths of texts count characters (Unicode scalar
/// values); positions in lists count items.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names of the fields say all; `target` is the entity that changes")]
pub enum Operation {
    /// Sets the value of a register.
    Set { target: Target, bytes: Vec<u8> },
    /// Sets bytes of an unknown type. They are stored as a register and counted in the statistics.
    SetOpaque { target: Target, bytes: Vec<u8> },
    /// Adds to a counter that only grows.
    Increment { target: Target, by: u64 },
    /// Adds to a counter that can be incremented and decremented; `by` may be negative.
    Change { target: Target, by: i64 },
    /// Makes the entity a collection. Its contents are its children: see [`Target::child`].
    Create { target: Target, collection: Collection },
    /// Adds the element `target` to its set.
    AddElement { target: Target },
    /// Removes the element `target` from its set. Only the adds that are known here are removed.
    RemoveElement { target: Target },
    /// Inserts an item before the `at`-th of a list; an `at` equal to the length of the list appends.
    InsertItem { list: Target, at: usize, item: Item },
    /// Deletes the `at`-th item of a list.
    DeleteItem { list: Target, at: usize },
    /// Inserts text before the `at`-th character; an `at` equal to the length of the text appends.
    InsertText { target: Target, at: usize, text: String },
    /// Deletes `count` characters of a text, from the `at`-th on.
    DeleteText { target: Target, at: usize, count: usize },
    /// Sets the value that this replica owns in a user storage.
    SetOwn { storage: Target, bytes: Vec<u8> },
    /// Sets a value that never changes afterwards. If several replicas set it, the earliest write wins.
    Freeze { target: Target, bytes: Vec<u8> },
    /// Merges the state `bytes` into a value of the application-defined type `name`. The merge function need
    /// not be registered here.
    Merge { target: Target, name: String, bytes: Vec<u8> },
    /// Deletes an entity and all of its descendants that are known here.
    Delete { target: Target },
}

/// A kind of collection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Collection {
    /// Entries by key, in no order.
    Map,
    /// Entries by key, read in the order of their keys.
    SortedMap,
    /// Elements, added and removed.
    Set,
    /// Elements, added and removed, read in order.
    SortedSet,
    /// Items in an order that the application determines.
    List,
    /// One value for each replica, which only that replica may write.
    UserStorage,
    /// Values that never change.
    FrozenStorage,
}

impl Collection {
    const fn value(self) -> Value {
        match self {
            Self::Map => Value::Map,
            Self::SortedMap => Value::SortedMap,
            Self::Set => Value::Set,
            Self::SortedSet => Value::SortedSet,
            Self::List => Value::Vector,
            Self::UserStorage => Value::UserStorage,
            Self::FrozenStorage => Value::FrozenStorage,
        }
    }
}

/// The initial value of a list item.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// A register with these bytes.
    Bytes(Vec<u8>),
    /// An empty collection.
    Collection(Collection),
}

/// Why an operation is refused. No operation of the same write was executed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the names of the fields and the messages say all")]
pub enum OperationError {
    /// The entity has a value of another type, which this operation cannot change.
    #[error("{id} is a {found}; the operation needs a {needed}")]
    WrongType { id: EntityId, found: CrdtType, needed: CrdtType },
    /// The new count of a counter overflows.
    #[error(transparent)]
    Overflow(#[from] CounterOverflow),
    /// An edit lies beyond the end of its text.
    #[error(transparent)]
    OutOfText(#[from] OutOfText),
    /// The index `at` is beyond the end of a list of `len` items.
    #[error("item {at} is beyond the end of the list {list}, which has {len} items")]
    OutOfList { list: EntityId, at: usize, len: usize },
    /// The positions in a list are not positions that replicas make: there is no position between two of
    /// them.
    #[error("the list {list} has positions between which nothing can be inserted")]
    DamagedList { list: EntityId },
    /// The value was set once and for all.
    #[error("{id} is frozen already")]
    Frozen { id: EntityId },
    /// The write contains more operations than one delta may.
    #[error("{found} operations in one write; the limit is {limit}")]
    TooMany { found: usize, limit: usize },
    /// The operations together take more bytes than one delta may.
    #[error("a write of {bytes} bytes; the limit is {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// The sequence numbers of this replica are exhausted. Continue under another id.
    #[error(
        "this replica has used all {} sequence numbers; continue under another id",
        limits::MAX_DELTA_SEQ
    )]
    SequenceExhausted,
    /// This replica is not a member of the context, or not any more: no other replica would accept the write.
    #[error("this replica is not a member of the context")]
    NotAMember,
    /// The host does not replicate the context that the write is for.
    #[error("this host does not replicate the context")]
    NoSuchContext,
    /// The replica has started on an empty store and has no state yet. The others might refuse a write now as
    /// left behind; try again once the replica has synced.
    #[error("this replica has yet to catch up with its peers; try again later")]
    CatchingUp,
    /// The wall clock is implausible: peers would refuse a stamp made from it. Set the clock, or tell the replica to
    /// trust it: see [`Event::TrustClock`](crate::Event::TrustClock).
    #[error(transparent)]
    ImplausibleClock(#[from] ImplausibleClock),
    /// The operation breaks a rule of the state.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The state cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl OperationError {
    /// Whether the write exceeds one of the limits of this replica.
    pub const fn is_too_large(&self) -> bool {
        matches!(
            self,
            Self::TooMany { .. }
                | Self::TooLarge { .. }
                | Self::Malformed(Malformed::ValueTooLarge { .. } | Malformed::LabelTooLong { .. })
        )
    }
}

impl Operation {
    /// The entity that the operation names: what changes, or the list or user storage that it is in.
    pub const fn named_target(&self) -> &Target {
        match self {
            Self::Set { target, .. }
            | Self::SetOpaque { target, .. }
            | Self::Increment { target, .. }
            | Self::Change { target, .. }
            | Self::Create { target, .. }
            | Self::AddElement { target }
            | Self::RemoveElement { target }
            | Self::InsertText { target, .. }
            | Self::DeleteText { target, .. }
            | Self::Freeze { target, .. }
            | Self::Merge { target, .. }
            | Self::Delete { target }
            | Self::SetOwn { storage: target, .. }
            | Self::InsertItem { list: target, .. }
            | Self::DeleteItem { list: target, .. } => target,
        }
    }

    /// The action that executes this operation in `state`. The clock first observes every stamp in the
    /// changed record, so the stamp of the action is later than all of them.
    pub fn to_action<V: ReadView>(
        &self,
        state: &mut Interface<V>,
        clock: &mut HlcClock,
        moment: Moment,
    ) -> Result<Action, OperationError> {
        let target = self.target(state, clock, moment)?;
        let Target { mut id, ancestors, label } = target;
        if syncline_types::canary!(IdsByReplica) {
            id = EntityId::child_of(id, clock.replica().as_bytes());
        }
        let record = state.record(id)?;
        if let Some(record) = &record {
            clock.observe(record.latest_stamp());
        }
        let stamp = clock.tick(moment);
        debug_assert!(
            record.as_ref().is_none_or(|record| record.latest_stamp() < stamp) || clock.last() == u64::MAX,
            "a write is later than all that the record holds"
        );
        if matches!(self, Self::Delete { .. } | Self::DeleteItem { .. }) {
            return Ok(Action::DeleteRef { id, ancestors, deleted_at: stamp });
        }
        let own = record.map(|record| record.value.clone()).unwrap_or_default();
        if let (Self::Freeze { .. }, Value::Frozen(_)) = (self, &own) {
            return Err(OperationError::Frozen { id });
        }
        let seen = state.is_visible(id)?;
        let empty = own == Value::Empty;
        let value = match &own {
            // The characters of a deleted text must not reappear together with the new ones.
            Value::Rga(text) if !seen && self.is_edit() => Value::Rga(self.edit_cleared(text, stamp)?),
            own => self.value(id, own, stamp, state.merges())?,
        };
        // Removing an element is not a write: it must not make the element live again.
        let updated_at = if matches!(self, Self::RemoveElement { .. }) { Hlc::ZERO } else { stamp };
        // Creation stamps join by minimum: `Hlc::MAX` leaves the one of the record.
        let created_at = if empty && updated_at != Hlc::ZERO { stamp } else { Hlc::MAX };
        let metadata = Metadata { created_at, updated_at, label };
        let action = if empty {
            Action::Add { id, ancestors, value, metadata }
        } else {
            Action::Update { id, ancestors, value, metadata }
        };
        // The rules of records are checked here, where the error can still be reported to the application.
        action.to_record()?;
        Ok(action)
    }

    /// The entity that this operation changes.
    fn target<V: ReadView>(
        &self,
        state: &mut Interface<V>,
        clock: &mut HlcClock,
        moment: Moment,
    ) -> Result<Target, OperationError> {
        Ok(match self {
            Self::SetOwn { storage, .. } => storage.child(clock.replica().as_bytes()),
            Self::InsertItem { list, at, .. } => list::new_item(state, list, *at, clock.tick(moment))?,
            Self::DeleteItem { list, at } => list::item(state, list, *at)?,
            _ => self.named_target().clone(),
        })
    }

    /// The value to join into `own`, the present value of `id`.
    fn value(&self, id: EntityId, own: &Value, stamp: Hlc, merges: &Merges) -> Result<Value, OperationError> {
        let replica = stamp.replica();
        let register = |bytes: &[u8]| Register::new(stamp, bytes);
        // The valid combinations come first; the remaining cases are operations on a value of another type.
        let needed = match (self, own) {
            (Self::Set { bytes, .. }, Value::Empty | Value::Lww(_)) => {
                return Ok(Value::Lww(register(bytes)));
            }
            (Self::SetOpaque { bytes, .. }, Value::Empty | Value::Opaque(_)) => {
                return Ok(Value::Opaque(register(bytes)));
            }
            (Self::Freeze { bytes, .. }, Value::Empty | Value::Frozen(_)) => {
                return Ok(Value::Frozen(register(bytes)));
            }
            (Self::SetOwn { bytes, .. }, Value::Empty | Value::User(_)) => {
                return Ok(Value::User(OwnedRegister { owner: replica, register: register(bytes) }));
            }
            (Self::Merge { name, bytes, .. }, Value::Empty) => {
                return Ok(Value::Custom(Custom::written(name.as_str(), stamp, bytes.as_slice())));
            }
            (Self::Merge { name, bytes, .. }, Value::Custom(custom)) if custom.name() == name => {
                return Ok(Value::Custom(merges.write(custom, stamp, bytes)));
            }
            (Self::Increment { by, .. }, Value::Empty) => {
                return Ok(Value::GCounter(GCounter::of(replica, *by)));
            }
            (Self::Increment { by, .. }, Value::GCounter(counter)) => {
                return Ok(Value::GCounter(counter.increment(replica, *by)?));
            }
            (Self::Change { by, .. }, Value::Empty) => {
                return Ok(Value::PnCounter(PnCounter::default().change(replica, *by)?));
            }
            (Self::Change { by, .. }, Value::PnCounter(counter)) => {
                return Ok(Value::PnCounter(counter.change(replica, *by)?));
            }
            (Self::InsertText { .. } | Self::DeleteText { .. }, Value::Empty) => {
                return Ok(Value::Rga(self.edit(&Text::default(), stamp)?));
            }
            (Self::InsertText { .. } | Self::DeleteText { .. }, Value::Rga(own)) => {
                return Ok(Value::Rga(self.edit(own, stamp)?));
            }
            (Self::AddElement { .. }, Value::Empty | Value::Element(_)) => {
                return Ok(Value::Element(Element::added(stamp)));
            }
            (Self::RemoveElement { .. }, Value::Empty) => return Ok(Value::Element(Element::default())),
            (Self::RemoveElement { .. }, Value::Element(element)) => {
                return Ok(Value::Element(element.removed()));
            }
            (Self::InsertItem { item: Item::Bytes(bytes), .. }, _) => return Ok(Value::Lww(register(bytes))),
            (Self::InsertItem { item: Item::Collection(collection), .. }, _) => return Ok(collection.value()),
            (Self::Create { collection, .. }, own) => {
                let value = collection.value();
                if *own == Value::Empty || *own == value {
                    return Ok(value);
                }
                value.crdt_type()
            }
            (Self::Set { .. }, _) => CrdtType::LwwRegister,
            (Self::SetOpaque { .. }, _) => CrdtType::Opaque,
            (Self::Freeze { .. }, _) => CrdtType::FrozenValue,
            (Self::SetOwn { .. }, _) => CrdtType::UserValue,
            (Self::Merge { .. }, _) => CrdtType::Custom,
            (Self::Increment { .. }, _) => CrdtType::GCounter,
            (Self::Change { .. }, _) => CrdtType::PnCounter,
            (Self::InsertText { .. } | Self::DeleteText { .. }, _) => CrdtType::Rga,
            (Self::AddElement { .. } | Self::RemoveElement { .. }, _) => CrdtType::SetElement,
            (Self::Delete { .. } | Self::DeleteItem { .. }, _) => {
                debug_assert!(false, "a delete carries no value");
                return Ok(Value::Empty);
            }
        };
        Err(OperationError::WrongType { id, found: own.crdt_type(), needed })
    }

    /// Like [`Self::edit`], for a text that was deleted: all its characters are deleted permanently.
    fn edit_cleared(&self, own: &Text, stamp: Hlc) -> Result<Text, OutOfText> {
        // The positions of the edit refer to the visible text, which is empty. The edit is therefore made on
        // the text after the deletion of all its characters, and the result contains both changes.
        let mut delta = own.clear();
        let mut empty = own.clone();
        empty.join(&delta);
        delta.join(&self.edit(&empty, stamp)?);
        Ok(delta)
    }

    const fn is_edit(&self) -> bool {
        matches!(self, Self::InsertText { .. } | Self::DeleteText { .. })
    }

    /// The delta that this edit joins into the text `own`.
    fn edit(&self, own: &Text, stamp: Hlc) -> Result<Text, OutOfText> {
        match self {
            Self::InsertText { at, text, .. } => own.insert(*at, text, stamp),
            Self::DeleteText { at, count, .. } => own.delete(*at, *count),
            _ => {
                debug_assert!(false, "only edits change a text");
                Ok(Text::default())
            }
        }
    }
}
