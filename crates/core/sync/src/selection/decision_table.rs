//! The decision table: which protocol two replicas run, by counts and version vectors.

use crate::messages::{BloomFilter, SyncHandshake, SyncProtocolKind};
use std::cmp::Ordering;
use std::fmt;
use syncline_types::{Digest, EntityId, canary};

/// A protocol with its parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SyncProtocol {
    /// Transfers nothing.
    None,
    /// Exchanges the deltas that each side lacks.
    DeltaSync,
    /// Walks down the Merkle index.
    HashComparison {
        /// The root of the remote state.
        root_hash: Digest,
    },
    /// Receives the whole state.
    Snapshot {
        /// Whether pages are compressed.
        compressed: bool,
        /// Whether the result is verified against the promised root. It always is.
        verified: bool,
    },
    /// Exchanges Bloom filters over all records.
    BloomFilter {
        /// The size of the filter in bits.
        filter_size: u64,
    },
    /// Receives whole subtrees that differ.
    SubtreePrefetch {
        /// The roots of the subtrees; empty means those that are found to differ.
        subtree_roots: Vec<EntityId>,
    },
    /// Compares the tree level by level.
    LevelWise {
        /// The depth of the remote tree.
        max_depth: u32,
    },
    /// Decodes the difference from coded symbols.
    RatelessIblt,
}

impl SyncProtocol {
    /// The protocol without its parameters.
    pub const fn kind(&self) -> SyncProtocolKind {
        match self {
            Self::None => SyncProtocolKind::None,
            Self::DeltaSync => SyncProtocolKind::DeltaSync,
            Self::HashComparison { .. } => SyncProtocolKind::HashComparison,
            Self::Snapshot { .. } => SyncProtocolKind::Snapshot,
            Self::BloomFilter { .. } => SyncProtocolKind::BloomFilter,
            Self::SubtreePrefetch { .. } => SyncProtocolKind::SubtreePrefetch,
            Self::LevelWise { .. } => SyncProtocolKind::LevelWise,
            Self::RatelessIblt => SyncProtocolKind::RatelessIblt,
        }
    }
}

/// How the protocol of a session is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Selection {
    /// By the decision table: [`select_protocol`].
    Table,
    /// By the cost model: [`crate::select_adaptively`].
    #[default]
    Adaptive,
}

/// Why a protocol was selected: a row of the decision table, or the cost model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SelectionReason {
    /// The roots are equal.
    RootsEqual,
    /// One side lacks deltas without which it is left behind, and the logs store all that either side lacks.
    LeftBehind,
    /// The initiator requested this protocol.
    Requested,
    /// The initiator has no state yet.
    FreshReplica,
    /// Few deltas separate the two states, and both logs store those that the other side lacks.
    FewDeltas,
    /// The record counts differ by more than half.
    HighDivergence,
    /// The tree is deep and the counts differ by less than a fifth.
    DeepTree,
    /// The state is large and the counts differ by less than a tenth.
    LargeState,
    /// The tree is wide and shallow.
    WideAndShallow,
    /// No earlier row of the table applies.
    Default,
    /// The sketches in the handshake showed the whole difference.
    Located,
    /// The cost model estimates the lowest time for this protocol.
    Cheapest,
    /// No other row's protocol is supported by both sides; deltas are the last resort.
    LastResort,
    /// The two sides have no protocol in common. This is a failure, unlike [`Self::RootsEqual`].
    NoCommonProtocol,
}

impl fmt::Display for SelectionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RootsEqual => "the roots are equal",
            Self::LeftBehind => "one side lacks deltas that the other has collected, and the logs store them",
            Self::Requested => "the initiator requested it",
            Self::FreshReplica => "the local replica has no state yet",
            Self::FewDeltas => "few deltas lie between the two, and the logs store them",
            Self::HighDivergence => "the record counts differ by more than half",
            Self::DeepTree => "the tree is deep and the record counts differ by less than a fifth",
            Self::LargeState => "the state is large and the record counts differ by less than a tenth",
            Self::WideAndShallow => "the tree is wide and shallow",
            Self::Default => "no special case applies",
            Self::Located => "the sketches in the handshake showed the whole difference",
            Self::Cheapest => "it costs the least for the difference that the sketches show",
            Self::LastResort => "both sides support no other protocol",
            Self::NoCommonProtocol => "the two sides have no protocol in common",
        })
    }
}

/// A protocol and the reason of its selection.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "plain data")]
pub struct ProtocolSelection {
    pub protocol: SyncProtocol,
    pub reason: SelectionReason,
}

/// A shallow tree with more records than this on a level is wide.
const WIDE_CHILDREN: u64 = 10;
/// A tree with more levels than this is deep.
const DEEP_TREE_DEPTH: u32 = 3;
/// A state with more records than this is large.
const LARGE_STATE_RECORDS: u64 = 50;
/// Snapshots of states with more records than this are compressed.
const COMPRESS_ABOVE_RECORDS: u64 = 100;
/// The most deltas that are sent before the states are compared.
const FEW_DELTAS: u64 = 128;

/// Selects the first row of the decision table that applies and whose protocol both sides can run
/// (**N1**, **N2**). `local` is the initiator.
///
/// The table is that of the Hybrid State Synchronization CIP, section 2.3; row 2b is an addition, based
/// on the version vectors in the handshakes. The other rows measure divergence by record counts alone,
/// so the table cannot distinguish two disjoint states of equal size from two equal ones. This costs
/// time but not correctness: every protocol ends with a comparison of the roots. A session that begins
/// with deltas continues with a walk if the roots still differ.
///
/// | row | applies when | protocol |
/// |---|---|---|
/// | 1 | roots are equal | None |
/// | 1a | one side lacks what the other has collected, and the logs store all deltas in which they differ | DeltaSync |
/// | 1b | the initiator requests one that can run | that one |
/// | 2 | local has no state | Snapshot, compressed above 100 records |
/// | 2b | at most 128 deltas separate the two states, and the logs store them | DeltaSync |
/// | 3 | counts differ by more than 50 % of the remote's | HashComparison |
/// | 4 | remote deeper than 3, counts within 20 % | SubtreePrefetch |
/// | 5 | remote above 50 records, counts within 10 % | BloomFilter |
/// | 6 | remote 1 or 2 deep with more than 10 records a level | LevelWise |
/// | 7 | always | HashComparison |
/// | 8 | no protocol above can run | DeltaSync |
pub fn select_protocol(local: &SyncHandshake, remote: &SyncHandshake) -> ProtocolSelection {
    if local.root_hash == remote.root_hash {
        return ProtocolSelection { protocol: SyncProtocol::None, reason: SelectionReason::RootsEqual };
    }
    let supported = |kind| {
        canary!(CapabilitiesIgnored)
            || local.supported_protocols.contains(&kind) && remote.supported_protocols.contains(&kind)
    };
    if supported(SyncProtocolKind::DeltaSync) && can_catch_up(local, remote) {
        return ProtocolSelection { protocol: SyncProtocol::DeltaSync, reason: SelectionReason::LeftBehind };
    }
    let requested = local.requested_protocol.filter(|kind| supported(*kind) && can_run(*kind, local, remote));
    if let Some(kind) = requested {
        let protocol = with_parameters(kind, local, remote);
        return ProtocolSelection { protocol, reason: SelectionReason::Requested };
    }
    let row = rows(local, remote).into_iter().flatten().find(|row| supported(row.protocol.kind()));
    row.unwrap_or(ProtocolSelection {
        protocol: SyncProtocol::None,
        reason: SelectionReason::NoCommonProtocol,
    })
}

fn rows(local: &SyncHandshake, remote: &SyncHandshake) -> [Option<ProtocolSelection>; 8] {
    let base = u128::from(remote.entity_count.max(1));
    let gap = u128::from(local.entity_count.abs_diff(remote.entity_count));
    let differs_below = |percent: u128| gap * 100 < base * percent;
    let per_level = remote.entity_count / u64::from(remote.max_depth.max(1));
    // Without the second condition two replicas that both receive a snapshot from a third one would ask each
    // other for a snapshot that neither has. The condition lets a replica without a root ask in any case,
    // since it has no writes to lose.
    let lacks_state = !local.has_state && (remote.has_state || local.root_hash.is_zero());
    let row = |applies: bool, kind, reason| {
        applies.then(|| ProtocolSelection { protocol: with_parameters(kind, local, remote), reason })
    };
    use SyncProtocolKind as Kind;
    [
        row(lacks_state || canary!(SnapshotOverwrites), Kind::Snapshot, SelectionReason::FreshReplica),
        row(
            local.has_state && remote.has_state && few_deltas(local, remote),
            Kind::DeltaSync,
            SelectionReason::FewDeltas,
        ),
        row(gap * 100 > base * 50, Kind::HashComparison, SelectionReason::HighDivergence),
        row(
            remote.max_depth > DEEP_TREE_DEPTH && differs_below(20),
            Kind::SubtreePrefetch,
            SelectionReason::DeepTree,
        ),
        row(
            remote.entity_count > LARGE_STATE_RECORDS && differs_below(10),
            Kind::BloomFilter,
            SelectionReason::LargeState,
        ),
        row(
            (1..=2).contains(&remote.max_depth) && per_level > WIDE_CHILDREN,
            Kind::LevelWise,
            SelectionReason::WideAndShallow,
        ),
        row(true, Kind::HashComparison, SelectionReason::Default),
        row(true, Kind::DeltaSync, SelectionReason::LastResort),
    ]
}

/// Whether `local` may run a protocol with `remote` at all. A snapshot requires that `local` has no state
/// (**I5**). Every other protocol transfers records, which are exchanged between equal horizons only; a
/// replica without state therefore needs a snapshot where `remote` has collected tombstones.
pub(crate) fn can_run(kind: SyncProtocolKind, local: &SyncHandshake, remote: &SyncHandshake) -> bool {
    match kind {
        SyncProtocolKind::None => false,
        SyncProtocolKind::Snapshot => !local.has_state,
        _ => local.has_state || local.horizon == remote.horizon,
    }
}

/// The protocol of this kind with the parameters that the two handshakes imply. Both sides compute the
/// same parameters.
pub(crate) fn with_parameters(
    kind: SyncProtocolKind,
    local: &SyncHandshake,
    remote: &SyncHandshake,
) -> SyncProtocol {
    match kind {
        SyncProtocolKind::None => SyncProtocol::None,
        SyncProtocolKind::DeltaSync => SyncProtocol::DeltaSync,
        SyncProtocolKind::HashComparison => SyncProtocol::HashComparison { root_hash: remote.root_hash },
        SyncProtocolKind::Snapshot => {
            let compressed = remote.entity_count > COMPRESS_ABOVE_RECORDS;
            SyncProtocol::Snapshot { compressed, verified: true }
        }
        SyncProtocolKind::BloomFilter => {
            let bits = local.entity_count.saturating_mul(BloomFilter::BITS_PER_RECORD);
            SyncProtocol::BloomFilter { filter_size: bits.clamp(64, BloomFilter::MAX_BITS) }
        }
        SyncProtocolKind::SubtreePrefetch => SyncProtocol::SubtreePrefetch { subtree_roots: Vec::new() },
        SyncProtocolKind::LevelWise => SyncProtocol::LevelWise { max_depth: remote.max_depth },
        SyncProtocolKind::RatelessIblt => SyncProtocol::RatelessIblt,
    }
}

/// How many deltas separate the two states, if both logs store those that the other side lacks.
pub(super) fn delta_gap(local: &SyncHandshake, remote: &SyncHandshake) -> Option<u64> {
    let wanted = remote.covered.beyond(&local.covered, &remote.log_floor)?;
    let offered = local.covered.beyond(&remote.covered, &local.log_floor)?;
    Some(wanted.saturating_add(offered))
}

/// Whether the one of two states that could not be compared, because it lacks what the other one has collected, can get
/// the deltas that it lacks.
fn can_catch_up(local: &SyncHandshake, remote: &SyncHandshake) -> bool {
    let is_left_behind = match local.horizon.cmp(&remote.horizon) {
        Ordering::Less => !local.covered.includes(&remote.stable) && remote.covered.includes(&remote.stable),
        Ordering::Greater => !remote.covered.includes(&local.stable) && local.covered.includes(&local.stable),
        Ordering::Equal => false,
    };
    is_left_behind && local.has_state && remote.has_state && delta_gap(local, remote).is_some()
}

fn few_deltas(local: &SyncHandshake, remote: &SyncHandshake) -> bool {
    delta_gap(local, remote).is_some_and(|gap| (1..=FEW_DELTAS).contains(&gap))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::deltas::{Dot, VersionVector};
    use crate::messages::{Link, SYNC_PROTOCOL_VERSION};
    use SelectionReason as Why;
    use SyncProtocolKind as Kind;
    use syncline_types::{ContextId, ReplicaId};

    pub(crate) fn side(root: u8, entity_count: u64, max_depth: u32) -> SyncHandshake {
        SyncHandshake {
            version: SYNC_PROTOCOL_VERSION,
            context: ContextId::default(),
            replica: ReplicaId::default(),
            root_hash: Digest([root; 32]),
            entity_count,
            max_depth,
            has_state: root != 0,
            dag_heads: vec![],
            covered: VersionVector::default(),
            log_floor: VersionVector::default(),
            supported_protocols: Kind::ALL.to_vec(),
            requested_protocol: None,
            sketch: None,
            link: Link::default(),
            clock: 0,
            wall_ms: 0,
            horizon: syncline_types::Hlc::ZERO,
            stable: VersionVector::default(),
            known: None,
        }
    }

    fn choice(local: &SyncHandshake, remote: &SyncHandshake) -> (Kind, Why) {
        let selection = select_protocol(local, remote);
        (selection.protocol.kind(), selection.reason)
    }

    #[test]
    fn takes_first_applicable_row() {
        let cases = [
            (side(1, 5, 1), side(1, 500, 9), Kind::None, Why::RootsEqual),
            (side(0, 0, 0), side(2, 500, 9), Kind::Snapshot, Why::FreshReplica),
            (side(1, 49, 9), side(2, 100, 9), Kind::HashComparison, Why::HighDivergence),
            (side(1, 81, 9), side(2, 100, 4), Kind::SubtreePrefetch, Why::DeepTree),
            (side(1, 91, 9), side(2, 100, 3), Kind::BloomFilter, Why::LargeState),
            (side(1, 50, 9), side(2, 50, 2), Kind::LevelWise, Why::WideAndShallow),
            (side(1, 20, 9), side(2, 20, 2), Kind::HashComparison, Why::Default),
        ];
        for (local, remote, kind, why) in cases {
            assert_eq!(choice(&local, &remote), (kind, why));
        }
    }

    #[test]
    fn selects_deltas_for_small_gap() {
        let author = ReplicaId::from_u64(1);
        let at = |seq| {
            let mut vector = VersionVector::default();
            vector.cover(Dot { author, seq });
            vector
        };
        let behind = SyncHandshake { covered: at(10), ..side(1, 5, 1) };
        let ahead = |seq, floor| SyncHandshake { covered: at(seq), log_floor: at(floor), ..side(2, 500, 9) };
        assert_eq!(choice(&behind, &ahead(138, 10)), (Kind::DeltaSync, Why::FewDeltas));
        assert_eq!(choice(&ahead(138, 10), &behind), (Kind::DeltaSync, Why::FewDeltas));
        assert_eq!(choice(&behind, &ahead(139, 10)).1, Why::HighDivergence, "too many");
        assert_eq!(choice(&behind, &ahead(20, 11)).1, Why::HighDivergence, "below the floor");
        assert_eq!(choice(&behind, &ahead(10, 0)).1, Why::HighDivergence, "nothing to send");
    }

    #[test]
    fn bounds_are_strict() {
        assert_eq!(choice(&side(1, 50, 9), &side(2, 100, 9)).1, Why::Default, "50 % is not more than half");
        assert_eq!(choice(&side(1, 80, 9), &side(2, 100, 9)).1, Why::Default, "20 % is not below a fifth");
        assert_eq!(
            choice(&side(1, 90, 9), &side(2, 100, 2)).1,
            Why::WideAndShallow,
            "10 % is not below a tenth"
        );
    }

    #[test]
    fn skips_unsupported_protocols() {
        let fresh = side(0, 0, 0);
        let mut remote = side(2, 500, 9);
        remote.supported_protocols = vec![Kind::DeltaSync, Kind::HashComparison];
        assert_eq!(choice(&fresh, &remote), (Kind::HashComparison, Why::HighDivergence));
        remote.supported_protocols = vec![Kind::DeltaSync];
        assert_eq!(choice(&fresh, &remote), (Kind::DeltaSync, Why::LastResort));
        remote.supported_protocols = vec![Kind::None];
        assert_eq!(choice(&fresh, &remote), (Kind::None, Why::NoCommonProtocol));
    }

    #[test]
    fn grants_requested_protocol_where_possible() {
        for kind in Kind::ALL {
            let requesting = |has_state| {
                let requested_protocol = Some(kind);
                SyncHandshake { requested_protocol, ..side(u8::from(has_state), 5, 1) }
            };
            let granted = |local: &SyncHandshake| choice(local, &side(2, 500, 9)).1 == Why::Requested;
            assert_eq!(granted(&requesting(false)), kind != Kind::None);
            assert_eq!(granted(&requesting(true)), !matches!(kind, Kind::None | Kind::Snapshot));
        }
        let limited = SyncHandshake { supported_protocols: vec![Kind::HashComparison], ..side(2, 500, 9) };
        let requesting = SyncHandshake { requested_protocol: Some(Kind::LevelWise), ..side(1, 5, 1) };
        assert_eq!(choice(&requesting, &limited).1, Why::HighDivergence);
    }

    #[test]
    fn initialised_replica_never_gets_snapshot() {
        for count in [1, 50, 1_000, u64::MAX] {
            for depth in [0, 1, 5] {
                let local = side(1, 1, 1);
                let remote = side(2, count, depth);
                assert_ne!(choice(&local, &remote).0, Kind::Snapshot);
            }
        }
    }
}
