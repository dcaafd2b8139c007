//! Actions: changes to single entities, made by applications and carried by deltas.

use super::{Label, Record, check_size, payload_bytes};
use crate::error::Malformed;
use syncline_crdt::{CrdtType, Value};
use syncline_types::{Decode, DecodeError, Encode, EntityId, Hlc, Limits, Reader, Writer, limits};

/// The stamps and the label of a write. They travel with the data (**I10**).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// When the entity was created; [`Hlc::MAX`] if the writer does not know.
    pub created_at: Hlc,
    /// When this write happened; [`Hlc::ZERO`] for a change that does not make the entity live, such as the
    /// removal of a set element.
    pub updated_at: Hlc,
    /// The label of the entity among its siblings.
    pub label: Label,
}

/// A change to one entity.
///
/// `ancestors` is the path from the child of the root down to the parent of the entity. With the path, a
/// change can be applied before, after or without the changes to the ancestors. `value` is joined into the
/// value of the entity.
#[allow(missing_docs, reason = "the names of the fields say what they hold")]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Creates an entity with a value.
    Add { id: EntityId, ancestors: Vec<EntityId>, value: Value, metadata: Metadata },
    /// Changes the value of an entity.
    Update { id: EntityId, ancestors: Vec<EntityId>, value: Value, metadata: Metadata },
    /// Deletes an entity, and hides its descendants that were written before `deleted_at`.
    DeleteRef { id: EntityId, ancestors: Vec<EntityId>, deleted_at: Hlc },
}

impl Action {
    /// The entity that the action changes.
    pub const fn id(&self) -> EntityId {
        match self {
            Self::Add { id, .. } | Self::Update { id, .. } | Self::DeleteRef { id, .. } => *id,
        }
    }

    /// The path from the child of the root down to the parent of the entity.
    pub fn ancestors(&self) -> &[EntityId] {
        match self {
            Self::Add { ancestors, .. }
            | Self::Update { ancestors, .. }
            | Self::DeleteRef { ancestors, .. } => ancestors,
        }
    }

    /// The same action without the first `above` ancestors.
    pub(crate) fn without_first(mut self, above: usize) -> Self {
        let (Self::Add { ancestors, .. }
        | Self::Update { ancestors, .. }
        | Self::DeleteRef { ancestors, .. }) = &mut self;
        ancestors.drain(..above.min(ancestors.len()));
        self
    }

    /// The same action with these ancestors above the ones that it names.
    pub(crate) fn below(mut self, above: &[EntityId]) -> Self {
        let (Self::Add { ancestors, .. }
        | Self::Update { ancestors, .. }
        | Self::DeleteRef { ancestors, .. }) = &mut self;
        ancestors.splice(..0, above.iter().copied());
        self
    }

    /// All entities whose records the action reads: the ancestors, then the entity itself.
    pub fn entities(&self) -> impl Iterator<Item = EntityId> {
        self.ancestors().iter().copied().chain([self.id()])
    }

    /// Refuses a write whose value or label is above the limits of the replica that makes it.
    ///
    /// # Errors
    /// The limit that the write exceeds.
    pub fn check_limits(&self, limits: &Limits) -> Result<(), Malformed> {
        // A delete has neither.
        let (Self::Add { value, metadata, .. } | Self::Update { value, metadata, .. }) = self else {
            return Ok(());
        };
        let id = self.id();
        check_size(id, payload_bytes(value), limits.value_bytes())?;
        let bytes = metadata.label.bytes().map_or(0, |label| label.len());
        let limit = limits.label_bytes();
        if bytes > limit { Err(Malformed::LabelTooLong { id, bytes, limit }) } else { Ok(()) }
    }

    /// The record whose join applies the action.
    ///
    /// # Errors
    /// The rule that the action breaks.
    pub fn to_record(&self) -> Result<Record, Malformed> {
        let id = self.id();
        let ancestors = self.ancestors();
        let depth = if id == EntityId::ROOT { 0 } else { ancestors.len() as u64 + 1 };
        if ancestors.len() > limits::MAX_ANCESTORS {
            return Err(Malformed::TooDeep { id, depth });
        }
        let is_cyclic = ancestors.contains(&id) || ancestors.contains(&EntityId::ROOT);
        let below_root = id == EntityId::ROOT && !ancestors.is_empty();
        if is_cyclic || below_root || has_repeats(ancestors) {
            return Err(Malformed::Path { id });
        }
        let parent = ancestors.last().copied().unwrap_or(EntityId::ROOT);
        let mut record = Record::placeholder(depth as u32, parent);
        match self {
            Self::Add { value, metadata, .. } | Self::Update { value, metadata, .. } => {
                if value.crdt_type() == CrdtType::Placeholder {
                    return Err(Malformed::NoValue { id });
                }
                record.created_at = metadata.created_at;
                record.updated_at = metadata.updated_at;
                record.label.clone_from(&metadata.label);
                record.value = value.clone();
            }
            Self::DeleteRef { deleted_at, .. } => record.deleted_at = *deleted_at,
        }
        record.check_write(id)?;
        Ok(record)
    }
}

/// Whether an entity is on the path more than once.
fn has_repeats(path: &[EntityId]) -> bool {
    let mut sorted = path.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
}

impl Encode for Action {
    fn encode(&self, out: &mut Writer) {
        out.u8(match self {
            Self::Add { .. } => 0,
            Self::DeleteRef { .. } => 2,
            Self::Update { .. } => 3,
        });
        self.id().encode(out);
        out.list(self.ancestors());
        match self {
            Self::Add { value, metadata, .. } | Self::Update { value, metadata, .. } => {
                // The codec of records writes the value and its stamps; a position at depth one costs two bytes.
                Record {
                    created_at: metadata.created_at,
                    updated_at: metadata.updated_at,
                    label: metadata.label.clone(),
                    value: value.clone(),
                    ..Record::placeholder(1, EntityId::ROOT)
                }
                .encode(out);
            }
            Self::DeleteRef { deleted_at, .. } => deleted_at.encode(out),
        }
    }
}

impl Decode for Action {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = input.u8()?;
        let id = EntityId::decode(input)?;
        let ancestors = input.list(limits::MAX_ANCESTORS, "the path of an action")?;
        if tag == 2 {
            return Ok(Self::DeleteRef { id, ancestors, deleted_at: Hlc::decode(input)? });
        }
        let record = Record::decode(input)?;
        // `encode` writes neither a position nor a delete, so other bytes would not round-trip.
        if record.depth != 1 || record.deleted_at != Hlc::ZERO {
            return Err(DecodeError::NotCanonical { what: "an action" });
        }
        let Record { created_at, updated_at, label, value, .. } = record;
        let metadata = Metadata { created_at, updated_at, label };
        match tag {
            0 => Ok(Self::Add { id, ancestors, value, metadata }),
            3 => Ok(Self::Update { id, ancestors, value, metadata }),
            _ => Err(DecodeError::UnknownTag { what: "kind of action", found: u64::from(tag) }),
        }
    }
}
