//! Shrinking: from a failing case to a small case that fails in the same class.
//!
//! 1. *Pinning* replaces randomness by explicit lines: every write, crash, partition and frame fault of the run
//!    becomes a line of the case.
//! 2. *Minimizing* removes lines for as long as the class of the failure stays (delta debugging).
//! 3. Where the result is still large, *reseeding* looks for the same class of failure in runs with fewer random
//!    faults.

mod budget;
mod minimizer;
mod pin;
mod prune;
mod reseed;
mod shrinker;

pub use budget::ShrinkProgress;
pub use minimizer::RunCase;
pub use shrinker::{Shrunk, shrink, shrink_with};
