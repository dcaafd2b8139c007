//! Causal deltas: their order, their proof of authorship, the log of those that the state covers, and
//! the buffer of those that wait for their parents.

mod authority;
mod delta;
mod delta_buffer;
mod delta_log;
mod history;
mod refusal;
mod version_vector;
mod waits;

pub use authority::{Authority, Gate, KeyedHash, Membership, PublicKey, Scheme, Signature, Statement};
pub use delta::{Delta, DeltaRef, Dot};
pub use delta_buffer::{BufferLedger, BufferLimits, DeltaBuffer, PushOutcome};
pub use delta_log::DeltaLog;
pub use history::{HistoryClaim, HistoryConflict};
pub use refusal::{DeltaError, DeltaRefusal, MissingDeltas};
pub use version_vector::VersionVector;
