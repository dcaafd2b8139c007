//! The basic types of all other crates: identifiers, virtual time, the hybrid logical clock, digests,
//! limits and the canonical codec.
//!
//! This crate has no records, stores, messages or networks. All its types are plain values; nothing here
//! reads a clock or draws a random number.
//!
//! ```
//! use syncline_types::{HlcClock, Moment, ReplicaId, SimTime};
//!
//! let mut clock = HlcClock::new(ReplicaId::from_u64(7));
//! let first = clock.tick(Moment::at(SimTime::from_millis(5)));
//! let second = clock.tick(Moment::at(SimTime::from_millis(5)));
//! assert!(first < second, "stamps of one replica always grow");
//! ```
#![warn(clippy::float_arithmetic)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

#[cfg(feature = "canary")]
pub mod canary;
pub mod codec;
mod digest;
mod entropy;
mod hlc;
mod ids;
mod internal;
pub mod limits;
mod probe;
mod short_id;
mod time;

pub use codec::{Decode, DecodeError, Encode, Reader, Writer};
pub use digest::{Digest, Hasher};
pub use entropy::{Choice, Entropy};
pub use hlc::{DriftError, Hlc, HlcClock};
pub use ids::{ContextId, DeltaId, EntityId, PeerId, ReplicaId};
pub use internal::InternalError;
pub use limits::{Limit, LimitError, Limits};
pub use probe::{Probe, Probes};
pub use short_id::ShortIdKey;
pub use time::{Moment, SimDuration, SimTime};

/// Whether a deliberate bug of `canary::Canary` is active. Without the `canary` feature, which only the tests
/// of the test suite itself enable, this is the constant `false`.
#[macro_export]
macro_rules! canary {
    ($which:ident) => {{
        #[cfg(feature = "canary")]
        {
            $crate::canary::active($crate::canary::Canary::$which)
        }
        #[cfg(not(feature = "canary"))]
        {
            false
        }
    }};
}
