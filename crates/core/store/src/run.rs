//! Rows that are kept as one value.

use crate::Bytes;
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

    /// How many rows it changes.
    fn len(&self) -> usize;

    /// Whether it changes none.
    fn is_empty(&self) -> bool {
        self.len() == 0
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
