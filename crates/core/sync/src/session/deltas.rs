//! DeltaSync: the deltas that each side lacks, in causal order, both ways.

use super::{FailureReason, Outcome, OwedReason, SessionStats, Turn, compare_roots};
use crate::delta::{Delta, VersionVector};
use crate::handshake::SyncHandshake;
use crate::log::{DeltaRefusal, Missing};
use crate::message::{DeltasReply, Request};
use crate::transaction::Transaction;
use syncline_storage::StorageError;
use syncline_store::{Bytes, ReadView};
use syncline_types::{Decode, limits};

#[derive(Clone, PartialEq, Debug)]
pub(super) struct DeltaExchange {
    /// What the peer's state covers, as far as it has said.
    theirs: VersionVector,
    /// Whether the last request brought it anything.
    pushed: bool,
}

impl DeltaExchange {
    pub(super) fn start<V: ReadView>(
        theirs: &SyncHandshake,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<(Self, Request), StorageError> {
        let mut exchange = Self { theirs: theirs.covered.clone(), pushed: false };
        let pushes = exchange.page(work)?;
        exchange.pushed = !pushes.is_empty();
        count(&pushes, stats);
        let covered = work.log.covered().clone();
        Ok((exchange, Request::Deltas { covered, pushes }))
    }

    /// The next deltas that the peer lacks; none if they are not kept.
    fn page<V: ReadView>(&self, work: &Transaction<V>) -> Result<Vec<Bytes>, StorageError> {
        Ok(match work.deltas_since(&self.theirs, limits::PAGE_BYTES)? {
            Missing::Deltas { deltas, .. } => deltas,
            Missing::BelowFloor => Vec::new(),
        })
    }

    pub(super) fn on_reply<V: ReadView>(
        &mut self,
        reply: &DeltasReply,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Turn, StorageError> {
        let mut progress = false;
        for bytes in &reply.deltas {
            let Ok(delta) = Delta::from_bytes(bytes) else {
                return Ok(fail("a delta that does not decode"));
            };
            match work.apply_delta(&delta)? {
                Ok(()) => {
                    stats.deltas_received += 1;
                    stats.bytes += bytes.len() as u64;
                    progress = true;
                }
                // Covered: it came by gossip meanwhile. Not ready: a parent is not kept any more.
                Err(DeltaRefusal::Covered | DeltaRefusal::NotReady) => {}
                Err(DeltaRefusal::NoMerge) => return Ok(Turn::End(Outcome::Owed(OwedReason::NoMerge))),
                Err(DeltaRefusal::Drift) => return Ok(Turn::End(Outcome::Owed(OwedReason::ClockDrift))),
                Err(DeltaRefusal::LeftBehind) => {
                    return Ok(Turn::End(Outcome::Failed(FailureReason::LeftBehind)));
                }
                Err(DeltaRefusal::Malformed) => return Ok(fail("a delta that breaks a rule")),
                Err(refusal @ (DeltaRefusal::NotAMember | DeltaRefusal::BadSignature)) => {
                    return Ok(Turn::End(Outcome::Failed(FailureReason::Unauthorized(refusal))));
                }
            }
        }
        // To cover more is progress only of one who was brought something, and who loses nothing by it:
        // or a peer could go on for ever with a new account each time and no delta.
        progress |= self.pushed && self.theirs != reply.covered && reply.covered.includes(&self.theirs);
        self.theirs = reply.covered.clone();
        let pushes = self.page(work)?;
        self.pushed = !pushes.is_empty();
        if reply.complete && pushes.is_empty() {
            let outcome = compare_roots(work, reply.root)?;
            return Ok(match outcome {
                Outcome::Converged { .. } => Turn::End(outcome),
                // The states differ by more than deltas.
                _ => Turn::Walk,
            });
        }
        if !progress {
            return Ok(Turn::Walk);
        }
        count(&pushes, stats);
        Ok(Turn::Ask(Request::Deltas { covered: work.log.covered().clone(), pushes }))
    }
}

fn count(pushes: &[Bytes], stats: &mut SessionStats) {
    stats.deltas_pushed += pushes.len() as u64;
    stats.bytes += pushes.iter().map(|delta| delta.len() as u64).sum::<u64>();
}

const fn fail(what: &'static str) -> Turn {
    Turn::End(Outcome::Failed(FailureReason::Protocol(what)))
}
