//! Reading a whole state page by page in depth-first order, parents before children.

use crate::error::StorageError;
use crate::index::{Entry, Node};
use crate::keys::{self, Slot};
use crate::prefix::Prefix;
use crate::stats::Stats;
use syncline_store::{Bytes, ReadView};
use syncline_types::{Decode, DecodeError, Encode, EntityId, Reader, Writer, limits};

/// A position in the depth-first walk over a state: the path from the root to the last entity that was
/// passed. The empty path is before the first entity. Cursors order as the walk does.
///
/// A cursor is meaningful for every state: a walk over one state can continue over another.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Cursor(Vec<EntityId>);

impl Encode for Cursor {
    fn encode(&self, out: &mut Writer) {
        out.list(&self.0);
    }
}

impl Decode for Cursor {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let path: Vec<EntityId> = input.list(limits::MAX_ANCESTORS + 1, "the path of a cursor")?;
        match path.first() {
            None | Some(&EntityId::ROOT) => Ok(Self(path)),
            Some(_) => Err(DecodeError::NotCanonical { what: "a cursor" }),
        }
    }
}

/// A run of records in depth-first order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreePage {
    /// Ids and canonical bytes, each parent before its children.
    pub records: Vec<(EntityId, Bytes)>,
    /// The cursor after which the next page begins; `None` if no record follows.
    pub next: Option<Cursor>,
}

/// The records of the active state that follow `after` in the depth-first walk, siblings by id, until their ids
/// and bytes reach `byte_limit`. A page has at least one record, if any follow. Reads only these records and the
/// index nodes above them.
pub fn tree_page<V: ReadView>(view: &V, after: &Cursor, byte_limit: usize) -> Result<TreePage, StorageError> {
    const MISSING: StorageError = StorageError::Index { what: "the record of an entry" };
    let slot = Slot::active(view)?;
    let short_ids = Stats::read(view, slot)?.short_ids;
    let read = |id: EntityId| view.read(&keys::record(slot, short_ids.locator(id), id));
    let mut walk = TreeWalk { slot, view, open: Vec::new() };
    let mut records = Vec::new();
    let mut bytes = 0;
    if let Some((_, passed)) = after.0.split_first() {
        walk.resume(passed);
    } else {
        // A state without a root has no records.
        let Some(root) = read(EntityId::ROOT)? else {
            return Ok(TreePage { records, next: None });
        };
        bytes += 32 + root.len();
        records.push((EntityId::ROOT, root));
        walk.resume(&[]);
    }
    loop {
        // A full page still looks for a next record, so that the last page can say that it is the last.
        let full_at = (bytes >= byte_limit).then(|| walk.cursor());
        // The walk is over.
        let Some(entry) = walk.next()? else { return Ok(TreePage { records, next: None }) };
        if full_at.is_some() {
            return Ok(TreePage { records, next: full_at });
        }
        let row = read(entry.id)?.ok_or(MISSING)?;
        bytes += 32 + row.len();
        records.push((entry.id, row));
    }
}

/// The children of one entity, some of which the walk has passed.
struct OpenChildren {
    entity: EntityId,
    /// The last child that was passed.
    passed: Option<EntityId>,
    /// The rest of the current bucket.
    bucket: std::vec::IntoIter<Entry>,
    /// The lowest id that the buckets so far do not cover; `None` once they cover all ids.
    from: Option<EntityId>,
}

impl OpenChildren {
    fn after(entity: EntityId, passed: Option<EntityId>) -> Self {
        let from = passed.map_or(Some(EntityId::ROOT), EntityId::successor);
        Self { entity, passed, bucket: Vec::new().into_iter(), from }
    }
}

/// A depth-first walk that reads index nodes as rows, one bucket at a time.
struct TreeWalk<'v, V> {
    view: &'v V,
    slot: Slot,
    /// The path from the root to the last entity that was passed, and its children.
    open: Vec<OpenChildren>,
}

impl<V: ReadView> TreeWalk<'_, V> {
    /// Resumes the walk after the path `passed`, which is relative to the root. The descendants of its last entity
    /// come next.
    fn resume(&mut self, passed: &[EntityId]) {
        let parents = std::iter::once(EntityId::ROOT).chain(passed.iter().copied());
        let children = passed.iter().copied().map(Some).chain([None]);
        self.open = parents.zip(children).map(|(parent, child)| OpenChildren::after(parent, child)).collect();
    }

    /// The position of the walk.
    fn cursor(&self) -> Cursor {
        let passed = self.open.iter().filter_map(|open| open.passed);
        Cursor(std::iter::once(EntityId::ROOT).chain(passed).collect())
    }

    /// The entry of the next entity; `None` at the end.
    fn next(&mut self) -> Result<Option<Entry>, StorageError> {
        while let Some(open) = self.open.last_mut() {
            if let Some(entry) = open.bucket.next() {
                open.passed = Some(entry.id);
                if !entry.kids.is_zero() {
                    self.open.push(OpenChildren::after(entry.id, None));
                }
                return Ok(Some(entry));
            }
            let entity = open.entity;
            let bucket = match open.from {
                Some(from) => self.bucket(entity, from)?,
                None => None,
            };
            match (bucket, self.open.last_mut()) {
                (Some((entries, last)), Some(open)) => {
                    debug_assert!(!entries.is_empty(), "each bucket brings the walk forward");
                    open.bucket = entries.into_iter();
                    open.from = last.successor();
                }
                _ => drop(self.open.pop()),
            }
        }
        Ok(None)
    }

    /// The first bucket with children of `entity` from `from` on: these children, and the last id that the bucket
    /// covers.
    fn bucket(
        &self,
        entity: EntityId,
        mut from: EntityId,
    ) -> Result<Option<(Vec<Entry>, EntityId)>, StorageError> {
        loop {
            // Down from the top, along `from` while the path exists and along the lowest child beside it.
            let mut prefix = Prefix::EMPTY;
            let exhausted = loop {
                match self.node(entity, prefix)? {
                    None if prefix.is_empty() => return Ok(None),
                    None => return Err(StorageError::Index { what: "a node that its parent names" }),
                    Some(Node::Bucket(mut entries)) => {
                        entries.retain(|entry| entry.id >= from);
                        if !entries.is_empty() {
                            return Ok(Some((entries, prefix.last_id())));
                        }
                        break prefix;
                    }
                    Some(Node::Inner { slots, .. }) => {
                        let first = if prefix.contains(from) { prefix.next_nibble(from) } else { 0 };
                        let mut named = (0u8..).zip(slots.iter()).skip(first);
                        let Some((nibble, _)) = named.find(|(_, hash)| !hash.is_zero()) else {
                            break prefix;
                        };
                        prefix = prefix.child(nibble);
                    }
                }
            };
            // No child at or above `from` is below this node: continue with the first id after the node.
            match exhausted.last_id().successor() {
                Some(next) => from = next,
                None => return Ok(None),
            }
        }
    }

    fn node(&self, entity: EntityId, prefix: Prefix) -> Result<Option<Node>, StorageError> {
        let row = self.view.read(&keys::node(self.slot, entity, prefix))?;
        row.map(|row| Node::from_bytes(&row)).transpose().map_err(StorageError::row("an index node"))
    }
}
