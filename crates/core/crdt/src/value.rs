//! The payload of a record, and its type.

use crate::{Custom, Element, GCounter, PnCounter, Register, Text};
use std::fmt;
use syncline_types::{Hlc, ReplicaId, canary};

/// The type of the value of an entity. The order matters: if replicas disagree on the type of an entity,
/// the value of the greatest type replaces the others on all replicas.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum CrdtType {
    /// An entity that is known only as an ancestor, because its own record has not arrived. The bottom.
    Placeholder = 0,
    /// A register in which the last writer wins.
    LwwRegister = 1,
    /// A counter that can only be incremented.
    GCounter = 2,
    /// A counter that can be incremented and decremented.
    PnCounter = 3,
    /// A map: its entries are child entities, each with a value of its own.
    UnorderedMap = 4,
    /// A set: its elements are child entities of type [`CrdtType::SetElement`].
    UnorderedSet = 5,
    /// One element of a set.
    SetElement = 6,
    /// A map whose entries can be read in the order of their keys.
    SortedMap = 7,
    /// A set whose elements can be read in ascending order.
    SortedSet = 8,
    /// A list: its items are child entities, ordered by position.
    Vector = 9,
    /// A text for collaborative editing.
    Rga = 10,
    /// A collection with one value for each replica, which only that replica may write: its entries are
    /// child entities of type [`CrdtType::UserValue`].
    UserStorage = 11,
    /// A value that only its owner may write.
    UserValue = 12,
    /// A collection of immutable values: its entries are child entities of type
    /// [`CrdtType::FrozenValue`].
    FrozenStorage = 13,
    /// A value that is set once: the first write wins.
    FrozenValue = 14,
    /// An application-defined type: a set of operands, which a function of the application merges to show them.
    Custom = 15,
    /// Bytes of unknown type. They are stored as a last-writer-wins register and counted in the statistics.
    Opaque = 16,
}

impl CrdtType {
    /// All types, ascending; the index of a type is its tag.
    pub const ALL: [Self; 17] = [
        Self::Placeholder,
        Self::LwwRegister,
        Self::GCounter,
        Self::PnCounter,
        Self::UnorderedMap,
        Self::UnorderedSet,
        Self::SetElement,
        Self::SortedMap,
        Self::SortedSet,
        Self::Vector,
        Self::Rga,
        Self::UserStorage,
        Self::UserValue,
        Self::FrozenStorage,
        Self::FrozenValue,
        Self::Custom,
        Self::Opaque,
    ];

    /// Returns the type with this tag; `None` if no type has it.
    pub fn from_tag(tag: u8) -> Option<Self> {
        let found = Self::ALL.get(usize::from(tag)).copied();
        debug_assert!(found.is_none_or(|found| found.tag() == tag), "the tag of a type is its index");
        found
    }

    /// The tag of the type, which is part of the encoding of every record. Tags are never reused.
    pub const fn tag(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for CrdtType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A value of any type. [`Value::Empty`] is the bottom: a join with it changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Value {
    /// The bottom: no value has arrived.
    #[default]
    Empty,
    /// A register in which the last writer wins.
    Lww(Register),
    /// A counter that can only be incremented.
    GCounter(GCounter),
    /// A counter that can be incremented and decremented.
    PnCounter(PnCounter),
    /// A map; its entries are child entities.
    Map,
    /// A set; its elements are child entities.
    Set,
    /// The membership of one element of a set.
    Element(Element),
    /// A map that can be read in key order; its entries are child entities.
    SortedMap,
    /// A set that can be read in order; its elements are child entities.
    SortedSet,
    /// A list; its items are child entities.
    Vector,
    /// A text for collaborative editing.
    Rga(Text),
    /// A collection with one value for each replica.
    UserStorage,
    /// A value that only its owner may write.
    User(OwnedRegister),
    /// A collection of immutable values; its entries are child entities.
    FrozenStorage,
    /// An immutable value. The first write wins by the order of stamps, not by the order of arrival.
    Frozen(Register),
    /// A value of an application-defined type.
    Custom(Custom),
    /// Bytes of unknown type, in which the last writer wins.
    Opaque(Register),
}

/// A last-writer-wins register that only its owner may write. A state checks that before it joins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnedRegister {
    /// The replica that may write the register.
    pub owner: ReplicaId,
    /// The value that the owner has written last.
    pub register: Register,
}

impl Value {
    /// The type of this value.
    pub const fn crdt_type(&self) -> CrdtType {
        match self {
            Self::Empty => CrdtType::Placeholder,
            Self::Lww(_) => CrdtType::LwwRegister,
            Self::GCounter(_) => CrdtType::GCounter,
            Self::PnCounter(_) => CrdtType::PnCounter,
            Self::Map => CrdtType::UnorderedMap,
            Self::Set => CrdtType::UnorderedSet,
            Self::Element(_) => CrdtType::SetElement,
            Self::SortedMap => CrdtType::SortedMap,
            Self::SortedSet => CrdtType::SortedSet,
            Self::Vector => CrdtType::Vector,
            Self::Rga(_) => CrdtType::Rga,
            Self::UserStorage => CrdtType::UserStorage,
            Self::User(_) => CrdtType::UserValue,
            Self::FrozenStorage => CrdtType::FrozenStorage,
            Self::Frozen(_) => CrdtType::FrozenValue,
            Self::Custom(_) => CrdtType::Custom,
            Self::Opaque(_) => CrdtType::Opaque,
        }
    }

    /// Replaces `self` by the least upper bound of both. Returns whether `self` changed.
    ///
    /// Two values of one type are joined in the semilattice of that type; of two values of different
    /// types the one of the greater type wins. This is the *linear sum* of the semilattices of all
    /// types, in the order of [`CrdtType`], and the linear sum of semilattices is a semilattice:
    ///
    /// | law | reason |
    /// |---|---|
    /// | idempotence | both sides have one type, whose join is idempotent |
    /// | commutativity | the order of types is total, so that both sides select the same winner; within a type its join is commutative |
    /// | associativity | the result has the greatest type of all operands, and joins exactly the operands of that type |
    ///
    /// Owners and names extend the types in the same way: the values of each owner are one summand, and
    /// those of each application-defined type another.
    pub fn join(&mut self, other: &Self) -> bool {
        let greatest = self.crdt_type().max(other.crdt_type());
        let changed = self.join_in_type_order(other);
        debug_assert_eq!(self.crdt_type(), greatest, "the result has the greater type of both");
        changed
    }

    /// The join of [`Value::join`].
    fn join_in_type_order(&mut self, other: &Self) -> bool {
        let greater_type = other.crdt_type() > self.crdt_type();
        match (&mut *self, other) {
            (Self::Lww(own), Self::Lww(incoming)) => own.join(incoming),
            (Self::GCounter(own), Self::GCounter(incoming)) => own.join(incoming),
            (Self::PnCounter(own), Self::PnCounter(incoming)) => own.join(incoming),
            (Self::Element(own), Self::Element(incoming)) => own.join(incoming),
            (Self::Rga(own), Self::Rga(incoming)) => own.join(incoming),
            (Self::Opaque(own), Self::Opaque(incoming)) => own.join(incoming),
            (Self::User(own), Self::User(incoming)) if own.owner == incoming.owner => {
                own.register.join(&incoming.register)
            }
            // Honest replicas never give one entity two owners. If an adversary does, the greater owner
            // wins: any total order keeps the join commutative.
            (Self::User(own), Self::User(incoming)) => replace_if(own, incoming, incoming.owner > own.owner),
            (Self::Frozen(own), Self::Frozen(incoming)) => {
                if canary!(FrozenByLastWriter) {
                    return own.join(incoming);
                }
                // The dual of the register's semilattice: the minimum of the same total order.
                let earlier = (incoming.stamp(), incoming.bytes()) < (own.stamp(), own.bytes());
                replace_if(own, incoming, earlier)
            }
            (Self::Custom(own), Self::Custom(incoming)) => own.join(incoming),
            _ if greater_type => {
                self.clone_from(other);
                true
            }
            // The incoming type is smaller, or both are the same type without content: `self` is the join.
            _ => false,
        }
    }

    /// The number of replicas that have an entry in the value; zero for types without such entries.
    pub fn replicas(&self) -> usize {
        match self {
            Self::GCounter(counter) => counter.entries().len(),
            Self::PnCounter(counter) => counter.entries().len(),
            Self::Element(element) => element.entries().len(),
            Self::Custom(custom) => custom.writers().len(),
            _ => 0,
        }
    }

    /// The latest stamp inside the value; [`Hlc::ZERO`] if the value has none.
    pub fn latest_stamp(&self) -> Hlc {
        match self {
            Self::Lww(register) | Self::Frozen(register) | Self::Opaque(register) => register.stamp(),
            Self::User(owned) => owned.register.stamp(),
            Self::Rga(text) => text.latest_stamp(),
            Self::Custom(custom) => custom.latest_stamp(),
            Self::Element(element) => {
                let stamps = element.entries().map(|(replica, presence)| {
                    // An entry holds the time of a stamp and has its replica as the key: together the stamp.
                    let time = presence.added.max(presence.removed);
                    Hlc::new(time >> 16, time as u16, replica)
                });
                stamps.max().unwrap_or(Hlc::ZERO)
            }
            _ => Hlc::ZERO,
        }
    }
}

/// Replaces `own` by `incoming` if `wins`. Returns `wins`.
fn replace_if<T: Clone>(own: &mut T, incoming: &T, wins: bool) -> bool {
    if wins {
        own.clone_from(incoming);
    }
    wins
}
