//! Tombstone collection.
//!
//! A tombstone is *causally stable* once every member has seen the delete and everything that was written
//! before it. Then no write can arrive that the delete would have to hide (Baquero, Almeida, Shoker, "Making
//! operation-based CRDTs operation-based", 2014). Members agree on a *horizon*: a stamp up to which every
//! change is stable. The replica computes the horizon; this module removes the tombstones that the horizon
//! allows to remove.
//!
//! A subtree is collected as a whole or not at all. All of its records must be dead or hidden by a delete
//! above them, last changed up to the horizon, and of a type that a later join cannot need
//! (`Record::is_collectable`). Which subtrees these are follows from the records and the horizon alone, so
//! replicas with equal records and equal horizons collect the same ones and keep equal roots.
//!
//! A collection is taken in pages, each of bounded cost, as a *pass* over the tombstones by stamp. A subtree that one page
//! finds to be collectable is removed by it. A larger one is looked at first, and removed then, children before parents,
//! each in as many pages as it takes. Whatever is changed between two pages is later than the horizon, so it stops the
//! removal of what it needs: a record is looked at again before it is removed. What is left of a subtree then is hidden,
//! as it was, and harmless: every tombstone and every hidden record may stay for any time.

use super::Interface;
use crate::error::StorageError;
use crate::keys;
use crate::record::Record;
use std::collections::BTreeSet;
use syncline_store::{Key, ReadView};
use syncline_types::{EntityId, Hlc};

/// How many children one read of a subtree returns.
const CHILDREN_PER_READ: usize = 32;

/// A pass over the tombstones up to the horizon, between two pages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TombstonePass {
    /// The stamp and entity of the last tombstone that is done.
    after: Option<(Hlc, EntityId)>,
    /// Where the walk below the next tombstone stands, if it is begun.
    walk: Option<Walk>,
    is_done: bool,
}

impl TombstonePass {
    /// Whether nothing up to the horizon is left to collect.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }
}

/// Where the walk below a tombstone stands: the entities from the tombstone down to where it stands, each with the last of
/// its children that was visited. At most as many as a tree is deep.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Walk {
    removes: bool,
    path: Vec<(EntityId, Option<EntityId>)>,
}

/// A level of a walk: an entity on its path.
struct WalkLevel {
    id: EntityId,
    /// Everything below was hidden by a delete at this stamp.
    hidden_by: Hlc,
    /// The last child that was visited.
    after: Option<EntityId>,
    /// The next children.
    page: std::vec::IntoIter<EntityId>,
    is_last_page: bool,
}

impl WalkLevel {
    fn new(id: EntityId, hidden_by: Hlc, after: Option<EntityId>) -> Self {
        Self { id, hidden_by, after, page: Vec::new().into_iter(), is_last_page: false }
    }
}

/// How a walk through a subtree ended, or why it rests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WalkEnd {
    Complete,
    /// Something in the subtree is still needed.
    Needed,
    /// The page is full.
    PageFull,
}

/// What a page may remove, and how many records it may still visit.
struct PageQuota<'a> {
    horizon: Hlc,
    kept: &'a BTreeSet<EntityId>,
    left: usize,
}

impl PageQuota<'_> {
    /// Counts a record that is read or removed, with its ancestors: above it is read what hides it, and what is removed
    /// changes the hashes of all of them.
    const fn count(&mut self, depth: u32) {
        self.left = self.left.saturating_sub(1 + depth as usize);
    }

    /// Whether a record below a delete at `hidden_by` may be removed, if all below it may.
    fn permits(&self, id: EntityId, record: &Record, hidden_by: Hlc) -> bool {
        let is_unseen = record.tombstone_stamp().is_some() || record.updated_at <= hidden_by;
        let is_stable = record.latest_stamp() <= self.horizon && !self.kept.contains(&id);
        is_unseen && record.is_collectable() && is_stable
    }
}

impl<V: ReadView> Interface<V> {
    /// Whether there are tombstones up to `horizon`, collectable or not. O(log n).
    pub fn has_tombstones(&mut self, horizon: Hlc) -> Result<bool, StorageError> {
        Ok(!self.tombstones(None, horizon, 1)?.is_empty())
    }

    /// Raises the horizon and collects all tombstones that it allows to collect. Returns the number of records
    /// that were removed. A horizon that is not above the present one changes nothing.
    /// O(tombstones up to the horizon, with their descendants): a replica collects them in pages instead.
    ///
    /// The caller guarantees that every member, and this state, has seen everything with stamps up to
    /// `horizon`.
    pub fn raise_horizon(&mut self, horizon: Hlc) -> Result<u64, StorageError> {
        if !self.raise_horizon_only(horizon) {
            return Ok(0);
        }
        self.collect_page(&mut TombstonePass::default(), &BTreeSet::new(), usize::MAX)
    }

    /// Raises the horizon, and collects nothing. Returns whether the horizon was lower. The guarantee is that of
    /// [`Interface::raise_horizon`].
    pub fn raise_horizon_only(&mut self, horizon: Hlc) -> bool {
        let is_higher = horizon > self.stats.horizon;
        if is_higher {
            self.stats.horizon = horizon;
            self.changed = true;
        }
        is_higher
    }

    /// Collects tombstones up to the horizon, from where `pass` stands on. Visits up to `most` records, each counted with its
    /// ancestors, and at least one. Removes no subtree that contains one of the entities `kept`, since others have yet to see what happened to
    /// them. Returns the number of records that were removed.
    pub fn collect_page(
        &mut self,
        pass: &mut TombstonePass,
        kept: &BTreeSet<EntityId>,
        most: usize,
    ) -> Result<u64, StorageError> {
        let mut page = PageQuota { horizon: self.stats.horizon, kept, left: most };
        let mut removed = 0;
        while page.left > 0 && !pass.is_done {
            let wanted = page.left;
            let tombstones = self.tombstones(pass.after, page.horizon, wanted)?;
            pass.is_done = tombstones.len() < wanted;
            for id in tombstones {
                // It was removed together with an ancestor, or its subtree with it.
                let record = self.record(id)?;
                let Some(stamp) = record.and_then(|record| record.tombstone_stamp()) else { continue };
                pass.walk = self.collect_subtree(id, pass.walk.take(), &mut page, &mut removed)?;
                if pass.walk.is_some() {
                    pass.is_done = false;
                    return Ok(removed);
                }
                pass.after = Some((stamp, id));
                if page.left == 0 {
                    // Whether this was the last one is for the next page to see.
                    pass.is_done = false;
                    break;
                }
            }
        }
        if page.left == 0 && !pass.is_done {
            pass.is_done = self.tombstones(pass.after, page.horizon, 1)?.is_empty();
        }
        Ok(removed)
    }

    /// Up to `limit` entities with tombstones after `after` and up to `horizon`, by stamp.
    fn tombstones(
        &mut self,
        after: Option<(Hlc, EntityId)>,
        horizon: Hlc,
        limit: usize,
    ) -> Result<Vec<EntityId>, StorageError> {
        let (stamp, id) = after.unwrap_or((Hlc::ZERO, EntityId::ROOT));
        let from = keys::tombstone(self.slot, stamp, id);
        let from = if after.is_some() { Key::of(&[&from, &[0]]) } else { from };
        let to = keys::tombstone(self.slot, horizon, EntityId::LAST);
        if from >= to {
            return Ok(Vec::new());
        }
        self.derived_rows(&from, &to, limit, keys::tombstone_id)
    }

    /// Removes the tombstone `top` with all its descendants, if all of them may be removed, from where `walk` stands on.
    /// Returns where the walk stands if the page is full before.
    fn collect_subtree(
        &mut self,
        top: EntityId,
        walk: Option<Walk>,
        page: &mut PageQuota<'_>,
        removed: &mut u64,
    ) -> Result<Option<Walk>, StorageError> {
        let resumed = match walk {
            Some(walk) => self.reopen(top, &walk, page)?.map(|path| (walk.removes, path)),
            None => None,
        };
        let mut removes = false;
        let mut found = None;
        let mut path = match resumed {
            Some((was_removing, path)) => {
                removes = was_removing;
                path
            }
            None => {
                let Some(open) = self.open_top(top, page)? else { return Ok(None) };
                found = Some(vec![top]);
                vec![open]
            }
        };
        if !removes {
            match self.look_below(&mut path, page, found.as_mut())? {
                WalkEnd::Needed => return Ok(None),
                WalkEnd::PageFull => return Ok(Some(Walk::at(false, &path))),
                WalkEnd::Complete => {}
            }
            if let Some(found) = found {
                *removed += found.len() as u64;
                // Children before parents, so that no record is ever without its parent.
                for id in found.into_iter().rev() {
                    self.remove_record(id)?;
                }
                return Ok(None);
            }
            let Some(open) = self.open_top(top, page)? else { return Ok(None) };
            path = vec![open];
        }
        if self.remove_below(&mut path, page, removed)? == WalkEnd::PageFull {
            return Ok(Some(Walk::at(true, &path)));
        }
        // A later change may have added a child that may be removed too: a removed element of a set has no stamp of its own.
        // So a tombstone that is left is looked at again.
        Ok(self.open_top(top, page)?.map(|open| Walk::at(false, &[open])))
    }

    /// The beginning of a walk below the tombstone `top`; `None` if it is still needed itself.
    fn open_top(
        &mut self,
        top: EntityId,
        page: &mut PageQuota<'_>,
    ) -> Result<Option<WalkLevel>, StorageError> {
        let Some(record) = self.record(top)? else { return Ok(None) };
        page.count(record.depth);
        let hidden_by = self.hidden_by(&record, page.horizon)?;
        Ok(page.permits(top, &record, hidden_by).then(|| WalkLevel::new(top, hidden_by, None)))
    }

    /// The stamp up to which deletes of `record` and its ancestors hide what is below it: the latest one counts. Later
    /// deletes than the horizon do not count: another member may collect before it sees them.
    fn hidden_by(&mut self, record: &Record, horizon: Hlc) -> Result<Hlc, StorageError> {
        let mut hidden_by = until(horizon, record.deleted_at);
        let mut depth = record.depth;
        let mut parent = record.parent;
        while depth > 0 {
            let above = self.record(parent)?.ok_or(StorageError::Index { what: "the record of a parent" })?;
            hidden_by = hidden_by.max(until(horizon, above.deleted_at));
            depth = above.depth;
            parent = above.parent;
        }
        Ok(hidden_by)
    }

    /// The path of a walk that rested; `None` if it has changed since, or something on it is needed now.
    fn reopen(
        &mut self,
        top: EntityId,
        walk: &Walk,
        page: &mut PageQuota<'_>,
    ) -> Result<Option<Vec<WalkLevel>>, StorageError> {
        let mut path: Vec<WalkLevel> = Vec::with_capacity(walk.path.len());
        // Each page makes progress, however deep it begins.
        page.left = page.left.saturating_sub(walk.path.len()).max(1);
        for &(id, after) in &walk.path {
            let Some(record) = self.record(id)? else { return Ok(None) };
            let hidden_by = match path.last() {
                Some(above) if above.id == record.parent => {
                    above.hidden_by.max(until(page.horizon, record.deleted_at))
                }
                None if id == top => self.hidden_by(&record, page.horizon)?,
                _ => return Ok(None),
            };
            // While it is only looked at, the subtree is collected as a whole or not at all.
            if !walk.removes && !page.permits(id, &record, hidden_by) {
                return Ok(None);
            }
            path.push(WalkLevel::new(id, hidden_by, after));
        }
        Ok(Some(path).filter(|path| !path.is_empty()))
    }

    /// The next child of an entity on the path.
    fn next_child(&mut self, open: &mut WalkLevel) -> Result<Option<EntityId>, StorageError> {
        if open.page.len() == 0 && !open.is_last_page {
            let children = self.children(open.id, open.after, CHILDREN_PER_READ)?;
            open.is_last_page = children.len() < CHILDREN_PER_READ;
            open.page = children.into_iter().map(|entry| entry.id).collect::<Vec<_>>().into_iter();
        }
        let child = open.page.next();
        open.after = child.or(open.after);
        Ok(child)
    }

    /// Looks whether all below `path` may be removed. Notes what it visits in `found`.
    fn look_below(
        &mut self,
        path: &mut Vec<WalkLevel>,
        page: &mut PageQuota<'_>,
        mut found: Option<&mut Vec<EntityId>>,
    ) -> Result<WalkEnd, StorageError> {
        while let Some(open) = path.last_mut() {
            if page.left == 0 {
                return Ok(WalkEnd::PageFull);
            }
            let Some(child) = self.next_child(open)? else {
                path.pop();
                continue;
            };
            let record = self.record(child)?.ok_or(StorageError::Index { what: "the record of an entry" })?;
            page.count(record.depth);
            // One record that is visible, needed or not stable prevents the collection of the whole subtree.
            if !page.permits(child, &record, open.hidden_by) {
                return Ok(WalkEnd::Needed);
            }
            let below = WalkLevel::new(child, open.hidden_by.max(record.deleted_at), None);
            found.iter_mut().for_each(|found| found.push(child));
            path.push(below);
        }
        Ok(WalkEnd::Complete)
    }

    /// Removes what is below `path` and its first entity, children before parents. What has become needed since it was
    /// looked at stays, with its ancestors.
    fn remove_below(
        &mut self,
        path: &mut Vec<WalkLevel>,
        page: &mut PageQuota<'_>,
        removed: &mut u64,
    ) -> Result<WalkEnd, StorageError> {
        while let Some(open) = path.last_mut() {
            if page.left == 0 {
                return Ok(WalkEnd::PageFull);
            }
            if let Some(child) = self.next_child(open)? {
                let record =
                    self.record(child)?.ok_or(StorageError::Index { what: "the record of an entry" })?;
                page.count(record.depth);
                let hidden_by = open.hidden_by.max(until(page.horizon, record.deleted_at));
                path.push(WalkLevel::new(child, hidden_by, None));
                continue;
            }
            let id = open.id;
            let hidden_by = open.hidden_by;
            path.pop();
            let record = self.record(id)?;
            page.count(record.as_ref().map_or(0, |record| record.depth));
            let permitted = record.is_some_and(|record| page.permits(id, &record, hidden_by));
            if permitted && self.children(id, None, 1)?.is_empty() {
                self.remove_record(id)?;
                *removed += 1;
            }
        }
        Ok(WalkEnd::Complete)
    }
}

/// A stamp that counts up to the horizon.
fn until(horizon: Hlc, stamp: Hlc) -> Hlc {
    if stamp <= horizon { stamp } else { Hlc::ZERO }
}

impl Walk {
    fn at(removes: bool, path: &[WalkLevel]) -> Self {
        Self { removes, path: path.iter().map(|open| (open.id, open.after)).collect() }
    }
}
