//! Causal deltas: their order, their proof of authorship, the log of those that the state covers, and
//! the buffer of those that wait for their parents.

mod authority;
mod delta;
mod delta_buffer;
mod delta_log;
mod history;

pub use authority::{Authority, Gate, KeyedHash, Membership, PublicKey, Scheme, Signature, Statement};
pub use delta::{Delta, DeltaRef, Dot, VersionVector};
pub use delta_buffer::{BufferLedger, DeltaBuffer, PushOutcome};
pub use delta_log::{DeltaError, DeltaLog, DeltaRefusal, MissingDeltas};
pub use history::{HistoryClaim, HistoryConflict};
