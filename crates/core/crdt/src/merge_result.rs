//! What a call of a merge function gives.

use std::sync::Arc;

/// A merged state, or why there is none.
pub(crate) type MergeResult = Result<Arc<[u8]>, MergeFailure>;

/// Why a merge function gives no state.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MergeFailure {
    /// No function is registered here for the type.
    #[error("no merge function is registered here")]
    Missing,
    /// The function panicked.
    #[error("the merge function panicked: {0}")]
    Panicked(Arc<str>),
    /// The result is larger than a value may be.
    #[error("the merge function returned {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// The size of the result.
        bytes: usize,
        /// The largest size of a value.
        limit: usize,
    },
}
