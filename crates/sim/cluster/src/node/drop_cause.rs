//! Maps refusals of replicas to causes of drops.

use sync_sim_engine::network::DropCause;
use syncline_replica::Refusal;
use syncline_sync::{DeltaRefusal, FrameError};

/// The cause of a drop under which a refusal is counted.
pub(super) const fn drop_cause(refusal: &Refusal) -> DropCause {
    match refusal {
        Refusal::Frame(FrameError::Context) => DropCause::OtherContext,
        Refusal::Frame(_) => DropCause::Corrupt,
        Refusal::StaleIncarnation => DropCause::StaleIncarnation,
        // A delta below an ancestor that is collected here comes by a state sync, like one that is not ready.
        Refusal::Duplicate
        | Refusal::Delta(
            DeltaRefusal::Covered
            | DeltaRefusal::NotReady
            | DeltaRefusal::HorizonAhead
            | DeltaRefusal::MissingAncestor
            | DeltaRefusal::AnotherHistory,
        ) => DropCause::DuplicateSuppressed,
        Refusal::BufferFull => DropCause::BufferFull,
        Refusal::Delta(DeltaRefusal::Drift) => DropCause::ClockDrift,
        Refusal::Malformed | Refusal::Delta(DeltaRefusal::Malformed) => DropCause::Malformed,
        Refusal::NotAMember | Refusal::Delta(DeltaRefusal::NotAMember) => DropCause::NotAMember,
        Refusal::Delta(DeltaRefusal::BadSignature) => DropCause::BadSignature,
        Refusal::Delta(DeltaRefusal::LeftBehind) => DropCause::LeftBehind,
    }
}
