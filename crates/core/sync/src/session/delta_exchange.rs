//! DeltaSync: both sides send the deltas that the other one lacks, in causal order.

use super::{
    FailureReason, Outcome, PhaseStep, ProtocolBreach, ReplyError, RetryReason, SessionStats, compare_roots,
};
use crate::deltas::{Delta, DeltaError, DeltaRefusal, MissingDeltas, VersionVector};
use crate::messages::{DeltasReply, Request, SyncHandshake};
use crate::transaction::Transaction;
use syncline_storage::StorageError;
use syncline_store::{Bytes, ReadView};
use syncline_types::{Decode, Probe};

#[derive(Clone, PartialEq, Debug)]
pub(super) struct DeltaExchange {
    /// The deltas that the peer's state covers, by its last report.
    theirs: VersionVector,
    /// Whether the last request pushed any deltas.
    pushed: bool,
}

impl DeltaExchange {
    pub(super) fn start<V: ReadView>(
        theirs: &SyncHandshake,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(Self, Request), StorageError> {
        let mut exchange = Self { theirs: theirs.covered.clone(), pushed: false };
        let pushes = exchange.next_pushes(work)?;
        exchange.pushed = !pushes.is_empty();
        count(&pushes, stats);
        let covered = work.log.covered().clone();
        Ok((exchange, Request::Deltas { covered, pushes }))
    }

    /// The deltas that the peer's state covers, by its last report.
    pub(super) const fn theirs(&self) -> &VersionVector {
        &self.theirs
    }

    /// The next deltas that the peer lacks; none if the log has pruned them.
    fn next_pushes<V: ReadView>(&self, work: &mut Transaction<V>) -> Result<Vec<Bytes>, StorageError> {
        Ok(match work.deltas_since(&self.theirs)? {
            MissingDeltas::Deltas { deltas, .. } => deltas,
            MissingDeltas::BelowFloor => Vec::new(),
        })
    }

    pub(super) fn on_reply<V: ReadView>(
        &mut self,
        reply: &DeltasReply,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<PhaseStep, ReplyError> {
        let mut progress = false;
        for bytes in &reply.deltas {
            let delta = Delta::from_bytes(bytes).map_err(|_| ProtocolBreach::DeltaNotDecoded)?;
            match work.apply_delta(&delta) {
                Ok(()) => {
                    stats.deltas_received += 1;
                    stats.bytes += bytes.len() as u64;
                    progress = true;
                }
                Err(DeltaError::Storage(error)) => return Err(error.into()),
                Err(DeltaError::Refused(refusal)) => {
                    if let Some(outcome) = outcome_of_refusal(refusal)? {
                        return Ok(PhaseStep::End(outcome));
                    }
                }
            }
        }
        // A peer whose coverage grows makes progress only if this side has pushed deltas to it and the new
        // vector includes the old one. Otherwise a peer could send another vector and no delta in every
        // round, and the session would never end.
        progress |= self.pushed && self.theirs != reply.covered && reply.covered.includes(&self.theirs);
        self.theirs = reply.covered.clone();
        let pushes = self.next_pushes(work)?;
        self.pushed = !pushes.is_empty();
        if reply.complete && pushes.is_empty() {
            let outcome = compare_roots(work, reply.root)?;
            return Ok(match outcome {
                Outcome::Converged { .. } => PhaseStep::End(outcome),
                // The states differ by more than deltas.
                _ => {
                    work.note(Probe::DeltasWalked);
                    PhaseStep::Walk
                }
            });
        }
        if !progress {
            return Ok(PhaseStep::Walk);
        }
        count(&pushes, stats);
        Ok(PhaseStep::Ask(Request::Deltas { covered: work.log.covered().clone(), pushes }))
    }
}

/// How the session ends after a refused delta; `None` if it continues.
fn outcome_of_refusal(refusal: DeltaRefusal) -> Result<Option<Outcome>, ProtocolBreach> {
    Ok(Some(match refusal {
        // A covered delta has arrived by gossip meanwhile. A delta is not ready if the peer has pruned a
        // parent of it, or if a delta before it waits; the walk brings the effect of both.
        // So it does if an ancestor is collected here, and for what an author wrote before all members knew of it, which
        // is from before the horizon. Where two peers know two histories of one author, each by the same numbers, only
        // states can be joined.
        DeltaRefusal::Covered
        | DeltaRefusal::NotReady
        | DeltaRefusal::HorizonAhead
        | DeltaRefusal::MissingAncestor
        | DeltaRefusal::LeftBehind
        | DeltaRefusal::AnotherHistory => return Ok(None),
        DeltaRefusal::Drift => Outcome::SyncPending(RetryReason::ClockDrift),
        DeltaRefusal::Malformed => return Err(ProtocolBreach::DeltaBreaksRule),
        DeltaRefusal::NotAMember | DeltaRefusal::BadSignature => {
            Outcome::Failed(FailureReason::Unauthorized(refusal))
        }
    }))
}

fn count(pushes: &[Bytes], stats: &mut SessionStats) {
    stats.deltas_pushed += pushes.len() as u64;
    stats.bytes += pushes.iter().map(|delta| delta.len() as u64).sum::<u64>();
}
