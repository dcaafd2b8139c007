//! What a case scripts for nodes that a test adds itself.

use super::SimRuntime;
use std::fmt::Debug;

/// Scripted events and frame faults of a run whose nodes are not known before it begins.
///
/// A case file names nodes. When a test adds the nodes, the names are resolved in the moment in which the
/// run begins. The runtime holds the script until then, and does not know what a case is.
pub trait Script: Debug + Send + Sync {
    /// Resolves the names among the nodes of `rt` and schedules everything.
    ///
    /// # Errors
    ///
    /// A text that says which line of the script makes no sense for these nodes.
    fn apply(&self, rt: &mut SimRuntime) -> Result<(), String>;
}
