//! The script of a case whose nodes a test adds itself.

use super::SimRuntime;
use std::fmt::Debug;

/// Scripted events and frame faults for a run whose nodes are not known yet.
///
/// A case file refers to nodes by name. When a test adds the nodes, the names are resolved at the time
/// the run begins. The runtime stores the script until then and does not depend on cases.
pub trait RunScript: Debug + Send + Sync {
    /// Resolves the names among the nodes of `rt` and schedules all events.
    ///
    /// # Errors
    ///
    /// A text that names the line of the script that does not fit these nodes.
    fn apply(&self, rt: &mut SimRuntime) -> Result<(), String>;
}
