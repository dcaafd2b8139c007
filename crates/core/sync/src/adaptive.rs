//! Choosing a protocol by what it is going to cost.
//!
//! The decision table ([`crate::select_protocol`]) sees counts, and two disjoint states of equal size look
//! equal to it. Where the initiator's handshake carries a sketch, the responder knows about how many
//! records differ, and reckons for each protocol how many round trips and bytes it will need on the link
//! that the initiator described. What all protocols move alike, the differing records, is left out.

use crate::filter::Filter;
use crate::handshake::{Link, SyncHandshake, SyncProtocolKind};
use crate::select::{ProtocolSelection, SelectionReason, can_run, delta_gap, with_parameters};
use crate::sketch::{Cell, Sketch, are_enough, cells_wanted, plan};
use syncline_types::limits;

/// What a protocol would cost beyond the differing records themselves, after the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// The protocol.
    pub protocol: SyncProtocolKind,
    /// Requests to be answered.
    pub round_trips: u64,
    /// Bytes both ways.
    pub bytes: u64,
    /// Time on both processors, in microseconds.
    pub cpu_us: u64,
    /// All of it together, in microseconds.
    pub time_us: u64,
}

/// Records and deltas beyond which no cost is told apart.
const MOST: u64 = 1 << 40;
/// Bytes of one child in an index node on the wire: its id and the short hash of its record.
const ENTRY: u64 = 41;
/// Bytes of an inner node on the wire.
const NODE: u64 = 16 * 9;
/// Children in a bucket, on average.
const BUCKET: u64 = 16;
/// Bytes of a delta beyond what its records would take.
const DELTA: u64 = 100;
/// Entities of a record's page, for records of common size.
const RECORDS_PER_PAGE: u64 = 400;

/// What each protocol that both sides speak would cost, cheapest first. `local` is the side that asks;
/// `difference` is about how many records are in one state and not in the other.
pub fn costs(local: &SyncHandshake, remote: &SyncHandshake, difference: u64) -> Vec<Cost> {
    let spoken =
        |kind| local.supported_protocols.contains(&kind) && remote.supported_protocols.contains(&kind);
    let mut costs: Vec<Cost> = SyncProtocolKind::ALL
        .into_iter()
        .filter(|kind| spoken(*kind) && can_run(*kind, local, remote))
        .filter_map(|kind| cost(kind, local, remote, difference))
        .collect();
    // Of two that cost the same, the one named first.
    costs.sort_by_key(|cost| cost.time_us);
    costs
}

fn cost(kind: SyncProtocolKind, local: &SyncHandshake, remote: &SyncHandshake, d: u64) -> Option<Cost> {
    // Claims beyond any real state are cut, so that nothing below overflows.
    let n = local.entity_count.max(remote.entity_count).clamp(1, MOST);
    let d = d.clamp(1, 2 * n);
    let pages = |records: u64| records.div_ceil(RECORDS_PER_PAGE);
    // The differing records, one half each way, in the rounds that follow once they are located.
    let moved = pages(d / 2).max(1);
    let walk = walk(n, d, u64::from(remote.max_depth.max(1)));
    let (round_trips, bytes, cpu_us) = match kind {
        SyncProtocolKind::None => return None,
        SyncProtocolKind::Snapshot => (pages(remote.entity_count).max(1), 0, n),
        SyncProtocolKind::DeltaSync => {
            let gap = delta_gap(local, remote).filter(|gap| *gap > 0)?.min(MOST);
            (gap.div_ceil(limits::MAX_DELTAS_PER_FRAME as u64).max(moved), gap * DELTA, gap * 20)
        }
        SyncProtocolKind::HashComparison => (walk.0 + moved, walk.1, walk.1 / 100),
        SyncProtocolKind::BloomFilter => {
            let bytes = (2 * n * Filter::BITS_PER_RECORD / 8).min(2 * limits::MAX_FILTER_BYTES as u64);
            // One difference in 120 is not seen, more if the filter is too small for the state.
            let crowding = (n * Filter::BITS_PER_RECORD).div_ceil(Filter::MAX_BITS);
            let unseen = d * crowding / 60;
            let rest = if unseen > 0 { self::walk(n, unseen, 1) } else { (0, 0) };
            (1 + moved + rest.0, (bytes + 16 * d).saturating_add(rest.1), n / 2)
        }
        SyncProtocolKind::SubtreePrefetch => (walk.0 + moved, walk.1.saturating_add(d * 100), walk.1 / 100),
        SyncProtocolKind::LevelWise => {
            let levels = u64::from(remote.max_depth.max(1));
            let shown = n.min(d.saturating_mul(n / levels).max(n / levels));
            (levels + shown / 2_048 + moved, shown.saturating_mul(ENTRY), shown / 2)
        }
        SyncProtocolKind::RatelessIblt => {
            let kept = Sketch::kept_of(remote.entity_count);
            let cells = cells_wanted(d);
            let cells = if are_enough(kept, d) { cells.min(kept) } else { cells };
            match plan([local, remote].map(|side| side.entity_count), d) {
                // Filters, and what they hide, in one round.
                Some(plan) => (1 + moved, plan.bytes + d / 2 * 3, n / 2 + d / 4),
                None => {
                    let made_anew = if cells > kept { 2 * n } else { 0 };
                    // What the kept cells do not tell is asked for in rounds of its own.
                    let rounds = cells.saturating_sub(kept).div_ceil(limits::MAX_CELLS as u64) + moved;
                    (rounds, cells * Cell::BYTES as u64 + d / 2 * 4, made_anew + d / 4)
                }
            }
        }
    };
    let Link { round_trip_us, bytes_per_second } = local.link;
    let on_the_wire = bytes.saturating_mul(1_000_000) / bytes_per_second.max(1);
    let time_us =
        round_trips.saturating_mul(round_trip_us).saturating_add(on_the_wire).saturating_add(cpu_us);
    Some(Cost { protocol: kind, round_trips, bytes, cpu_us, time_us })
}

/// Round trips and bytes of a walk down an index of `n` entries spread over `depth` levels, to `d`
/// differences spread at random.
fn walk(n: u64, d: u64, depth: u64) -> (u64, u64) {
    let (mut shown, mut bytes, mut levels) = (1u64, 0u64, 0u64);
    let per_level = (n / depth).max(1);
    while shown.saturating_mul(BUCKET) < per_level {
        bytes = bytes.saturating_add(shown.min(d).saturating_mul(NODE));
        shown = shown.saturating_mul(16);
        levels += 1;
    }
    let buckets = d.min(shown.saturating_mul(depth));
    // Two levels in the first answer, and in any that is asked of few nodes.
    let rounds = (levels / 2 + 1) * depth.min(d);
    let shown = buckets.saturating_mul(BUCKET.min(per_level) * ENTRY);
    (rounds, bytes.saturating_mul(depth.min(d)).saturating_add(shown))
}

/// The cheapest protocol for two states that differ in about `difference` records. `found` says that the
/// handshake told all of them already.
pub fn select_adaptively(
    local: &SyncHandshake,
    remote: &SyncHandshake,
    difference: u64,
    found: bool,
) -> ProtocolSelection {
    let costs = costs(local, remote, difference);
    let sketch = costs.iter().any(|cost| cost.protocol == SyncProtocolKind::RatelessIblt);
    let (kind, reason) = match costs.first() {
        _ if found && sketch => (SyncProtocolKind::RatelessIblt, SelectionReason::Located),
        Some(cost) => (cost.protocol, SelectionReason::Cheapest),
        None => (SyncProtocolKind::None, SelectionReason::NoCommonProtocol),
    };
    ProtocolSelection { protocol: with_parameters(kind, local, remote), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::tests::side;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_claim_overflows_what_is_reckoned(
            counts: [u64; 2],
            difference: u64,
            depth in 0u32..2_048,
            round_trip_us: u64,
            bytes_per_second: u64,
        ) {
            let mut local = side(1, counts[0], depth);
            local.link = Link { round_trip_us, bytes_per_second };
            let remote = side(2, counts[1], depth);
            prop_assert!(!costs(&local, &remote, difference).is_empty());
            prop_assert!(costs(&local, &remote, u64::MAX).is_sorted_by_key(|cost| cost.time_us));
        }
    }
}
