//! The cost model: which protocol is estimated to finish first.
//!
//! The decision table ([`crate::select_protocol`]) sees counts, and two disjoint states of equal size
//! look equal to it. If the initiator's handshake contains a sketch, the responder can estimate how many
//! records differ. From that estimate it computes, for each protocol, the round trips and bytes on the
//! link that the initiator described. The differing records themselves are left out, because all
//! protocols transfer them alike.
//!
//! Three invariants hold. All arithmetic saturates or works on clamped counts, so no claim of a peer
//! overflows. Only integers are used, so both sides and all machines compute the same costs. And a wrong
//! estimate costs time only: every protocol ends with a comparison of the roots.

use super::decision_table::{ProtocolSelection, SelectionReason, can_run, delta_gap, with_parameters};
use crate::messages::{BloomFilter, Link, SyncHandshake, SyncProtocolKind};
use crate::sketch::{Cell, Sketch, cells_to_request, likely_suffice, plan_filters};
use syncline_types::limits;

/// The estimated cost of a protocol after the handshake, without the differing records themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProtocolCost {
    /// The protocol.
    pub protocol: SyncProtocolKind,
    /// The number of requests that wait for a response.
    pub round_trips: u64,
    /// Bytes on the wire in both directions.
    pub bytes: u64,
    /// Processor time of both sides, in microseconds.
    pub cpu_us: u64,
    /// The total time in microseconds: round trips, transfer and processor.
    pub time_us: u64,
}

/// The largest number of records or deltas that the model distinguishes. Larger claims are clamped, so
/// that products of two such counts fit 128 bits and sums of a few fit 64.
const MAX_CLAIM: u64 = 1 << 40;
/// Bytes of one child in an index node on the wire: its id and the short hash of its record.
const ENTRY_BYTES: u64 = 41;
/// Bytes of an inner node on the wire.
const NODE_BYTES: u64 = 16 * 9;
/// The average number of children in a bucket.
const BUCKET: u64 = 16;
/// Bytes of a delta beyond those of its records.
const DELTA_BYTES: u64 = 100;
/// Records in a page, for records of common size.
const RECORDS_PER_PAGE: u64 = 400;

/// The estimated cost of each protocol that both sides support, cheapest first. `local` is the
/// initiator; `difference` is the estimated number of records that are in one state and not in the other.
pub fn costs(local: &SyncHandshake, remote: &SyncHandshake, difference: u64) -> Vec<ProtocolCost> {
    let supported =
        |kind| local.supported_protocols.contains(&kind) && remote.supported_protocols.contains(&kind);
    let mut costs: Vec<ProtocolCost> = SyncProtocolKind::ALL
        .into_iter()
        .filter(|kind| supported(*kind) && can_run(*kind, local, remote))
        .filter_map(|kind| cost(kind, local, remote, difference))
        .collect();
    // A stable sort: of two protocols of equal cost, the one with the lower number comes first on both sides.
    costs.sort_by_key(|cost| cost.time_us);
    costs
}

fn cost(
    kind: SyncProtocolKind,
    local: &SyncHandshake,
    remote: &SyncHandshake,
    d: u64,
) -> Option<ProtocolCost> {
    // Claims beyond any real state are clamped, so that nothing below overflows.
    let n = local.entity_count.max(remote.entity_count).clamp(1, MAX_CLAIM);
    let d = d.clamp(1, 2 * n);
    let pages = |records: u64| records.div_ceil(RECORDS_PER_PAGE);
    // Once the differing records are located, half of them goes each way, at the same time.
    let moved = pages(d / 2).max(1);
    let (walk_rounds, walk_bytes) = walk(n, d, u64::from(remote.max_depth.max(1)));
    let (round_trips, bytes, cpu_us) = match kind {
        SyncProtocolKind::None => return None,
        SyncProtocolKind::Snapshot => (pages(remote.entity_count).max(1), 0, n),
        SyncProtocolKind::DeltaSync => {
            let gap = delta_gap(local, remote).filter(|gap| *gap > 0)?.min(MAX_CLAIM);
            (gap.div_ceil(limits::MAX_DELTAS_PER_FRAME as u64).max(moved), gap * DELTA_BYTES, gap * 20)
        }
        SyncProtocolKind::HashComparison => (walk_rounds + moved, walk_bytes, walk_bytes / 100),
        SyncProtocolKind::BloomFilter => {
            let bytes = (2 * n * BloomFilter::BITS_PER_RECORD / 8).min(2 * limits::MAX_FILTER_BYTES as u64);
            // Each of the two filters has one false positive in 120, and proportionally more when the largest
            // filter is too small for the state. A walk finds what they hide.
            let overload = (n * BloomFilter::BITS_PER_RECORD).div_ceil(BloomFilter::MAX_BITS);
            let hidden = d * overload / 60;
            let (rest_rounds, rest_bytes) = if hidden > 0 { walk(n, hidden, 1) } else { (0, 0) };
            (1 + moved + rest_rounds, (bytes + 16 * d).saturating_add(rest_bytes), n / 2)
        }
        SyncProtocolKind::SubtreePrefetch => {
            (walk_rounds + moved, walk_bytes.saturating_add(d * 100), walk_bytes / 100)
        }
        SyncProtocolKind::LevelWise => {
            // Every level is one round, and shows all children of each entity that differs.
            let levels = u64::from(remote.max_depth.max(1));
            let shown = n.min(d.saturating_mul(n / levels).max(n / levels));
            (levels + shown / 2_048 + moved, shown.saturating_mul(ENTRY_BYTES), shown / 2)
        }
        SyncProtocolKind::RatelessIblt => iblt_cost(local, remote, (n, d), moved),
    };
    let Link { round_trip_us, bytes_per_second } = local.link;
    let transfer_us = bytes.saturating_mul(1_000_000) / bytes_per_second.max(1);
    let time_us =
        round_trips.saturating_mul(round_trip_us).saturating_add(transfer_us).saturating_add(cpu_us);
    debug_assert!(time_us >= transfer_us && time_us >= cpu_us, "the total includes its parts");
    Some(ProtocolCost { protocol: kind, round_trips, bytes, cpu_us, time_us })
}

/// Round trips, bytes and processor time of a rateless IBLT for `d` differences of `n` records. `moved`
/// is the number of rounds that transfer the records.
fn iblt_cost(
    local: &SyncHandshake,
    remote: &SyncHandshake,
    (n, d): (u64, u64),
    moved: u64,
) -> (u64, u64, u64) {
    let stored = Sketch::cells_for_size(remote.entity_count);
    let cells = cells_to_request(d);
    let cells = if likely_suffice(stored, d) { cells.min(stored) } else { cells };
    match plan_filters([local, remote].map(|side| side.entity_count), d) {
        // The filters, and the table of what they hide, take one round.
        Some(plan) => (1 + moved, plan.bytes + d / 2 * 3, n / 2 + d / 4),
        None => {
            // Cells beyond the stored ones take a scan of both states, and rounds of their own.
            let scan_us = if cells > stored { 2 * n } else { 0 };
            let rounds = cells.saturating_sub(stored).div_ceil(limits::MAX_CELLS as u64) + moved;
            (rounds, cells * Cell::BYTES as u64 + d / 2 * 4, scan_us + d / 4)
        }
    }
}

/// Round trips and bytes of a walk down an index of `n` entities on `depth` levels, to `d` differences
/// at random places. Near the root the differences touch every node; from the level with more than `d`
/// nodes on, each difference has a path of its own.
///
/// Ids need not be hashes: a walk skips the nodes with a single child, which ids with common beginnings cause, and a
/// node with few slots comes with those below it. `sessions/id_shapes.rs` measures that the cost stays within 1.3 times.
fn walk(n: u64, d: u64, depth: u64) -> (u64, u64) {
    let mut nodes = 1u64;
    let mut bytes = 0u64;
    let mut levels = 0u64;
    let per_level = (n / depth).max(1);
    while nodes.saturating_mul(BUCKET) < per_level {
        bytes = bytes.saturating_add(nodes.min(d).saturating_mul(NODE_BYTES));
        nodes = nodes.saturating_mul(16);
        levels += 1;
    }
    let buckets = d.min(nodes.saturating_mul(depth));
    // An answer shows two levels of the trie where hashes differ, so a round descends two levels.
    let rounds = (levels / 2 + 1) * depth.min(d);
    let bucket_bytes = buckets.saturating_mul(BUCKET.min(per_level) * ENTRY_BYTES);
    (rounds, bytes.saturating_mul(depth.min(d)).saturating_add(bucket_bytes))
}

/// The cheapest protocol for two states that differ in about `difference` records. `found` tells that
/// the sketches in the handshake have shown all of them already.
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
    use crate::selection::decision_table::tests::side;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn claims_never_overflow_costs(
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
