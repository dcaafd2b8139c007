//! Whether a run makes progress, and how often each sync protocol succeeds.

mod monitor;
mod protocol_success;

pub use monitor::{LivenessMonitor, SessionEnding, Storm, StormKind};
pub use protocol_success::{ProtocolSuccess, SuccessRates};
