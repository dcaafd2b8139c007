//! Which protocol two replicas should run.

use crate::filter::Filter;
use crate::handshake::{SyncHandshake, SyncProtocolKind};
use std::fmt;
use syncline_types::{Digest, EntityId, canary};

/// A protocol with its parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SyncProtocol {
    /// Nothing to transfer.
    None,
    /// Deltas the other lacks.
    DeltaSync,
    /// Walk the Merkle index from this root.
    HashComparison {
        /// The remote root.
        root_hash: Digest,
    },
    /// Take the whole state.
    Snapshot {
        /// Whether pages are compressed.
        compressed: bool,
        /// Whether the result is checked against the promised root: always.
        verified: bool,
    },
    /// Exchange a filter.
    BloomFilter {
        /// Its size in bits.
        filter_size: u64,
    },
    /// Take whole subtrees.
    SubtreePrefetch {
        /// Which; empty means those found to differ.
        subtree_roots: Vec<EntityId>,
    },
    /// Walk level by level.
    LevelWise {
        /// How deep.
        max_depth: u32,
    },
    /// Read the difference from coded symbols.
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
    /// By what each would cost: [`crate::select_adaptively`].
    #[default]
    Adaptive,
}

/// The row of the decision table that was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SelectionReason {
    /// The roots are equal.
    RootsEqual,
    /// The side that asks wants this protocol.
    Requested,
    /// The local side has no state yet.
    FreshReplica,
    /// Few deltas lie between the two, and both keep those the other lacks.
    FewDeltas,
    /// The record counts differ by more than half.
    HighDivergence,
    /// The tree is deep and the counts are close.
    DeepTree,
    /// There is much state and the counts are closer.
    LargeState,
    /// The tree is wide and shallow.
    WideAndShallow,
    /// No earlier row applied.
    Default,
    /// The sketches of the handshake told the whole difference.
    Located,
    /// By what the sketches and the version vectors say, it costs the least.
    Cheapest,
    /// No row's protocol is spoken by both; deltas are the last resort.
    LastResort,
    /// The two sides have no protocol in common. This is a failure, unlike [`Self::RootsEqual`].
    NoCommonProtocol,
}

impl fmt::Display for SelectionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RootsEqual => "the roots are equal",
            Self::Requested => "the side that asks wants it",
            Self::FreshReplica => "the local replica has no state yet",
            Self::FewDeltas => "few deltas lie between the two, and they are kept",
            Self::HighDivergence => "the record counts differ by more than half",
            Self::DeepTree => "the tree is deep and the record counts differ by less than a fifth",
            Self::LargeState => "the state is large and the record counts differ by less than a tenth",
            Self::WideAndShallow => "the tree is wide and shallow",
            Self::Default => "no special case applies",
            Self::Located => "the handshake itself told what differs",
            Self::Cheapest => "it costs the least for the difference that the sketches show",
            Self::LastResort => "nothing else is spoken by both sides",
            Self::NoCommonProtocol => "the two sides have no protocol in common",
        })
    }
}

/// A protocol and why it was chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProtocolSelection {
    /// The choice.
    pub protocol: SyncProtocol,
    /// The row of the table that made it.
    pub reason: SelectionReason,
}

/// Children per level from which a shallow tree counts as wide.
const WIDE_CHILDREN: u64 = 10;
const DEEP_TREE_DEPTH: u32 = 3;
const LARGE_STATE_RECORDS: u64 = 50;
const COMPRESS_ABOVE_RECORDS: u64 = 100;
/// Deltas that are worth sending before looking at the states.
const FEW_DELTAS: u64 = 128;

/// Walks the decision table from the top and takes the first row that applies and whose protocol
/// both sides can run (**N1**, **N2**). `local` is the side that asks.
///
/// The table is that of the Hybrid State Synchronization CIP, section 2.3. It judges divergence by
/// record counts alone; row 2b is ours, from the version vectors that both sides send. A session that
/// begins with deltas goes on with a walk if roots still differ. Counts are otherwise all there is, so it cannot tell two disjoint states of equal size from two equal ones;
/// whatever it picks ends in a comparison of roots.
///
/// | row | applies when | protocol |
/// |---|---|---|
/// | 1 | roots are equal | None |
/// | 1b | the asking side wishes for one that can be run | that one |
/// | 2 | local has no state | Snapshot, compressed above 100 records |
/// | 2b | at most 128 deltas lie between the two, and are kept | DeltaSync |
/// | 3 | counts differ by more than 50 % of the remote's | HashComparison |
/// | 4 | remote deeper than 3, counts within 20 % | SubtreePrefetch |
/// | 5 | remote above 50 records, counts within 10 % | BloomFilter |
/// | 6 | remote 1 or 2 deep with more than 10 records a level | LevelWise |
/// | 7 | always | HashComparison |
/// | 8 | nothing above can be run | DeltaSync |
pub fn select_protocol(local: &SyncHandshake, remote: &SyncHandshake) -> ProtocolSelection {
    if local.root_hash == remote.root_hash {
        return ProtocolSelection { protocol: SyncProtocol::None, reason: SelectionReason::RootsEqual };
    }
    let spoken = |kind| {
        canary!(CapabilitiesIgnored)
            || local.supported_protocols.contains(&kind) && remote.supported_protocols.contains(&kind)
    };
    let runs = |kind| spoken(kind) && can_run(kind, local) && may_compare(kind, local, remote);
    if let Some(kind) = local.wish.filter(|kind| runs(*kind)) {
        let protocol = with_parameters(kind, local, remote);
        return ProtocolSelection { protocol, reason: SelectionReason::Requested };
    }
    let row = rows(local, remote).into_iter().flatten().find(|row| spoken(row.protocol.kind()));
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
    // Of two that both take a snapshot from a third, neither has what the other waits for.
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

/// Whether a protocol may be run by `local` at all: a snapshot only without state (**I5**).
pub(crate) const fn can_run(kind: SyncProtocolKind, local: &SyncHandshake) -> bool {
    match kind {
        SyncProtocolKind::None => false,
        SyncProtocolKind::Snapshot => !local.has_state,
        _ => true,
    }
}

/// Whether records may pass as this protocol has them: not between states of different horizons, and one without
/// state comes to the other's only by a snapshot.
fn may_compare(kind: SyncProtocolKind, local: &SyncHandshake, remote: &SyncHandshake) -> bool {
    matches!(kind, SyncProtocolKind::Snapshot | SyncProtocolKind::DeltaSync)
        || local.has_state
        || !remote.has_state
        || local.horizon == remote.horizon
}

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
            let bits = local.entity_count.saturating_mul(Filter::BITS_PER_RECORD);
            SyncProtocol::BloomFilter { filter_size: bits.clamp(64, Filter::MAX_BITS) }
        }
        SyncProtocolKind::SubtreePrefetch => SyncProtocol::SubtreePrefetch { subtree_roots: Vec::new() },
        SyncProtocolKind::LevelWise => SyncProtocol::LevelWise { max_depth: remote.max_depth },
        SyncProtocolKind::RatelessIblt => SyncProtocol::RatelessIblt,
    }
}

/// How many deltas lie between the two, if both keep those that the other lacks.
pub(crate) fn delta_gap(local: &SyncHandshake, remote: &SyncHandshake) -> Option<u64> {
    let wanted = remote.covered.beyond(&local.covered, &remote.log_floor)?;
    let offered = local.covered.beyond(&remote.covered, &local.log_floor)?;
    Some(wanted.saturating_add(offered))
}

fn few_deltas(local: &SyncHandshake, remote: &SyncHandshake) -> bool {
    delta_gap(local, remote).is_some_and(|gap| (1..=FEW_DELTAS).contains(&gap))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::delta::{Dot, VersionVector};
    use crate::handshake::SYNC_PROTOCOL_VERSION;
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
            wish: None,
            sketch: None,
            link: crate::handshake::Link::default(),
            clock: 0,
            horizon: syncline_types::Hlc::ZERO,
            stable: VersionVector::default(),
        }
    }

    fn choice(local: &SyncHandshake, remote: &SyncHandshake) -> (Kind, Why) {
        let selection = select_protocol(local, remote);
        (selection.protocol.kind(), selection.reason)
    }

    #[test]
    fn each_row_of_the_table_is_reached_in_order() {
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
    fn a_small_gap_of_kept_deltas_is_closed_by_deltas() {
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
        assert_eq!(choice(&behind, &ahead(20, 11)).1, Why::HighDivergence, "not kept any more");
        assert_eq!(choice(&behind, &ahead(10, 0)).1, Why::HighDivergence, "nothing to send");
    }

    #[test]
    fn bounds_are_strict_where_the_table_says_so() {
        assert_eq!(choice(&side(1, 50, 9), &side(2, 100, 9)).1, Why::Default, "50 % is not more than half");
        assert_eq!(choice(&side(1, 80, 9), &side(2, 100, 9)).1, Why::Default, "20 % is not below a fifth");
        assert_eq!(
            choice(&side(1, 90, 9), &side(2, 100, 2)).1,
            Why::WideAndShallow,
            "10 % is not below a tenth"
        );
    }

    #[test]
    fn a_protocol_one_side_cannot_run_is_passed_over() {
        let (fresh, mut remote) = (side(0, 0, 0), side(2, 500, 9));
        remote.supported_protocols = vec![Kind::DeltaSync, Kind::HashComparison];
        assert_eq!(choice(&fresh, &remote), (Kind::HashComparison, Why::HighDivergence));
        remote.supported_protocols = vec![Kind::DeltaSync];
        assert_eq!(choice(&fresh, &remote), (Kind::DeltaSync, Why::LastResort));
        remote.supported_protocols = vec![Kind::None];
        assert_eq!(choice(&fresh, &remote), (Kind::None, Why::NoCommonProtocol));
    }

    #[test]
    fn a_wish_is_granted_where_it_can_be_run() {
        for kind in Kind::ALL {
            let wishing = |has_state| SyncHandshake { wish: Some(kind), ..side(u8::from(has_state), 5, 1) };
            let granted = |local: &SyncHandshake| choice(local, &side(2, 500, 9)).1 == Why::Requested;
            assert_eq!(granted(&wishing(false)), kind != Kind::None);
            assert_eq!(granted(&wishing(true)), !matches!(kind, Kind::None | Kind::Snapshot));
        }
        let unspoken = SyncHandshake { supported_protocols: vec![Kind::HashComparison], ..side(2, 500, 9) };
        let wishing = SyncHandshake { wish: Some(Kind::LevelWise), ..side(1, 5, 1) };
        assert_eq!(choice(&wishing, &unspoken).1, Why::HighDivergence);
    }

    #[test]
    fn an_initialised_replica_is_never_sent_a_snapshot() {
        for count in [1, 50, 1_000, u64::MAX] {
            for depth in [0, 1, 5] {
                let (local, remote) = (side(1, 1, 1), side(2, count, depth));
                assert_ne!(choice(&local, &remote).0, Kind::Snapshot);
            }
        }
    }
}
