//! One record and its join.

use crate::error::Malformed;
use crate::label::Label;
use syncline_crdt::{CrdtType, Custom, Merges, Register, Value};
use syncline_types::{DriftError, EntityId, Hlc, Moment, limits};

/// Everything known of one entity. Each field is a semilattice, so the record is one.
///
/// `depth` and `parent` say where the entity hangs. If writers disagree, the smaller pair wins
/// everywhere: since a parent always sits at a smaller depth than its child, no disagreement can
/// make a cycle or an orphan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Distance from the root: 1 for a child of the root. Joined, with `parent`, by minimum.
    pub depth: u32,
    /// The entity it hangs under.
    pub parent: EntityId,
    /// The earliest known creation; [`Hlc::MAX`] until one is known. Joined by minimum.
    pub created_at: Hlc,
    /// The latest write; [`Hlc::ZERO`] before one. Joined by maximum.
    pub updated_at: Hlc,
    /// The latest delete; [`Hlc::ZERO`] before one. Joined by maximum.
    pub deleted_at: Hlc,
    /// What the parent calls it. Joined by maximum.
    pub label: Label,
    /// The payload, joined by the rule of its type.
    pub value: Value,
}

impl Record {
    /// A record that says only where an entity hangs: what an ancestor is until its own record
    /// arrives.
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

    /// The type of the payload.
    pub const fn crdt_type(&self) -> CrdtType {
        self.value.crdt_type()
    }

    /// Whether the last write came after the last delete; at a tie the delete wins. An element of a
    /// set must be present too. A frozen value and one that only its owner writes cannot be deleted
    /// by themselves, only with the collection they are in.
    pub fn is_live(&self) -> bool {
        match &self.value {
            Value::Element(element) => element.is_present() && self.updated_at > self.deleted_at,
            Value::Frozen(_) | Value::User(_) => self.updated_at > Hlc::ZERO,
            _ => self.updated_at > self.deleted_at,
        }
    }

    /// Joins `other` in; `merges` merges the application's own types. Says whether anything changed.
    pub fn join(&mut self, other: &Self, merges: &Merges) -> bool {
        let mut changed = false;
        if (other.depth, other.parent) < (self.depth, self.parent) {
            (self.depth, self.parent) = (other.depth, other.parent);
            changed = true;
        }
        changed |= keep(&mut self.created_at, other.created_at, |new, own| new < own);
        changed |= keep(&mut self.updated_at, other.updated_at, |new, own| new > own);
        if keep(&mut self.deleted_at, other.deleted_at, |new, own| new > own) {
            changed = true;
            self.drop_unobservable();
        }
        if other.label > self.label {
            self.label.clone_from(&other.label);
            changed = true;
        }
        changed | self.join_value(&other.value, merges)
    }

    /// A register that was written before the delete can never be seen again, whatever arrives
    /// later, so a tombstone does not keep it. Applied after each join it gives the same record in
    /// every order. All other types are kept: a later join could still need them.
    pub fn drop_unobservable(&mut self) {
        if let Value::Lww(register) | Value::Opaque(register) = &mut self.value
            && register.stamp() <= self.deleted_at
        {
            *register = Register::default();
        }
    }

    /// Whether [`Record::drop_unobservable`] would leave it as it is.
    pub(crate) fn is_observable(&self) -> bool {
        match &self.value {
            Value::Lww(register) | Value::Opaque(register) => {
                register.stamp() > self.deleted_at || *register == Register::default()
            }
            _ => true,
        }
    }

    fn join_value(&mut self, incoming: &Value, merges: &Merges) -> bool {
        match incoming {
            Value::Lww(register) if register.stamp() <= self.deleted_at => {
                self.value.join(&Value::Lww(Register::default()), merges)
            }
            Value::Opaque(register) if register.stamp() <= self.deleted_at => {
                self.value.join(&Value::Opaque(Register::default()), merges)
            }
            _ => self.value.join(incoming, merges),
        }
    }

    /// Refuses stamps from beyond the drift limit.
    pub fn check_drift(&self, moment: Moment, limit_ms: u64) -> Result<(), DriftError> {
        self.latest_stamp().check_drift(moment, limit_ms)
    }

    /// The latest stamp that the record holds; what a clock that saw it must exceed.
    pub fn latest_stamp(&self) -> Hlc {
        let created = if self.created_at == Hlc::MAX { Hlc::ZERO } else { self.created_at };
        created.max(self.updated_at).max(self.deleted_at).max(self.value.latest_stamp())
    }

    /// Refuses a record for `id` that no honest replica makes.
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
            // What grows by joining is bounded where it is written: see `check_write`.
            _ => 0,
        };
        if bytes > limits::MAX_VALUE_BYTES {
            return Err(Malformed::ValueTooLarge { id, bytes });
        }
        if let Value::Custom(Custom { name, .. }) = &self.value
            && name.len() > limits::MAX_TYPE_NAME_BYTES
        {
            return Err(Malformed::LabelTooLong { id, bytes: name.len() });
        }
        if let Some(label) = self.label.bytes().filter(|label| label.len() > limits::MAX_LABEL_BYTES) {
            return Err(Malformed::LabelTooLong { id, bytes: label.len() });
        }
        Ok(())
    }

    /// Refuses a single write that is too large. Records that were joined from many writes may be
    /// larger: a bound on those would have to hold for every join of what keeps it, and none does.
    pub fn check_write(&self, id: EntityId) -> Result<(), Malformed> {
        self.check(id)?;
        let bytes = match &self.value {
            Value::Custom(custom) => custom.bytes.len(),
            Value::Rga(text) => {
                let runs: usize = text.runs().map(|(_, run)| run.chars.len() + 32).sum();
                runs + text.deleted().map(|(_, ranges)| 32 + ranges.len() * 2).sum::<usize>()
            }
            _ => 0,
        };
        if bytes > limits::MAX_VALUE_BYTES {
            return Err(Malformed::ValueTooLarge { id, bytes });
        }
        let found = self.value.replicas();
        if found > limits::MAX_REPLICAS {
            return Err(Malformed::TooManyReplicas { id, found });
        }
        Ok(())
    }
}

fn keep(own: &mut Hlc, incoming: Hlc, better: impl Fn(Hlc, Hlc) -> bool) -> bool {
    let wins = better(incoming, *own);
    if wins {
        *own = incoming;
    }
    wins
}
