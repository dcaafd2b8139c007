//! Words that every other crate speaks: identifiers, virtual time, the hybrid logical clock,
//! digests, limits and the canonical codec.
//!
//! This crate knows nothing of records, stores, messages or networks. Everything in it is a plain
//! value; nothing reads a clock or draws a random number.
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
mod time;

pub use codec::{Decode, DecodeError, Encode, Reader, Writer};
pub use digest::{Digest, Hasher};
pub use entropy::{Choice, Entropy};
pub use hlc::{DriftError, Hlc, HlcClock};
pub use ids::{ContextId, DeltaId, EntityId, PeerId, ReplicaId};
pub use internal::InternalError;
pub use time::{Moment, SimDuration, SimTime};

/// Whether a deliberate bug is switched on. Always `false` unless built with the `canary` feature,
/// which only tests of the tests enable.
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
