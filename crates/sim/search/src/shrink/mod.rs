//! Making a failing case small: what randomness did becomes script lines, and lines are removed while the
//! class of the failure stays.

mod pin;
mod prune;
mod reseed;
mod shrink;

pub(crate) use shrink::shrink_with;
pub use shrink::{Progress, Shrunk, shrink};
