//! Reading a whole state page by page, parents before children.

use crate::error::StorageError;
use crate::index::{Entry, Node, Prefix};
use crate::keys::{self, Slot};
use syncline_store::{Bytes, ReadView};
use syncline_types::{Decode, DecodeError, Encode, EntityId, Reader, Writer, limits};

/// A place in the depth-first walk over a state: the entities from the root down to the last one that
/// was passed; empty before the first. Cursors order as the walk does.
///
/// It names a place whatever the state, so that a walk over one state can go on over another.
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

/// A run of records in the order of the walk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreePage {
    /// Ids and canonical bytes, each parent before its children.
    pub records: Vec<(EntityId, Bytes)>,
    /// Where the next page begins; `None` if nothing follows.
    pub next: Option<Cursor>,
}

/// The records that follow `after` in the depth-first walk, children by id, until their bytes reach
/// `byte_limit` (at least one, if any follow). Reads only what it gives, and the index above it.
pub fn tree_page<V: ReadView>(view: &V, after: &Cursor, byte_limit: usize) -> Result<TreePage, StorageError> {
    const MISSING: StorageError = StorageError::Index { what: "the record of an entry" };
    let mut walk = Walk { slot: Slot::active(view)?, view, open: Vec::new() };
    let (mut records, mut bytes) = (Vec::new(), 0);
    if let Some((_, passed)) = after.0.split_first() {
        walk.resume(passed);
    } else {
        let Some(root) = view.read(&keys::record(walk.slot, EntityId::ROOT))? else {
            return Ok(TreePage { records, next: None });
        };
        bytes += 32 + root.len();
        records.push((EntityId::ROOT, root));
        walk.resume(&[]);
    }
    loop {
        // A page that is full still looks ahead, so that the last one says that it is.
        let place = (bytes >= byte_limit).then(|| walk.cursor());
        let Some(entry) = walk.next()? else { return Ok(TreePage { records, next: None }) };
        if place.is_some() {
            return Ok(TreePage { records, next: place });
        }
        let row = view.read(&keys::record(walk.slot, entry.id))?.ok_or(MISSING)?;
        bytes += 32 + row.len();
        records.push((entry.id, row));
    }
}

/// The children of one entity, some of which were passed.
struct Open {
    entity: EntityId,
    passed: Option<EntityId>,
    /// The rest of the bucket that is being passed.
    bucket: std::vec::IntoIter<Entry>,
    /// The first id that is in none of the buckets so far; `None` past the last.
    from: Option<EntityId>,
}

impl Open {
    fn after(entity: EntityId, passed: Option<EntityId>) -> Self {
        let from = passed.map_or(Some(EntityId::ROOT), EntityId::successor);
        Self { entity, passed, bucket: Vec::new().into_iter(), from }
    }
}

struct Walk<'v, V> {
    view: &'v V,
    slot: Slot,
    /// From the root down.
    open: Vec<Open>,
}

impl<V: ReadView> Walk<'_, V> {
    /// Goes on below the root after the path `passed`.
    fn resume(&mut self, passed: &[EntityId]) {
        let parents = std::iter::once(EntityId::ROOT).chain(passed.iter().copied());
        let children = passed.iter().copied().map(Some).chain([None]);
        self.open = parents.zip(children).map(|(parent, child)| Open::after(parent, child)).collect();
    }

    fn cursor(&self) -> Cursor {
        let passed = self.open.iter().filter_map(|open| open.passed);
        Cursor(std::iter::once(EntityId::ROOT).chain(passed).collect())
    }

    fn next(&mut self) -> Result<Option<Entry>, StorageError> {
        while let Some(open) = self.open.last_mut() {
            if let Some(entry) = open.bucket.next() {
                open.passed = Some(entry.id);
                if !entry.kids.is_zero() {
                    self.open.push(Open::after(entry.id, None));
                }
                return Ok(Some(entry));
            }
            let (entity, from) = (open.entity, open.from);
            let bucket = match from {
                Some(from) => self.bucket(entity, from)?,
                None => None,
            };
            match (bucket, self.open.last_mut()) {
                (Some((entries, last)), Some(open)) => {
                    (open.bucket, open.from) = (entries.into_iter(), last.successor());
                }
                _ => drop(self.open.pop()),
            }
        }
        Ok(None)
    }

    /// The children of `entity` from `from` on, as far as the first bucket of them goes, and the last id
    /// that would be in that bucket.
    fn bucket(
        &self,
        entity: EntityId,
        mut from: EntityId,
    ) -> Result<Option<(Vec<Entry>, EntityId)>, StorageError> {
        loop {
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
            // Nothing is left below here: on to what follows.
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
