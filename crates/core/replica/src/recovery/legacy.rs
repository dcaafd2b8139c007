//! The rows of a legacy: the writes of a former id that others may lack.

use syncline_storage::{Action, StorageError, keys};
use syncline_store::{Key, ReadView, WriteBatch};
use syncline_sync::{Delta, Dot};
use syncline_types::{Decode, DecodeError, Encode, EntityId, Reader, ReplicaId, Writer, limits};

/// The first byte of all rows of legacies.
const LEGACY: u8 = keys::METADATA + 3;

/// What is known of a former id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FormerId {
    /// The first of its writes that may have to be written again.
    pub(crate) first: u64,
    /// The last of its writes.
    pub(crate) last: u64,
    /// Once it is known: the time of the last write that others have. What the former id did up to then, it did in its
    /// own name.
    pub(crate) known_until: Option<u64>,
}

/// The increments and decrements of a former id before a change of a counter; `None` for other changes, and if the old
/// store did not tell.
pub(crate) type CountBefore = Option<(u64, u64)>;

/// What the old store told about a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ChangeContext {
    pub(crate) counted_before: CountBefore,
    /// The ancestors above those that the action names; `None` if the old store had collected them.
    pub(crate) above: Option<Vec<EntityId>>,
}

/// A write of a former id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LegacyWrite {
    /// The delta, as the former id made and signed it.
    pub(crate) delta: Delta,
    /// For each action of the delta.
    pub(crate) contexts: Vec<ChangeContext>,
}

impl FormerId {
    fn key(former: ReplicaId) -> Key {
        Key::of(&[&[LEGACY], former.as_bytes()])
    }

    /// Writes the row of the former id.
    pub(crate) fn write(&self, former: ReplicaId, batch: &mut WriteBatch) {
        let mut row = Writer::default();
        row.varint(self.first);
        row.varint(self.last);
        row.bool(self.known_until.is_some());
        if let Some(time) = self.known_until {
            row.varint(time);
        }
        batch.put(Self::key(former), row.into_bytes());
    }

    /// Deletes the row: nothing of the former id is left to do.
    pub(crate) fn delete(former: ReplicaId, batch: &mut WriteBatch) {
        batch.delete(Self::key(former));
    }

    /// The row of a former id; `None` if the store has no legacy of it.
    pub(crate) fn read<V: ReadView>(view: &V, former: ReplicaId) -> Result<Option<Self>, StorageError> {
        let row = view.read(&Self::key(former))?;
        row.map(|row| Self::decode(&row)).transpose().map_err(damaged("a former id"))
    }

    /// The first former id from `from` on whose legacy is in the store.
    pub(crate) fn next<V: ReadView>(
        view: &V,
        from: ReplicaId,
    ) -> Result<Option<(ReplicaId, Self)>, StorageError> {
        // The row of an id orders before the rows of its writes, and each id has one.
        let rows = view.range(&Self::key(from), &[LEGACY + 1], 1)?;
        let Some((key, row)) = rows.into_iter().next() else { return Ok(None) };
        let former = key.split_first().and_then(|(_, id)| id.try_into().ok()).map(ReplicaId);
        let Some(former) = former else {
            return Err(StorageError::Index { what: "a legacy write without its id" });
        };
        Ok(Some((former, Self::decode(&row).map_err(damaged("a former id"))?)))
    }

    fn decode(row: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(row);
        let first = input.varint()?;
        let last = input.varint()?;
        let known_until = if input.bool("a former id")? { Some(input.varint()?) } else { None };
        input.finish()?;
        Ok(Self { first, last, known_until })
    }
}

impl LegacyWrite {
    fn key(dot: Dot) -> Key {
        Key::of(&[&[LEGACY], dot.author.as_bytes(), &dot.seq.to_be_bytes()])
    }

    /// Writes the row of the write at `dot`. Returns the number of bytes.
    pub(crate) fn write(&self, dot: Dot, batch: &mut WriteBatch) -> usize {
        let row = self.to_bytes();
        let bytes = row.len();
        batch.put(Self::key(dot), row);
        bytes
    }

    /// The changes with their whole paths; `None` for one below an entity that was collected: it was deleted with
    /// this entity.
    pub(crate) fn changes(&self) -> impl Iterator<Item = (Option<Action>, CountBefore)> {
        self.delta.actions.iter().zip(&self.contexts).map(|(relative, context)| {
            let action = context.above.as_ref().map(|above| relative.below(above));
            (action, context.counted_before)
        })
    }

    /// Deletes the row of the write at `dot`.
    pub(crate) fn delete(dot: Dot, batch: &mut WriteBatch) {
        batch.delete(Self::key(dot));
    }

    /// The write at `dot`.
    pub(crate) fn read<V: ReadView>(view: &V, dot: Dot) -> Result<Self, StorageError> {
        let row = view.read(&Self::key(dot))?;
        let row = row.ok_or(StorageError::Index { what: "a legacy write" })?;
        Self::from_bytes(&row).map_err(damaged("a legacy write"))
    }
}

/// The error of a row that does not decode.
pub(super) fn damaged(what: &'static str) -> impl FnOnce(DecodeError) -> StorageError {
    move |error| StorageError::Row { what, error }
}

/// Copies up to `limit` rows of legacies from the row after `after` on. Returns the key of the last one.
pub(super) fn copy_page<V: ReadView>(
    view: &V,
    after: Option<&Key>,
    limit: usize,
    batch: &mut WriteBatch,
) -> Result<Option<Key>, StorageError> {
    let from = after.map_or_else(|| Key::of(&[&[LEGACY]]), |after| Key::of(&[after, &[0]]));
    let rows = view.range(&from, &[LEGACY + 1], limit)?;
    let last = rows.last().map(|(key, _)| key.clone());
    rows.into_iter().for_each(|(key, row)| batch.put(key, row));
    Ok(last)
}

impl Encode for LegacyWrite {
    fn encode(&self, out: &mut Writer) {
        debug_assert_eq!(self.contexts.len(), self.delta.actions.len(), "one context for each action");
        self.delta.encode(out);
        for ChangeContext { counted_before, above } in &self.contexts {
            out.bool(counted_before.is_some());
            if let Some((added, taken)) = counted_before {
                out.varint(*added);
                out.varint(*taken);
            }
            out.bool(above.is_some());
            if let Some(above) = above {
                out.list(above);
            }
        }
    }
}

impl Decode for LegacyWrite {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let delta = Delta::decode(input)?;
        let mut contexts = Vec::with_capacity(delta.actions.len());
        for _ in &delta.actions {
            let is_counted = input.bool("a count")?;
            let counted_before = if is_counted { Some((input.varint()?, input.varint()?)) } else { None };
            let is_there = input.bool("a path")?;
            let above = is_there.then(|| input.list(limits::MAX_ANCESTORS, "a path")).transpose()?;
            contexts.push(ChangeContext { counted_before, above });
        }
        Ok(Self { delta, contexts })
    }
}
