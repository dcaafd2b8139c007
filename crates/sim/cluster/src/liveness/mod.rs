//! Whether a run makes progress, and which sync protocols succeed.

mod monitor;
mod protocol_success;

pub(crate) use monitor::ending;
pub use monitor::{Storm, Watch};
pub use protocol_success::{Path, Paths};
