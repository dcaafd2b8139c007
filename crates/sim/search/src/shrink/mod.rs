//! Shrinking: from a failing case to a small case that fails in the same class.
//!
//! 1. *Pinning* replaces randomness by explicit lines: every write, crash, partition and frame fault of the run
//!    becomes a line of the case.
//! 2. *Minimizing* removes lines for as long as the class of the failure stays (delta debugging), and then makes
//!    small what the remaining lines say: values, texts, numbers, names, sizes and times.
//! 3. Where the result is still large, *reseeding* looks for the same class of failure in runs with fewer random
//!    faults.
//!
//! A large case, of megabytes or of many thousand operations, is first cut down before anything else: each of its
//! runs takes long, and pinning it takes several.

mod budget;
mod bulk;
mod causes;
mod contents;
mod minimizer;
mod names;
mod numbers;
mod pin;
mod prune;
mod rejected;
mod reseed;
mod settings;
mod shrinker;
mod times;

pub use budget::ShrinkProgress;
pub use minimizer::RunCase;
pub use shrinker::{Shrunk, shrink, shrink_with};
