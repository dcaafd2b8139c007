//! The payload of a record, and its type.

use crate::{Element, GCounter, PnCounter, Register};
use std::fmt;
use syncline_types::Hlc;

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
}

impl CrdtType {
    /// Every type, ascending.
    pub const ALL: [Self; 7] = [
        Self::Placeholder,
        Self::LwwRegister,
        Self::GCounter,
        Self::PnCounter,
        Self::UnorderedMap,
        Self::UnorderedSet,
        Self::SetElement,
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
        }
    }

    /// Joins `other` in: values of one type by the rule of the type, values of two types by
    /// keeping the greater type whole. Says whether anything changed.
    pub fn join(&mut self, other: &Self) -> bool {
        let greater_type = other.crdt_type() > self.crdt_type();
        match (&mut *self, other) {
            (Self::Lww(own), Self::Lww(incoming)) => own.join(incoming),
            (Self::GCounter(own), Self::GCounter(incoming)) => own.join(incoming),
            (Self::PnCounter(own), Self::PnCounter(incoming)) => own.join(incoming),
            (Self::Element(own), Self::Element(incoming)) => own.join(incoming),
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
            Self::Lww(register) => register.stamp(),
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
