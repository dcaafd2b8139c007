//! One record: its join, its rules, and the actions that make it.

mod action;
mod display;
mod label;
mod record_codec;
mod relative_action;
mod text_codec;

pub use action::{Action, Metadata};
pub use display::BytesPreview;
pub use label::Label;
pub use record_codec::own_hash;
pub use relative_action::RelativeAction;

use crate::error::Malformed;
use syncline_crdt::{CrdtType, Register, Value};
use syncline_types::{DriftError, EntityId, Hlc, Moment, limits};

/// Everything that is known about one entity. Each field is a join-semilattice, so the record is one.
///
/// `depth` and `parent` are the position of the entity in the tree. If writers disagree on it, the smaller
/// pair wins everywhere. A parent is always at a smaller depth than its child, so a disagreement cannot make
/// a cycle or an orphan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Distance from the root: 1 for a child of the root. Joined, with `parent`, by minimum.
    pub depth: u32,
    /// The parent of the entity; the root is its own parent.
    pub parent: EntityId,
    /// The earliest known creation; [`Hlc::MAX`] while none is known. Joined by minimum.
    pub created_at: Hlc,
    /// The latest write; [`Hlc::ZERO`] before the first. Joined by maximum.
    pub updated_at: Hlc,
    /// The latest delete; [`Hlc::ZERO`] before the first. Joined by maximum.
    pub deleted_at: Hlc,
    /// The label among the siblings. Joined by maximum.
    pub label: Label,
    /// The value, joined by the rule of its type.
    pub value: Value,
}

impl Record {
    /// A record that contains only the position of an entity. It stands for an ancestor until the record of
    /// the ancestor arrives. It is the least record at its position.
    pub const fn placeholder(depth: u32, parent: EntityId) -> Self {
        Self {
            depth,
            parent,
            created_at: Hlc::MAX,
            updated_at: Hlc::ZERO,
            deleted_at: Hlc::ZERO,
            label: Label::None,
            value: Value::Empty,
        }
    }

    /// The type of the value.
    pub const fn crdt_type(&self) -> CrdtType {
        self.value.crdt_type()
    }

    /// Whether the last write is later than the last delete; at equal stamps the delete wins. An element of a
    /// set must also be present. A frozen value and a value with an owner cannot be deleted by themselves,
    /// only together with their collection.
    pub fn is_live(&self) -> bool {
        match &self.value {
            Value::Element(element) => {
                self.updated_at > self.deleted_at && element.is_present_after(self.deleted_at)
            }
            Value::Frozen(_) | Value::User(_) => self.updated_at > Hlc::ZERO,
            _ => self.updated_at > self.deleted_at,
        }
    }

    /// Replaces `self` by its least upper bound with `other`. Returns whether `self` changed. Idempotent,
    /// commutative and associative.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        if (other.depth, other.parent) < (self.depth, self.parent) {
            self.depth = other.depth;
            self.parent = other.parent;
            changed = true;
        }
        changed |= replace_if(&mut self.created_at, other.created_at, |new, old| new < old);
        changed |= replace_if(&mut self.updated_at, other.updated_at, |new, old| new > old);
        if replace_if(&mut self.deleted_at, other.deleted_at, |new, old| new > old) {
            changed = true;
            self.drop_unobservable();
        }
        if other.label > self.label {
            self.label.clone_from(&other.label);
            changed = true;
        }
        changed | self.join_value(&other.value)
    }

    /// Forgets what was written if `other` has a value of another type that proves it collected.
    ///
    /// A write later than the horizon `collected` was made by a replica that had seen everything up to that horizon. It can
    /// have another type only where the older content was deleted and collected. By their types alone, the later write
    /// could lose. Returns whether there was anything to forget.
    pub(crate) fn forget_content_replaced_by(&mut self, other: &Self, collected: Hlc) -> bool {
        let is_later = self.updated_at <= collected && other.updated_at > collected;
        let is_replaced = is_later && self.value != Value::Empty && other.value != Value::Empty;
        if is_replaced {
            self.created_at = Hlc::MAX;
            self.updated_at = Hlc::ZERO;
            self.label = Label::None;
            self.value = Value::Empty;
        }
        is_replaced
    }

    /// Empties a register that was written before the last delete.
    ///
    /// No later join can make such a register observable, because both stamps only grow. Applied after each
    /// join, this gives the same record in every order of arrival. Values of all other types stay: a later
    /// join could still need them.
    pub fn drop_unobservable(&mut self) {
        if let Value::Lww(register) | Value::Opaque(register) = &mut self.value
            && register.stamp() <= self.deleted_at
        {
            *register = Register::default();
        }
    }

    /// Whether [`Record::drop_unobservable`] would change nothing.
    pub(crate) fn is_observable(&self) -> bool {
        match &self.value {
            Value::Lww(register) | Value::Opaque(register) => {
                register.stamp() > self.deleted_at || *register == Register::default()
            }
            _ => true,
        }
    }

    fn join_value(&mut self, incoming: &Value) -> bool {
        // Only the type of an unobservable register is joined, which is what `drop_unobservable` would leave of
        // it: else the result would depend on whether the delete or the register arrived first.
        match incoming {
            Value::Lww(register) if register.stamp() <= self.deleted_at => {
                self.value.join(&Value::Lww(Register::default()))
            }
            Value::Opaque(register) if register.stamp() <= self.deleted_at => {
                self.value.join(&Value::Opaque(Register::default()))
            }
            _ => self.value.join(incoming),
        }
    }

    /// The stamp of the last change, if the record is a tombstone that contains nothing that a later join
    /// could need.
    ///
    /// The last delete must be at least as late as the last write. A set element that was removed is no
    /// tombstone in this sense: a removal has no stamp of its own, so it is unknown which replicas have seen
    /// it.
    pub fn tombstone_stamp(&self) -> Option<Hlc> {
        let dead = self.deleted_at > Hlc::ZERO && self.deleted_at >= self.updated_at;
        (dead && self.is_collectable()).then(|| self.latest_stamp())
    }

    /// Whether the type of the value permits the collection of a tombstone. It does not for counters, texts
    /// and custom values, whose content could come back different after a collection, nor for user values and
    /// frozen values, which are deleted only with their collection.
    pub const fn is_collectable(&self) -> bool {
        !matches!(
            self.value,
            Value::GCounter(_)
                | Value::PnCounter(_)
                | Value::Rga(_)
                | Value::Custom(_)
                | Value::User(_)
                | Value::Frozen(_)
        )
    }

    /// Refuses a record with a stamp more than `limit_ms` milliseconds ahead of the local clock.
    pub fn check_drift(&self, moment: Moment, limit_ms: u64) -> Result<(), DriftError> {
        self.latest_stamp().check_drift(moment, limit_ms)
    }

    /// The latest stamp in the record, which the clock of a replica that has seen the record must exceed.
    pub fn latest_stamp(&self) -> Hlc {
        let created = if self.created_at == Hlc::MAX { Hlc::ZERO } else { self.created_at };
        created.max(self.updated_at).max(self.deleted_at).max(self.value.latest_stamp())
    }

    /// Whether one who has collected up to the horizon may have collected a part of this record. A position without content
    /// shows nothing. Later parts keep a record visible, but for those of a set: each add counts by itself.
    pub fn may_be_collected(&self, horizon: Hlc) -> bool {
        let latest = self.latest_stamp();
        let is_old = latest != Hlc::ZERO && latest <= horizon;
        let has_old_add = || match &self.value {
            Value::Element(element) => element
                .entries()
                .any(|(_, presence)| presence.added > presence.removed && presence.added <= horizon.time()),
            _ => false,
        };
        is_old || (horizon != Hlc::ZERO && has_old_add())
    }

    /// Refuses a record for `id` that no honest replica makes: a wrong position, a register that is newer than
    /// its record, a foreign owner, or a value or label above its limit.
    pub fn check(&self, id: EntityId) -> Result<(), Malformed> {
        let at_root = id == EntityId::ROOT;
        let parent_is_root = self.parent == EntityId::ROOT;
        if at_root != (self.depth == 0)
            || self.parent == id && !at_root
            || parent_is_root != (self.depth <= 1)
        {
            return Err(Malformed::Path { id });
        }
        if self.depth as usize > limits::MAX_ANCESTORS {
            return Err(Malformed::TooDeep { id, depth: u64::from(self.depth) });
        }
        let bytes = match &self.value {
            Value::Lww(register) | Value::Opaque(register) => {
                if register.stamp() > self.updated_at {
                    return Err(Malformed::ValueAfterRecord { id });
                }
                register.bytes().len()
            }
            Value::User(owned) => {
                if owned.register.stamp().replica() != owned.owner {
                    return Err(Malformed::NotOwner { id, owner: owned.owner });
                }
                owned.register.bytes().len()
            }
            Value::Frozen(register) => register.bytes().len(),
            Value::Custom(custom) if custom.latest_stamp() > self.updated_at => {
                return Err(Malformed::ValueAfterRecord { id });
            }
            // Values that grow by joining are bounded where they are written: see `check_write`.
            _ => 0,
        };
        check_size(id, bytes, limits::MAX_VALUE_BYTES)?;
        if let Value::Custom(custom) = &self.value
            && custom.name().len() > limits::MAX_TYPE_NAME_BYTES
        {
            let limit = limits::MAX_TYPE_NAME_BYTES;
            return Err(Malformed::LabelTooLong { id, bytes: custom.name().len(), limit });
        }
        if let Some(label) = self.label.bytes().filter(|label| label.len() > limits::MAX_LABEL_BYTES) {
            let limit = limits::MAX_LABEL_BYTES;
            return Err(Malformed::LabelTooLong { id, bytes: label.len(), limit });
        }
        Ok(())
    }

    /// Refuses a single write that is too large. A record that was joined from many writes may be larger:
    /// no limit is closed under join, so a limit on joined records would refuse honest states.
    pub fn check_write(&self, id: EntityId) -> Result<(), Malformed> {
        self.check(id)?;
        let bytes = match &self.value {
            Value::Custom(_) | Value::Rga(_) => payload_bytes(&self.value),
            // `check` has bounded these.
            _ => 0,
        };
        check_size(id, bytes, limits::MAX_VALUE_BYTES)?;
        if let Value::Custom(custom) = &self.value {
            let operands = custom.operands();
            if operands.len() != 1 || operands.first().is_some_and(|(stamp, _)| *stamp != self.updated_at) {
                return Err(Malformed::Operands { id, found: operands.len() });
            }
        }
        let found = self.value.replicas();
        if found > limits::MAX_REPLICAS {
            return Err(Malformed::TooManyReplicas { id, found });
        }
        Ok(())
    }
}

/// The bytes that a value takes, if writes of its type may be of any size; otherwise zero.
pub(super) fn payload_bytes(value: &Value) -> usize {
    match value {
        Value::Lww(register) | Value::Opaque(register) | Value::Frozen(register) => register.bytes().len(),
        Value::User(owned) => owned.register.bytes().len(),
        Value::Custom(custom) => custom.bytes(),
        Value::Rga(text) => {
            let runs: usize = text.runs().map(|(_, run)| run.chars.len() + 32).sum();
            runs + text.deleted().map(|(_, ranges)| 32 + ranges.len() * 2).sum::<usize>()
        }
        _ => 0,
    }
}

/// Refuses a value above its limit.
const fn check_size(id: EntityId, bytes: usize, limit: usize) -> Result<(), Malformed> {
    if bytes > limit { Err(Malformed::ValueTooLarge { id, bytes, limit }) } else { Ok(()) }
}

/// Replaces `current` by `incoming` if that wins. Returns whether it did.
fn replace_if(current: &mut Hlc, incoming: Hlc, wins: impl Fn(Hlc, Hlc) -> bool) -> bool {
    let wins = wins(incoming, *current);
    if wins {
        *current = incoming;
    }
    wins
}
