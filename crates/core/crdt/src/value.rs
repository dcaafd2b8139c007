//! The payload of a record, and its type.

use crate::{Element, GCounter, Merges, PnCounter, Register, Text};
use std::fmt;
use syncline_types::{Hlc, ReplicaId};

/// What kind of value an entity holds. The order matters: when replicas disagree on the type of an
/// entity, the greatest type wins everywhere, whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum CrdtType {
    /// Known only as an ancestor of something; its own record has not arrived. The bottom.
    Placeholder = 0,
    /// Last writer wins.
    LwwRegister = 1,
    /// Grow-only counter.
    GCounter = 2,
    /// Counter that goes both ways.
    PnCounter = 3,
    /// A map: its entries are child entities, each with a value of its own.
    UnorderedMap = 4,
    /// A set: its elements are child entities of type [`CrdtType::SetElement`].
    UnorderedSet = 5,
    /// One element of a set.
    SetElement = 6,
    /// A map whose entries can be read in the order of their keys.
    SortedMap = 7,
    /// A set whose elements can be read in their order.
    SortedSet = 8,
    /// A list: its items are child entities, ordered by position.
    Vector = 9,
    /// Text that several people edit at once.
    Rga = 10,
    /// A place for one value of each replica, which only that replica writes: its entries are child
    /// entities of type [`CrdtType::UserValue`].
    UserStorage = 11,
    /// A value that only its owner writes.
    UserValue = 12,
    /// A place for values that never change: its entries are child entities of type
    /// [`CrdtType::FrozenValue`].
    FrozenStorage = 13,
    /// A value that is set once: the first write wins.
    FrozenValue = 14,
    /// A type of the application's own, merged by its own function.
    Custom = 15,
    /// Bytes whose type nobody has told. They are kept as a register, and counted.
    Opaque = 16,
}

impl CrdtType {
    /// Every type, ascending.
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

    /// The type with this tag.
    pub fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.get(usize::from(tag)).copied()
    }

    /// The tag of the type; part of every record's encoding.
    pub const fn tag(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for CrdtType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A value of some type. [`Value::Empty`] is the bottom: joining it changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Value {
    /// Nothing yet.
    #[default]
    Empty,
    /// Last writer wins.
    Lww(Register),
    /// Grow-only counter.
    GCounter(GCounter),
    /// Counter that goes both ways.
    PnCounter(PnCounter),
    /// The entity is a map.
    Map,
    /// The entity is a set.
    Set,
    /// The entity is an element of a set.
    Element(Element),
    /// The entity is a sorted map.
    SortedMap,
    /// The entity is a sorted set.
    SortedSet,
    /// The entity is a list.
    Vector,
    /// Text that several people edit at once.
    Rga(Text),
    /// The entity is a place for one value of each replica.
    UserStorage,
    /// A value that only its owner writes.
    User(Owned),
    /// The entity is a place for values that never change.
    FrozenStorage,
    /// The first write wins, by the order of stamps and bytes and not by that of arrival.
    Frozen(Register),
    /// A type of the application's own.
    Custom(Custom),
    /// Bytes of unknown type: last writer wins.
    Opaque(Register),
}

/// A value that only its owner writes. A register in all else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owned {
    /// Who may write it.
    pub owner: ReplicaId,
    /// What the owner wrote.
    pub register: Register,
}

/// A value of an application's own type.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Custom {
    /// The name of the type, under which its merge function is registered.
    pub name: String,
    /// The state.
    pub bytes: Vec<u8>,
}

impl Value {
    /// The type of the value.
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

    /// Joins `other` in: values of one type by the rule of the type, values of two types by
    /// keeping the greater type whole. `merges` merges the application's own types. Says whether
    /// anything changed.
    pub fn join(&mut self, other: &Self, merges: &Merges) -> bool {
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
            // One place has one owner unless somebody lies; then the greater name owns it everywhere.
            (Self::User(own), Self::User(incoming)) => replace_if(own, incoming, incoming.owner > own.owner),
            (Self::Frozen(own), Self::Frozen(incoming)) => {
                let earlier = (incoming.stamp(), incoming.bytes()) < (own.stamp(), own.bytes());
                let later = syncline_types::canary!(FrozenByLastWriter) && own != incoming && !earlier;
                replace_if(own, incoming, later || earlier && !syncline_types::canary!(FrozenByLastWriter))
            }
            (Self::Custom(own), Self::Custom(incoming)) if own.name == incoming.name => {
                if own.bytes == incoming.bytes {
                    return false;
                }
                let merged = if syncline_types::canary!(CustomByLastWriter) {
                    incoming.bytes.clone()
                } else {
                    merges.merge(&own.name, &own.bytes, &incoming.bytes)
                };
                let changed = merged != own.bytes;
                own.bytes = merged;
                changed
            }
            (Self::Custom(own), Self::Custom(incoming)) => {
                replace_if(own, incoming, incoming.name > own.name)
            }
            _ if greater_type => {
                self.clone_from(other);
                true
            }
            _ => false,
        }
    }

    /// How many replicas have an entry of their own in it.
    pub fn replicas(&self) -> usize {
        match self {
            Self::GCounter(counter) => counter.entries().len(),
            Self::PnCounter(counter) => counter.entries().len(),
            Self::Element(element) => element.entries().len(),
            _ => 0,
        }
    }

    /// The latest stamp inside the value itself.
    pub fn latest_stamp(&self) -> Hlc {
        match self {
            Self::Lww(register) | Self::Frozen(register) | Self::Opaque(register) => register.stamp(),
            Self::User(owned) => owned.register.stamp(),
            Self::Rga(text) => text.latest_stamp(),
            Self::Element(element) => {
                let stamps = element.entries().map(|(replica, presence)| {
                    let time = presence.added.max(presence.removed);
                    Hlc::new(time >> 16, time as u16, replica)
                });
                stamps.max().unwrap_or(Hlc::ZERO)
            }
            _ => Hlc::ZERO,
        }
    }
}

fn replace_if<T: Clone>(own: &mut T, incoming: &T, better: bool) -> bool {
    if better {
        own.clone_from(incoming);
    }
    better
}
