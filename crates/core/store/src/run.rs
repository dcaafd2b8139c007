//! Rows that are kept as one value.

use crate::radix::{AT_ONCE, RadixMap};
use crate::{Bytes, Key};
use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

/// A value that stands for all rows whose keys begin with its own: what a store in memory may keep
/// instead of them. Nothing is encoded until somebody reads it as rows.
///
/// No key of a run begins with the key of another.
pub trait Run: Any + Debug + Send + Sync {
    /// The row whose key ends in `suffix` after the key of the run.
    fn read(&self, suffix: &[u8]) -> Option<Bytes>;

    /// Passes the rows from `from` on to `each`, ascending by what their keys end in, until it says to
    /// stop.
    fn walk(&self, from: &[u8], each: &mut dyn FnMut(&[u8], Bytes) -> bool);

    /// Looks at what whoever asks for the run will look at first. What comes of that means nothing.
    fn touch(&self) -> u8 {
        0
    }

    /// How many rows it stands for. O(rows).
    fn len(&self) -> usize;

    /// Whether it stands for none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A change to the rows of a run.
pub trait Edit: Debug + Send + Sync {
    /// What it does, as single rows: what their keys end in, and `None` for those that go; ascending.
    fn rows(&self) -> Vec<(Vec<u8>, Option<Bytes>)>;

    /// Passes what the keys of the rows that it changes end in to `each`, in any order; some may come twice.
    fn each_changed(&self, each: &mut dyn FnMut(&[u8]));

    /// How many rows it changes.
    fn len(&self) -> usize;

    /// Whether it changes none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The change in short, if the view that it was made on asked for it: enough to make it again on the same
    /// state, for those who know what it is a change to.
    fn notes(&self) -> Option<Bytes> {
        None
    }

    /// Makes the change; on nothing, if there is no such run yet. Gives what was not there before, or
    /// says that nothing is left.
    fn amend(&self, run: Option<&mut Arc<dyn Run>>) -> Amended;
}

/// What became of a run.
#[derive(Debug)]
pub enum Amended {
    /// It is as it should be.
    InPlace,
    /// There is one now.
    New(Arc<dyn Run>),
    /// It stands for no rows any more.
    Gone,
}

/// The runs that a store keeps, or has at hand besides its rows. A clone costs O(1).
#[derive(Clone, Debug, Default)]
pub struct Runs(RadixMap<Arc<dyn Run>>);

impl Runs {
    /// The run at `key`.
    pub fn get(&self, key: &[u8]) -> Option<&Arc<dyn Run>> {
        self.0.get(key)
    }

    /// The runs at these keys will be asked for next: looks at all of them side by side.
    pub fn prefetch(&self, keys: &[Key]) {
        keys.chunks(AT_ONCE).for_each(|keys| self.0.visit(keys, |run| run.touch()));
    }

    /// The run that the row `key` is in, and where that begins.
    pub fn covering(&self, key: &[u8]) -> Option<(&Key, &Arc<dyn Run>)> {
        self.0.covering(key)
    }

    /// Makes a change to the run at `key`, or takes that out.
    pub fn amend(&mut self, key: &Key, edit: Option<&Arc<dyn Edit>>) {
        match edit.map_or(Amended::Gone, |edit| edit.amend(self.0.value_mut(key))) {
            Amended::InPlace => {}
            Amended::New(run) => self.0.insert(key.clone(), run),
            Amended::Gone => self.0.remove(key),
        }
    }

    /// Takes out the run that the row `key` is in.
    pub fn remove_covering(&mut self, key: &[u8]) -> Option<(Key, Arc<dyn Run>)> {
        let (key, run) = self.covering(key).map(|(key, run)| (key.clone(), run.clone()))?;
        self.0.remove(&key);
        Some((key, run))
    }

    /// Passes the runs from `from` on to `each`, ascending by key, until it says to stop.
    pub fn walk(&self, from: &[u8], each: impl FnMut(&Key, &Arc<dyn Run>) -> bool) {
        self.0.walk(from, each);
    }

    /// How many rows they stand for. O(rows).
    pub fn len(&self) -> usize {
        let mut len = 0;
        self.walk(&[], |_, run| {
            len += run.len();
            false
        });
        len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}
