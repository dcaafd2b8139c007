//! What two replicas tell each other before they choose a protocol.

use crate::delta::{DeltaRef, VersionVector};
use crate::sketch::{Located, SketchHead};
use std::fmt;
use syncline_types::{
    ContextId, Decode, DecodeError, Digest, Encode, Hlc, Reader, ReplicaId, Writer, limits,
};

/// The version of messages and hashes. Replicas of different versions refuse each other clearly,
/// since their roots could never agree.
pub const SYNC_PROTOCOL_VERSION: u32 = 4;

/// A sync strategy, without its parameters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum SyncProtocolKind {
    /// Nothing to do: the roots are equal.
    None = 0,
    /// Deltas the other lacks, in causal order.
    DeltaSync = 1,
    /// A walk down the differing parts of the Merkle index.
    HashComparison = 2,
    /// The whole state, verified before it is shown.
    Snapshot = 3,
    /// A filter over what is known.
    BloomFilter = 4,
    /// Whole differing subtrees at once.
    SubtreePrefetch = 5,
    /// Breadth first, level by level.
    LevelWise = 6,
    /// Coded symbols, until the difference can be read from them.
    RatelessIblt = 7,
}

impl SyncProtocolKind {
    /// Every kind.
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

    /// Whether it begins with what the sketches of the handshake tell.
    pub const fn uses_sketch(self) -> bool {
        matches!(self, Self::RatelessIblt | Self::SubtreePrefetch)
    }

    /// The protocols that can be run end to end; only these are advertised (**I11**).
    pub const EXECUTABLE: [Self; 8] = Self::ALL;
}

impl fmt::Display for SyncProtocolKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What one side says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncHandshake {
    /// The version it speaks.
    pub version: u32,
    /// The context it means.
    pub context: ContextId,
    /// Who it is.
    pub replica: ReplicaId,
    /// Its Merkle root.
    pub root_hash: Digest,
    /// Its records, tombstones included.
    pub entity_count: u64,
    /// The depth of its deepest record.
    pub max_depth: u32,
    /// Whether it has any state; what it has written while it takes a snapshot is none yet.
    pub has_state: bool,
    /// Its newest deltas.
    pub dag_heads: Vec<DeltaRef>,
    /// The deltas its state covers.
    pub covered: VersionVector,
    /// Up to which it does not keep the deltas themselves.
    pub log_floor: VersionVector,
    /// What it can run end to end, ascending.
    pub supported_protocols: Vec<SyncProtocolKind>,
    /// What its user wants it to run as the initiator, wherever that can be run.
    pub wish: Option<SyncProtocolKind>,
    /// What its sketch says. Who sends it wants the protocol chosen by what it is going to cost; without
    /// it, the decision table chooses.
    pub sketch: Option<SketchHead>,
    /// The link to the other side, as far as it knows.
    pub link: Link,
    /// The time of its clock, as its stamps have it: whatever it writes from now on is stamped later.
    pub clock: u64,
    /// Up to which stamp its state has forgotten what is dead.
    pub horizon: Hlc,
    /// What every member covered when that horizon was found.
    pub stable: VersionVector,
}

/// What a link can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// How long an answer takes, in microseconds.
    pub round_trip_us: u64,
    /// How much it carries, in bytes a second.
    pub bytes_per_second: u64,
}

impl Default for Link {
    /// A common one over a wide area: 50 milliseconds, 20 megabits a second.
    fn default() -> Self {
        Self { round_trip_us: 50_000, bytes_per_second: 2_500_000 }
    }
}

/// The answer to a handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HandshakeReply {
    /// What the responder says of itself.
    pub theirs: SyncHandshake,
    /// The protocol that the responder chose for the initiator.
    pub verdict: SyncProtocolKind,
    /// About how many records differ, if the initiator sent a sketch.
    pub difference: Option<u64>,
    /// What the responder's sketch says, if the protocol begins with that.
    pub located: Option<Located>,
}

/// What negotiation needs to know of a replica.
pub trait LocalSyncState {
    /// The context.
    fn context(&self) -> ContextId;
    /// Who it is.
    fn replica(&self) -> ReplicaId;
    /// Its Merkle root; zero without state.
    fn root_hash(&self) -> Digest;
    /// Its records, tombstones included.
    fn entity_count(&self) -> u64;
    /// The depth of its deepest record.
    fn max_depth(&self) -> u32;
    /// Its newest deltas.
    fn dag_heads(&self) -> Vec<DeltaRef>;
    /// The deltas its state covers.
    fn covered(&self) -> VersionVector;
    /// Up to which it does not keep the deltas themselves.
    fn log_floor(&self) -> VersionVector;
    /// Up to which stamp its state has forgotten what is dead.
    fn horizon(&self) -> Hlc {
        Hlc::ZERO
    }
    /// What every member covered when that horizon was found.
    fn stable(&self) -> VersionVector {
        VersionVector::default()
    }
    /// Whether it has any state; what it has written while it takes a snapshot is none yet.
    fn has_state(&self) -> bool {
        !self.root_hash().is_zero()
    }
    /// What it can run end to end.
    fn supported_protocols(&self) -> Vec<SyncProtocolKind> {
        SyncProtocolKind::EXECUTABLE.to_vec()
    }
}

/// The handshake of `state`.
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
        wish: None,
        sketch: None,
        link: Link::default(),
        clock: 0,
        horizon: state.horizon(),
        stable: state.stable(),
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
        out.bool(self.wish.is_some());
        if let Some(wish) = self.wish {
            wish.encode(out);
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
    }
}

impl Decode for SyncHandshake {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = input.u32_le()?;
        let (context, replica) = (ContextId::decode(input)?, ReplicaId::decode(input)?);
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
            wish: input.bool("a wish")?.then(|| SyncProtocolKind::decode(input)).transpose()?,
            sketch: input.bool("a sketch")?.then(|| SketchHead::decode(input)).transpose()?,
            link: Link { round_trip_us: input.varint()?, bytes_per_second: input.varint()? },
            clock: input.varint()?,
            horizon: Hlc::decode(input)?,
            stable: VersionVector::decode(input)?,
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
            located: input.bool("cells")?.then(|| Located::decode(input)).transpose()?,
        })
    }
}
