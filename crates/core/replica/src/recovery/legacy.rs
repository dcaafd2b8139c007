//! The rows of a legacy: the writes of a former id that others may lack, and the records of its old store.
//!
//! The row of a former id orders before all other rows of its legacy. Those of its writes follow, by number, and then,
//! behind [`PART`], the other parts: see [`LegacyPart`].

use std::collections::BTreeMap;
use syncline_storage::{Action, StorageError, keys};
use syncline_store::{Bytes, Key, ReadView, WriteBatch};
use syncline_sync::{Delta, Dot};
use syncline_types::{Decode, DecodeError, Digest, Encode, EntityId, Hlc, Reader, ReplicaId, Writer, limits};

/// The first byte of all rows of legacies.
const LEGACY: u8 = keys::METADATA + 3;
/// Follows the id in the key of a row of a [`LegacyPart`]. No number of a write begins with it.
const PART: u8 = 0xff;
/// Separates the hash that names a branch from hashes of other content.
const BRANCH_TAG: u8 = 0x63;

/// What is known of a former id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FormerId {
    /// The first of its writes that may have to be written again.
    pub(crate) first: u64,
    /// The last of its writes.
    pub(crate) last: u64,
    /// The number from which others are known to have other writes; `u64::MAX` if there is none.
    pub(crate) other_from: u64,
    /// The horizon of the old store.
    pub(crate) horizon: Hlc,
    /// Whether nothing speaks for another life of the id: it was left behind, or ahead of time. Then its writes keep its
    /// name, so that a member that is away may have them too.
    pub(crate) has_one_life: bool,
    /// The last of its writes that the state of some peer is known to have had.
    pub(crate) shared: u64,
    /// Once the fork is known.
    pub(crate) branch: Option<Branch>,
}

/// What a former id did after the last write that others have. It is written again under a name of its own, which
/// follows from the first of these writes: whoever writes them again, and however often, the result is the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Branch {
    /// The number of the last write that others have, by the ids of deltas. Its counts are the base of later ones.
    pub(crate) fork: u64,
    /// The number of the last write that is in the state: the fork, or a later one that some peer has received as state.
    /// What the former id did up to then, it did in its own name. Of its counts that is certain only up to the fork: those
    /// of another life may have taken their place.
    pub(crate) shown: u64,
    /// The time of that write.
    pub(crate) until: u64,
    /// The name in which the later writes are written again: if the former id has one life, those that get a new time.
    pub(crate) name: ReplicaId,
    /// The next write that is to be looked for in the state: some peer may have received it as state.
    pub(crate) next_checked: u64,
    /// The next write whose counts are to be noted: those before the branch are its base.
    pub(crate) next_counted: u64,
    /// Whether the records of the old store are in the state.
    pub(crate) has_joined: bool,
    /// Whether a record could not be joined, so that the state may lack what the old store covered.
    pub(crate) has_skipped: bool,
}

impl Branch {
    /// Nobody else has anything: all that the former id wrote is restored in its own name.
    pub(crate) const fn everything(former: ReplicaId, last: u64) -> Self {
        Self {
            fork: last,
            shown: last,
            until: u64::MAX,
            name: former,
            next_checked: last + 1,
            next_counted: last + 1,
            has_joined: false,
            has_skipped: false,
        }
    }

    /// The branch of the writes of `former` after number `fork`, which was made at the time `until`. `next` is the
    /// first of them, if there is one.
    pub(crate) fn after(former: ReplicaId, fork: u64, until: u64, next: Option<&Delta>, first: u64) -> Self {
        let name = next.map_or(former, |next| {
            let digest = Digest::of_parts(BRANCH_TAG, &[former.as_bytes(), &next.id().0]);
            ReplicaId(digest.0.first_chunk().copied().unwrap_or_default())
        });
        Self {
            fork,
            shown: fork,
            until,
            name,
            next_checked: fork + 1,
            next_counted: first,
            has_joined: false,
            has_skipped: false,
        }
    }

    /// Whether all is restored in the former id's own name.
    pub(crate) const fn is_everything(&self) -> bool {
        self.until == u64::MAX
    }
}

/// A part of a legacy beside its writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LegacyPart {
    /// The records of the old store, by depth, then by id: parents come before children.
    Records = 1,
    /// The positions of records that were not joined, by id.
    Positions = 2,
    /// The counts of the former id at the fork, by counter.
    Bases = 3,
    /// The last delta of each author that the old store covered.
    Covered = 4,
    /// The new times of changes that could not keep theirs, by their old stamps.
    Times = 5,
}

/// How many rows of times one read of the store returns.
const TIMES_PER_READ: usize = 1_024;

/// Increments and decrements.
pub(crate) type Counts = (u64, u64);

/// A write of a former id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LegacyWrite {
    /// The delta, as the former id made and signed it.
    pub(crate) delta: Delta,
    /// For each action of the delta, the ancestors above those that it names; `None` if the old store had collected
    /// them.
    pub(crate) above: Vec<Option<Vec<EntityId>>>,
}

impl FormerId {
    fn key(former: ReplicaId) -> Key {
        Key::of(&[&[LEGACY], former.as_bytes()])
    }

    /// Writes the row of the former id.
    pub(crate) fn write(&self, former: ReplicaId, batch: &mut WriteBatch) {
        batch.put(Self::key(former), self.to_bytes());
    }

    /// Deletes the row: nothing of the former id is left to do.
    pub(crate) fn delete(former: ReplicaId, batch: &mut WriteBatch) {
        batch.delete(Self::key(former));
    }

    /// The row of a former id; `None` if the store has no legacy of it.
    pub(crate) fn read<V: ReadView>(view: &V, former: ReplicaId) -> Result<Option<Self>, StorageError> {
        let row = view.read(&Self::key(former))?;
        row.map(|row| Self::from_bytes(&row)).transpose().map_err(damaged("a former id"))
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
        Ok(Some((former, Self::from_bytes(&row).map_err(damaged("a former id"))?)))
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
    pub(crate) fn changes(&self) -> impl Iterator<Item = Option<Action>> {
        let changes = self.delta.actions.iter().zip(&self.above);
        changes.map(|(relative, above)| above.as_ref().map(|above| relative.below(above)))
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

impl LegacyPart {
    /// The key of a row of this part.
    pub(crate) fn key(self, former: ReplicaId, rest: &[u8]) -> Key {
        Key::of(&[&[LEGACY], former.as_bytes(), &[PART, self as u8], rest])
    }

    /// The key of the record of an entity at this depth.
    pub(crate) fn record_key(former: ReplicaId, depth: u32, id: EntityId) -> Key {
        Self::Records.key(former, &[depth.to_be_bytes().as_slice(), id.as_bytes()].concat())
    }

    /// Up to `limit` rows of this part.
    pub(crate) fn rows<V: ReadView>(
        self,
        view: &V,
        former: ReplicaId,
        limit: usize,
    ) -> Result<Vec<(Key, Bytes)>, StorageError> {
        let end = Key::of(&[&[LEGACY], former.as_bytes(), &[PART, self as u8 + 1]]);
        Ok(view.range(&self.key(former, &[]), &end, limit)?)
    }

    /// The bytes of an id with which a key ends.
    pub(crate) fn id_in<const N: usize>(key: &Key) -> Result<[u8; N], StorageError> {
        key.last_chunk().copied().ok_or(StorageError::Index { what: "a part of a legacy without an id" })
    }

    /// Deletes up to `limit` rows of all parts. Returns whether there were any.
    pub(crate) fn delete_some<V: ReadView>(
        view: &V,
        former: ReplicaId,
        limit: usize,
        batch: &mut WriteBatch,
    ) -> Result<bool, StorageError> {
        let from = Self::Records.key(former, &[]);
        let end = Key::of(&[&[LEGACY], former.as_bytes(), &[PART, u8::MAX]]);
        let rows = view.range(&from, &end, limit)?;
        let found = !rows.is_empty();
        rows.into_iter().for_each(|(key, _)| batch.delete(key));
        Ok(found)
    }
}

/// The counts of a former id in a counter at the fork.
pub(crate) fn base<V: ReadView>(
    view: &V,
    former: ReplicaId,
    counter: EntityId,
) -> Result<Option<Counts>, StorageError> {
    let row = view.read(&LegacyPart::Bases.key(former, counter.as_bytes()))?;
    let read = |row: Bytes| {
        let mut input = Reader::new(&row);
        let counts = (input.varint()?, input.varint()?);
        input.finish()?;
        Ok(counts)
    };
    row.map(read).transpose().map_err(damaged("the counts at a fork"))
}

/// Whether the counts of a former id in a counter at the fork are noted, in the store or in `batch`.
pub(crate) fn has_base<V: ReadView>(
    view: &V,
    former: ReplicaId,
    counter: EntityId,
    batch: &WriteBatch,
) -> Result<bool, StorageError> {
    let key = LegacyPart::Bases.key(former, counter.as_bytes());
    Ok(batch.get(&key).is_some() || view.read(&key)?.is_some())
}

/// Notes the counts of a former id in a counter at the fork.
pub(crate) fn write_base(former: ReplicaId, counter: EntityId, counts: Counts, batch: &mut WriteBatch) {
    let mut row = Writer::default();
    row.varint(counts.0);
    row.varint(counts.1);
    batch.put(LegacyPart::Bases.key(former, counter.as_bytes()), row.into_bytes());
}

/// Notes that a change of a former id, or of an even earlier one, that had the stamp `old` has the time `new` now. Later
/// writes of the former id may refer to it by the old stamp.
pub(crate) fn write_time(former: ReplicaId, (old, new): (Hlc, u64), batch: &mut WriteBatch) {
    let mut row = Writer::default();
    row.varint(new);
    let stamp = [&old.time().to_be_bytes()[..], old.replica().as_bytes()].concat();
    batch.put(LegacyPart::Times.key(former, &stamp), row.into_bytes());
}

/// The stamp in the key of a new time.
fn stamp_in(key: &[u8]) -> Result<Hlc, StorageError> {
    let mut input = Reader::new(key);
    let time =
        input.raw(8, "a time").map(|bytes| bytes.iter().fold(0, |time, byte| time << 8 | u64::from(*byte)));
    let stamp = time.and_then(|time| Ok(Hlc::new(time >> 16, time as u16, ReplicaId::decode(&mut input)?)));
    stamp.map_err(damaged("the key of a new time"))
}

/// The new times of changes of a former id that could not keep theirs, by their old stamps. O(changes).
pub(super) fn times<V: ReadView>(view: &V, former: ReplicaId) -> Result<BTreeMap<Hlc, u64>, StorageError> {
    let mut times = BTreeMap::new();
    let mut from = LegacyPart::Times.key(former, &[]);
    let end = Key::of(&[&[LEGACY], former.as_bytes(), &[PART, LegacyPart::Times as u8 + 1]]);
    loop {
        let rows = view.range(&from, &end, TIMES_PER_READ)?;
        let Some((last, _)) = rows.last() else { return Ok(times) };
        from = Key::of(&[last, &[0]]);
        for (key, row) in rows {
            let old = stamp_in(&LegacyPart::id_in::<24>(&key)?)?;
            let mut input = Reader::new(&row);
            let new = input.varint().and_then(|new| input.finish().map(|()| new));
            times.insert(old, new.map_err(damaged("a new time"))?);
        }
    }
}

impl Encode for FormerId {
    fn encode(&self, out: &mut Writer) {
        out.varint(self.first);
        out.varint(self.last);
        out.varint(self.other_from);
        self.horizon.encode(out);
        out.bool(self.branch.is_some());
        if let Some(branch) = &self.branch {
            out.varint(branch.fork);
            out.varint(branch.until);
            branch.name.encode(out);
            out.varint(branch.next_checked);
            out.varint(branch.next_counted);
            out.bool(branch.has_joined);
            out.bool(branch.has_skipped);
        }
        // Absent in the stores of earlier versions.
        out.bool(self.has_one_life);
        if let Some(branch) = &self.branch {
            out.varint(branch.shown);
        }
        out.varint(self.shared);
    }
}

impl Decode for FormerId {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let first = input.varint()?;
        let last = input.varint()?;
        let other_from = input.varint()?;
        let horizon = Hlc::decode(input)?;
        let mut branch = None;
        if input.bool("a former id")? {
            let fork = input.varint()?;
            branch = Some(Branch {
                fork,
                shown: fork,
                until: input.varint()?,
                name: ReplicaId::decode(input)?,
                next_checked: input.varint()?,
                next_counted: input.varint()?,
                has_joined: input.bool("a former id")?,
                has_skipped: input.bool("a former id")?,
            });
        }
        let mut has_one_life = false;
        let mut shared = 0;
        if input.remaining() > 0 {
            has_one_life = input.bool("a former id")?;
            if let Some(branch) = &mut branch {
                branch.shown = input.varint()?;
            }
            if input.remaining() > 0 {
                shared = input.varint()?;
            }
        }
        Ok(Self { first, last, other_from, horizon, has_one_life, shared, branch })
    }
}

impl Encode for LegacyWrite {
    fn encode(&self, out: &mut Writer) {
        debug_assert_eq!(self.above.len(), self.delta.actions.len(), "one path for each action");
        self.delta.encode(out);
        for above in &self.above {
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
        let mut all = Vec::with_capacity(delta.actions.len());
        for _ in &delta.actions {
            let is_there = input.bool("a path")?;
            all.push(is_there.then(|| input.list(limits::MAX_ANCESTORS, "a path")).transpose()?);
        }
        Ok(Self { delta, above: all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of `docs/spec/storage.md`, section 10, in their order.
    #[test]
    fn former_id_has_the_fields_of_the_document() {
        let branch = Branch {
            fork: 4,
            shown: 5,
            until: 70,
            name: ReplicaId([9; 16]),
            next_checked: 6,
            next_counted: 3,
            has_joined: true,
            has_skipped: false,
        };
        let known = FormerId {
            first: 2,
            last: 8,
            other_from: 7,
            horizon: Hlc::ZERO,
            has_one_life: true,
            shared: 1,
            branch: Some(branch),
        };
        let head = [&[2, 8, 7][..], &[0; 24], &[1, 4, 70], &[9; 16], &[6, 3, 1, 0]].concat();
        let row = [&head[..], &[1, 5, 1]].concat();
        assert_eq!(known.to_bytes(), row);
        assert_eq!(FormerId::from_bytes(&row).as_ref(), Ok(&known));
        // Rows of earlier builds.
        let without_shared = FormerId { shared: 0, ..known };
        assert_eq!(FormerId::from_bytes(&row[..row.len() - 1]).as_ref(), Ok(&without_shared));
        let shortest =
            FormerId { has_one_life: false, branch: Some(Branch { shown: 4, ..branch }), ..without_shared };
        assert_eq!(FormerId::from_bytes(&head).as_ref(), Ok(&shortest));
        assert!(FormerId::from_bytes(&[&row[..], &[0]].concat()).is_err(), "a byte more");
    }
}
