//! Runs: rows that a store holds as one value.

use crate::radix::{AT_ONCE, RadixMap};
use crate::{Bytes, Key};
use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

/// A value that represents all rows whose keys begin with the key of the run. A store in memory may hold it
/// instead of these rows, which are encoded only when they are read as rows.
///
/// The key of a run is never a prefix of the key of another run in the same store.
pub trait RowRun: Any + Debug + Send + Sync {
    /// Returns the row whose key is the key of the run followed by `suffix`.
    fn read(&self, suffix: &[u8]) -> Option<Bytes>;

    /// Passes the suffixes and values of the rows with `from <= suffix` to `each`, ascending by suffix, until
    /// `each` returns `true`.
    fn walk(&self, from: &[u8], each: &mut dyn FnMut(&[u8], Bytes) -> bool);

    /// Reads the memory that a reader of the run needs first, which loads it into the cache. The result
    /// has no meaning.
    fn touch(&self) -> u8 {
        0
    }

    /// The number of rows. O(rows).
    fn len(&self) -> usize;

    /// Whether the run represents no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An edit of the rows of a run.
pub trait Edit: Debug + Send + Sync {
    /// Returns the edit as writes to single rows: the suffixes of their keys, ascending, and the
    /// values; `None` removes a row.
    fn rows(&self) -> Vec<(Vec<u8>, Option<Bytes>)>;

    /// Passes the suffix of each changed row to `each`, in any order. A suffix may come more than once.
    fn each_changed(&self, each: &mut dyn FnMut(&[u8]));

    /// The number of rows that the edit changes.
    fn len(&self) -> usize;

    /// Whether the edit changes no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the entry of a redo log for this edit, if the view that it was made on asked for it
    /// ([`ReadView::wants_redo_entries`](crate::ReadView::wants_redo_entries)): enough to make the edit
    /// again on the same state. Only the author of the edit can interpret it.
    fn redo_entry(&self) -> Option<Bytes> {
        None
    }

    /// Applies the edit to `run`, or to no rows if there is no such run yet. Returns the run if it is new.
    /// The result also says if no rows are left.
    fn amend(&self, run: Option<&mut Arc<dyn RowRun>>) -> AmendOutcome;
}

/// The state of a run after an edit.
#[derive(Debug)]
pub enum AmendOutcome {
    /// The existing run was edited in place.
    InPlace,
    /// There was no run, or it must be replaced by this one.
    New(Arc<dyn RowRun>),
    /// The run has no rows any more and must be removed.
    Gone,
}

/// The runs of a store, by key. A clone takes O(1), and does not see later edits of the original.
#[derive(Clone, Debug, Default)]
pub struct RowRuns(RadixMap<Arc<dyn RowRun>>);

impl RowRuns {
    /// Returns the run at exactly `key`.
    pub fn get(&self, key: &[u8]) -> Option<&Arc<dyn RowRun>> {
        self.0.get(key)
    }

    /// Loads the runs at `keys` into the cache, several at a time, so that their cache misses overlap.
    pub fn prefetch(&self, keys: &[Key]) {
        keys.chunks(AT_ONCE).for_each(|keys| self.0.prefetch(keys, |run| run.touch()));
    }

    /// Returns the run that contains the row `key`, and the key of that run.
    pub fn covering(&self, key: &[u8]) -> Option<(&Key, &Arc<dyn RowRun>)> {
        self.0.covering(key)
    }

    /// Applies `edit` to the run at `key`; `None` removes the run.
    pub fn amend(&mut self, key: &Key, edit: Option<&Arc<dyn Edit>>) {
        // The map copies its shared nodes, but a run is shared by its own reference count: the edit
        // copies it if another clone of the map holds it too.
        match edit.map_or(AmendOutcome::Gone, |edit| edit.amend(self.0.value_mut(key))) {
            AmendOutcome::InPlace => {
                debug_assert!(self.0.get(key).is_some(), "only an existing run can be edited in place");
            }
            AmendOutcome::New(run) => self.0.insert(key.clone(), run),
            AmendOutcome::Gone => self.0.remove(key),
        }
    }

    /// Removes the run that contains the row `key`, and returns it with its key.
    pub fn remove_covering(&mut self, key: &[u8]) -> Option<(Key, Arc<dyn RowRun>)> {
        let (key, run) = self.covering(key).map(|(key, run)| (key.clone(), run.clone()))?;
        self.0.remove(&key);
        Some((key, run))
    }

    /// Passes the runs with `from <= key` to `each`, ascending by key, until `each` returns `true`.
    pub fn walk(&self, from: &[u8], each: impl FnMut(&Key, &Arc<dyn RowRun>) -> bool) {
        self.0.walk(from, each);
    }

    /// The number of rows in all runs. O(rows).
    pub fn len(&self) -> usize {
        let mut len = 0;
        self.walk(&[], |_, run| {
            len += run.len();
            false
        });
        len
    }

    /// Whether there are no runs.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}
