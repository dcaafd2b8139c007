//! A collection of tombstones that takes several steps, and the row that says so: after a crash it begins again, and finds
//! what is left.

use std::collections::BTreeSet;
use syncline_storage::{Interface, StorageError, TombstonePass, keys};
use syncline_store::{ReadView, WriteBatch};
use syncline_types::{DecodeError, EntityId, Reader, Writer};

const UNDER_WAY: &[u8] = keys::metadata::COLLECTION;
const UNDER_WAY_ROW: &str = "the row of a collection of tombstones";
/// How many entities a collection keeps, at most, because a peer has yet to see what happened to them.
pub(crate) const MAX_KEPT: usize = 4_096;

/// What a step has collected that raised the horizon.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RaisedHorizon {
    /// The number of records that were removed.
    pub removed: u64,
    /// What goes on in later steps, if there is more than one step may collect; see
    /// [`Transaction::go_on_collecting`](crate::Transaction::go_on_collecting). Until it is done, the state must not be compared with other states: they
    /// would send back what it has collected.
    pub rest: Option<CollectionInProgress>,
}

/// A collection of tombstones up to the horizon that has not ended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CollectionInProgress {
    pass: TombstonePass,
    /// The entities that must stay, with all above them.
    kept: BTreeSet<EntityId>,
}

impl CollectionInProgress {
    /// A collection that keeps these entities.
    pub(crate) fn keeping(kept: BTreeSet<EntityId>) -> Self {
        debug_assert!(kept.len() <= MAX_KEPT, "a collection keeps a bounded number of entities");
        Self { pass: TombstonePass::default(), kept }
    }

    /// The collection that had not ended when the store was last written. It begins again.
    pub fn load<V: ReadView>(view: &V) -> Result<Option<Self>, StorageError> {
        let Some(row) = view.read(UNDER_WAY)? else { return Ok(None) };
        let kept =
            Self::decode_kept(&row).map_err(|error| StorageError::Row { what: UNDER_WAY_ROW, error })?;
        Ok(Some(Self::keeping(kept)))
    }

    fn decode_kept(row: &[u8]) -> Result<BTreeSet<EntityId>, DecodeError> {
        let mut input = Reader::new(row);
        let kept: Vec<EntityId> = input.list(MAX_KEPT, UNDER_WAY_ROW)?;
        input.finish()?;
        if !kept.is_sorted_by(|one, next| one < next) {
            return Err(DecodeError::NotCanonical { what: UNDER_WAY_ROW });
        }
        Ok(kept.into_iter().collect())
    }

    /// Whether nothing up to the horizon is left to collect.
    pub const fn is_done(&self) -> bool {
        self.pass.is_done()
    }

    /// Collects what one more step may, which visits up to `most` records. Returns how many records were removed.
    pub(crate) fn collect<V: ReadView>(
        &mut self,
        state: &mut Interface<V>,
        most: usize,
    ) -> Result<u64, StorageError> {
        state.collect_page(&mut self.pass, &self.kept, most)
    }

    /// Writes that the collection is under way.
    pub(crate) fn write(&self, batch: &mut WriteBatch) {
        let mut row = Writer::default();
        row.list(&self.kept.iter().copied().collect::<Vec<_>>());
        batch.put(UNDER_WAY.into(), row.into_bytes());
    }

    /// Writes that it has ended.
    pub(crate) fn write_end(&self, batch: &mut WriteBatch) {
        debug_assert!(self.is_done(), "a collection ends when nothing is left to collect");
        batch.delete(UNDER_WAY.into());
    }
}
