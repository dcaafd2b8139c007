//! Why a frame had no effect.

use syncline_sync::{DeltaRefusal, FrameError};

/// Why a frame had no effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The bytes are not a frame for this replica.
    Frame(FrameError),
    /// The frame was sent before the last restart of its sender.
    StaleIncarnation,
    /// The frame is a duplicate, or answers a request that is not outstanding any more.
    Duplicate,
    /// The buffer has no room for the delta. A sync with the sender is pending instead.
    BufferFull,
    /// The frame breaks a rule that no honest peer breaks.
    Malformed,
    /// The sender is not a member of the context.
    NotAMember,
    /// The delta in the frame was not applied. For [`DeltaRefusal::Drift`] and [`DeltaRefusal::MissingAncestor`] a
    /// sync is pending instead. A delta that is covered already gives [`Refusal::Duplicate`].
    Delta(DeltaRefusal),
}

impl From<DeltaRefusal> for Refusal {
    fn from(refusal: DeltaRefusal) -> Self {
        match refusal {
            DeltaRefusal::Covered | DeltaRefusal::NotReady => Self::Duplicate,
            refusal => Self::Delta(refusal),
        }
    }
}
