//! The handshake: what two replicas report about themselves before they choose a protocol.

use crate::deltas::{DeltaRef, VersionVector};
use crate::sketch::{LocatedDifference, SketchHead};
use std::fmt;
use syncline_types::{
    ContextId, Decode, DecodeError, Digest, Encode, Hlc, Reader, ReplicaId, Writer, limits,
};

/// The version of messages and hashes. Replicas of different versions reject each other with
/// [`super::Rejection::Version`], since their roots could never agree.
pub const SYNC_PROTOCOL_VERSION: u32 = 6;

/// The first version whose handshakes have the field `known`. A store may hold an earlier handshake: that of a
/// snapshot whose transfer was interrupted.
pub(super) const KNOWN_SINCE: u32 = 6;

/// A sync strategy, without its parameters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum SyncProtocolKind {
    /// The roots are equal, so nothing is transferred.
    None = 0,
    /// The deltas that each side lacks, in causal order.
    DeltaSync = 1,
    /// A walk down the differing parts of the Merkle index.
    HashComparison = 2,
    /// The whole state, verified against the promised root before it is published.
    Snapshot = 3,
    /// Bloom filters over all records.
    BloomFilter = 4,
    /// Whole subtrees that differ, each in one answer.
    SubtreePrefetch = 5,
    /// A breadth-first comparison, one level of the tree in each round.
    LevelWise = 6,
    /// Coded symbols of a rateless IBLT, until the difference decodes.
    RatelessIblt = 7,
}

impl SyncProtocolKind {
    /// Every kind, in the order of their numbers on the wire.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::DeltaSync,
        Self::HashComparison,
        Self::Snapshot,
        Self::BloomFilter,
        Self::SubtreePrefetch,
        Self::LevelWise,
        Self::RatelessIblt,
    ];

    /// Whether the protocol starts from the sketches in the handshake.
    pub const fn uses_sketch(self) -> bool {
        matches!(self, Self::RatelessIblt | Self::SubtreePrefetch)
    }

    /// The protocols that this program can run end to end; only these are advertised (**I11**).
    pub const EXECUTABLE: [Self; 8] = Self::ALL;
}

impl fmt::Display for SyncProtocolKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What one side of a session reports about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncHandshake {
    /// The version of messages and hashes; see [`SYNC_PROTOCOL_VERSION`].
    pub version: u32,
    /// The context to sync.
    pub context: ContextId,
    /// The id of the sender.
    pub replica: ReplicaId,
    /// The sender's Merkle root; zero without state.
    pub root_hash: Digest,
    /// The number of records that the sender has, tombstones included.
    pub entity_count: u64,
    /// The depth of the sender's deepest record; children of the root have depth one.
    pub max_depth: u32,
    /// Whether the sender is initialised. A replica that is receiving its first snapshot is not, even
    /// if it has local writes.
    pub has_state: bool,
    /// The sender's newest deltas: those that no covered delta names as a parent.
    pub dag_heads: Vec<DeltaRef>,
    /// The deltas that the sender's state covers.
    pub covered: VersionVector,
    /// For each author, the last covered delta that the sender's log does not store; nor does it store those
    /// before it.
    pub log_floor: VersionVector,
    /// The protocols that the sender can run end to end, ascending.
    pub supported_protocols: Vec<SyncProtocolKind>,
    /// The protocol that the initiator's user requested. It is chosen wherever it can run.
    pub requested_protocol: Option<SyncProtocolKind>,
    /// The head of the sender's sketch. An initiator that sends it lets the responder choose the
    /// cheapest protocol; without it, the decision table chooses.
    pub sketch: Option<SketchHead>,
    /// The sender's estimate of the link between the two sides.
    pub link: Link,
    /// The sender's clock, in packed HLC units: everything it writes from now on has a later stamp.
    pub clock: u64,
    /// The sender's horizon: the stamp up to which its tombstones are collected.
    pub horizon: Hlc,
    /// The deltas that every member covered when that horizon was computed.
    pub stable: VersionVector,
    /// The last delta of the recipient that the sender's log stores, if the sender knows who the recipient is. A
    /// recipient that has another delta under that number shares its id with another store.
    pub known: Option<DeltaRef>,
}

/// The latency and bandwidth of a link, as far as a replica knows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// The round-trip time in microseconds.
    pub round_trip_us: u64,
    /// The bandwidth in bytes per second.
    pub bytes_per_second: u64,
}

impl Default for Link {
    /// A common wide-area link: a round trip of 50 milliseconds, 20 megabits per second.
    fn default() -> Self {
        Self { round_trip_us: 50_000, bytes_per_second: 2_500_000 }
    }
}

/// The answer to a handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HandshakeReply {
    /// The responder's own handshake.
    pub theirs: SyncHandshake,
    /// The protocol that the responder chose; the initiator checks the choice.
    pub verdict: SyncProtocolKind,
    /// The estimated number of records that differ, if the initiator sent a sketch.
    pub difference: Option<u64>,
    /// What the sketches show of the difference, if the protocol starts from them.
    pub located: Option<LocatedDifference>,
}

/// What negotiation reads of a replica. Each method is the field of the same name in [`SyncHandshake`].
#[allow(missing_docs, reason = "each method is documented as a field of SyncHandshake")]
pub trait LocalSyncState {
    fn context(&self) -> ContextId;
    fn replica(&self) -> ReplicaId;
    fn root_hash(&self) -> Digest;
    fn entity_count(&self) -> u64;
    fn max_depth(&self) -> u32;
    fn dag_heads(&self) -> Vec<DeltaRef>;
    fn covered(&self) -> VersionVector;
    fn log_floor(&self) -> VersionVector;
    fn horizon(&self) -> Hlc {
        Hlc::ZERO
    }
    fn stable(&self) -> VersionVector {
        VersionVector::default()
    }
    fn has_state(&self) -> bool {
        !self.root_hash().is_zero()
    }
    fn supported_protocols(&self) -> Vec<SyncProtocolKind> {
        SyncProtocolKind::EXECUTABLE.to_vec()
    }
}

/// Builds the handshake of `state`, without a requested protocol and without a sketch.
pub fn build_handshake(state: &impl LocalSyncState) -> SyncHandshake {
    SyncHandshake {
        version: SYNC_PROTOCOL_VERSION,
        context: state.context(),
        replica: state.replica(),
        root_hash: state.root_hash(),
        entity_count: state.entity_count(),
        max_depth: state.max_depth(),
        has_state: state.has_state(),
        dag_heads: state.dag_heads(),
        covered: state.covered(),
        log_floor: state.log_floor(),
        supported_protocols: state.supported_protocols(),
        requested_protocol: None,
        sketch: None,
        link: Link::default(),
        clock: 0,
        horizon: state.horizon(),
        stable: state.stable(),
        known: None,
    }
}

impl Encode for SyncProtocolKind {
    fn encode(&self, out: &mut Writer) {
        out.u8(*self as u8);
    }
}

impl Decode for SyncProtocolKind {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let tag = input.u8()?;
        Self::ALL
            .get(usize::from(tag))
            .copied()
            .ok_or_else(|| DecodeError::UnknownTag { what: "protocol", found: u64::from(tag) })
    }
}

impl Encode for SyncHandshake {
    fn encode(&self, out: &mut Writer) {
        out.u32_le(self.version);
        self.context.encode(out);
        self.replica.encode(out);
        self.root_hash.encode(out);
        out.varint(self.entity_count);
        out.varint(u64::from(self.max_depth));
        out.bool(self.has_state);
        out.list(&self.dag_heads);
        self.covered.encode(out);
        self.log_floor.encode(out);
        out.list(&self.supported_protocols);
        out.bool(self.requested_protocol.is_some());
        if let Some(requested) = self.requested_protocol {
            requested.encode(out);
        }
        out.bool(self.sketch.is_some());
        if let Some(sketch) = &self.sketch {
            sketch.encode(out);
        }
        out.varint(self.link.round_trip_us);
        out.varint(self.link.bytes_per_second);
        out.varint(self.clock);
        self.horizon.encode(out);
        self.stable.encode(out);
        if self.version >= KNOWN_SINCE {
            out.bool(self.known.is_some());
            if let Some(known) = &self.known {
                known.encode(out);
            }
        }
    }
}

impl Decode for SyncHandshake {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = input.u32_le()?;
        let context = ContextId::decode(input)?;
        let replica = ReplicaId::decode(input)?;
        let root_hash = Digest::decode(input)?;
        let entity_count = input.varint()?;
        let depth = input.varint()?;
        let max_depth = u32::try_from(depth).ok().filter(|depth| *depth as usize <= limits::MAX_ANCESTORS);
        let max_depth = max_depth.ok_or(DecodeError::TooLarge {
            what: "the depth of a state",
            found: depth,
            limit: limits::MAX_ANCESTORS as u64,
        })?;
        Ok(Self {
            version,
            context,
            replica,
            root_hash,
            entity_count,
            max_depth,
            has_state: input.bool("a handshake")?,
            dag_heads: input.list(limits::MAX_HEADS, "the heads of a handshake")?,
            covered: VersionVector::decode(input)?,
            log_floor: VersionVector::decode(input)?,
            supported_protocols: input.list(limits::MAX_PROTOCOLS, "the protocols of a handshake")?,
            requested_protocol: input
                .bool("a requested protocol")?
                .then(|| SyncProtocolKind::decode(input))
                .transpose()?,
            sketch: input.bool("a sketch")?.then(|| SketchHead::decode(input)).transpose()?,
            link: Link { round_trip_us: input.varint()?, bytes_per_second: input.varint()? },
            clock: input.varint()?,
            horizon: Hlc::decode(input)?,
            stable: VersionVector::decode(input)?,
            known: if version >= KNOWN_SINCE && input.bool("a known delta")? {
                Some(DeltaRef::decode(input)?)
            } else {
                None
            },
        })
    }
}

impl Encode for HandshakeReply {
    fn encode(&self, out: &mut Writer) {
        self.theirs.encode(out);
        self.verdict.encode(out);
        out.bool(self.difference.is_some());
        if let Some(difference) = self.difference {
            out.varint(difference);
        }
        out.bool(self.located.is_some());
        if let Some(located) = &self.located {
            located.encode(out);
        }
    }
}

impl Decode for HandshakeReply {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            theirs: SyncHandshake::decode(input)?,
            verdict: SyncProtocolKind::decode(input)?,
            difference: input.bool("an estimate")?.then(|| input.varint()).transpose()?,
            located: input.bool("cells")?.then(|| LocatedDifference::decode(input)).transpose()?,
        })
    }
}
