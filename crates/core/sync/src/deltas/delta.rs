//! Deltas, and the version vectors that summarise which of them a state covers.

use super::{Gate, Signature};
use std::collections::BTreeMap;
use std::fmt;
use syncline_storage::{Action, RelativeAction};
use syncline_types::{Decode, DecodeError, DeltaId, Encode, Hasher, Hlc, Reader, ReplicaId, Writer, limits};

/// The position of a delta: its author, and its number in the author's sequence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Dot {
    /// The replica that made the delta.
    pub author: ReplicaId,
    /// The number of the delta among the author's deltas, from one.
    pub seq: u64,
}

/// The author and the number: `0200…#7`.
impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.author, self.seq)
    }
}

/// A reference to a delta: its position and the digest of its content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs, reason = "plain data")]
pub struct DeltaRef {
    pub dot: Dot,
    pub id: DeltaId,
}

/// Actions that travel together. A delta applies only after its parents, and after its author's
/// previous delta (**I8**).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delta {
    /// The position of the delta in its author's sequence.
    pub dot: Dot,
    /// The heads of the author's log when the delta was made, ascending by author.
    pub parents: Vec<DeltaRef>,
    /// The time at which the delta was made. It is later than the stamps of all parents.
    pub stamp: Hlc,
    /// The changes, in order. A state that covers the parents, and the author's previous delta, has their anchors,
    /// unless it has collected one.
    pub actions: Vec<RelativeAction>,
    /// The author's signature over the id of the delta; see [`Delta::signed`]. A peer that forwards the delta
    /// forwards the signature.
    pub signature: Signature,
}

impl Delta {
    /// A delta without a signature, whose actions have their whole paths.
    pub fn new(dot: Dot, parents: Vec<DeltaRef>, stamp: Hlc, actions: Vec<Action>) -> Self {
        let actions = actions.into_iter().map(RelativeAction::from).collect();
        Self { dot, parents, stamp, actions, signature: Signature(Vec::new()) }
    }

    /// The same delta, signed by this replica with the scheme of `gate`.
    pub fn signed(self, gate: &Gate) -> Self {
        Self { signature: gate.sign(self.id()), ..self }
    }

    /// The digest of the content, which is everything but the signature. It is the same on every
    /// replica (**I9**).
    pub fn id(&self) -> DeltaId {
        self.id_and_bytes().0
    }

    /// The id and the canonical bytes, encoded once for both.
    pub(super) fn id_and_bytes(&self) -> (DeltaId, Vec<u8>) {
        let mut out = Writer::default();
        self.encode_content(&mut out);
        let mut hasher = Hasher::new(b"syncline/delta/v1");
        hasher.part(out.as_slice());
        self.signature.encode(&mut out);
        (hasher.finish().into(), out.into_bytes())
    }

    fn encode_content(&self, out: &mut Writer) {
        self.dot.encode(out);
        out.list(&self.parents);
        self.stamp.encode(out);
        out.list(&self.actions);
    }

    /// The reference by which later deltas name this one as a parent.
    pub fn reference(&self) -> DeltaRef {
        DeltaRef { dot: self.dot, id: self.id() }
    }
}

/// A version vector: for each author, the number of its last covered delta. That delta and all before
/// it are in the state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VersionVector(BTreeMap<ReplicaId, u64>);

impl VersionVector {
    /// How many of `author`'s deltas the vector covers.
    pub fn of(&self, author: ReplicaId) -> u64 {
        self.0.get(&author).copied().unwrap_or(0)
    }

    /// Whether the vector covers the delta at `dot`.
    pub fn covers(&self, dot: Dot) -> bool {
        dot.seq <= self.of(dot.author)
    }

    /// Extends the vector to cover `dot` and all earlier deltas of its author.
    pub fn cover(&mut self, dot: Dot) {
        let seq = self.0.entry(dot.author).or_default();
        *seq = (*seq).max(dot.seq);
    }

    /// Raises the vector to the least upper bound of itself and `other`, except for authors beyond
    /// [`limits::MAX_REPLICAS`]. Returns whether it has changed.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for dot in other.entries().filter(|dot| dot.seq > 0) {
            if !self.covers(dot) && self.has_room_for(dot.author) {
                self.cover(dot);
                changed = true;
            }
        }
        changed
    }

    /// Whether an honest peer could have this vector. Adopting a sequence number near
    /// [`limits::MAX_DELTA_SEQ`] would leave its author unable to write; at most half of that leaves
    /// enough room.
    pub fn is_plausible(&self) -> bool {
        self.entries().all(|dot| dot.seq <= limits::MAX_DELTA_SEQ / 2)
    }

    /// Whether the vector covers everything that `other` covers.
    pub fn includes(&self, other: &Self) -> bool {
        other.entries().all(|dot| self.covers(dot))
    }

    /// How many deltas `self` covers and `other` does not. `None` if `other` is below `floor`, where
    /// the log has pruned deltas that `other` lacks.
    pub fn beyond(&self, other: &Self, floor: &Self) -> Option<u64> {
        let mut gap = 0u64;
        for Dot { author, seq } in self.entries() {
            let missing = seq.saturating_sub(other.of(author));
            if missing > 0 && other.of(author) < floor.of(author) {
                return None;
            }
            gap = gap.saturating_add(missing);
        }
        Some(gap)
    }

    /// Whether the vector covers `author` already or can take one author more.
    pub fn has_room_for(&self, author: ReplicaId) -> bool {
        self.0.len() < limits::MAX_REPLICAS || self.0.contains_key(&author)
    }

    /// The last covered delta of each author, ascending by author.
    pub fn entries(&self) -> impl Iterator<Item = Dot> {
        self.0.iter().map(|(&author, &seq)| Dot { author, seq })
    }
}

impl Encode for Dot {
    fn encode(&self, out: &mut Writer) {
        self.author.encode(out);
        out.varint(self.seq);
    }
}

impl Decode for Dot {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let author = ReplicaId::decode(input)?;
        let seq = input.varint()?;
        if seq == 0 {
            return Err(DecodeError::NotCanonical { what: "the number of a delta" });
        }
        if seq > limits::MAX_DELTA_SEQ {
            let what = "the number of a delta";
            return Err(DecodeError::TooLarge { what, found: seq, limit: limits::MAX_DELTA_SEQ });
        }
        Ok(Self { author, seq })
    }
}

impl Encode for DeltaRef {
    fn encode(&self, out: &mut Writer) {
        self.dot.encode(out);
        self.id.encode(out);
    }
}

impl Decode for DeltaRef {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { dot: Dot::decode(input)?, id: DeltaId::decode(input)? })
    }
}

impl Encode for Delta {
    fn encode(&self, out: &mut Writer) {
        self.encode_content(out);
        self.signature.encode(out);
    }
}

impl Decode for Delta {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let dot = Dot::decode(input)?;
        let parents: Vec<DeltaRef> = input.list(limits::MAX_HEADS, "the parents of a delta")?;
        if parents.windows(2).any(|pair| matches!(pair, [a, b] if a.dot.author >= b.dot.author)) {
            return Err(DecodeError::NotCanonical { what: "the parents of a delta" });
        }
        let stamp = Hlc::decode(input)?;
        let actions = input.list(limits::MAX_ACTIONS_PER_DELTA, "the actions of a delta")?;
        Ok(Self { dot, parents, stamp, actions, signature: Signature::decode(input)? })
    }
}

impl Encode for VersionVector {
    fn encode(&self, out: &mut Writer) {
        let dots: Vec<Dot> = self.entries().collect();
        out.list(&dots);
    }
}

impl Decode for VersionVector {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let dots: Vec<Dot> = input.list(limits::MAX_REPLICAS, "a version vector")?;
        if dots.windows(2).any(|pair| matches!(pair, [a, b] if a.author >= b.author)) {
            return Err(DecodeError::NotCanonical { what: "a version vector" });
        }
        Ok(Self(dots.into_iter().map(|dot| (dot.author, dot.seq)).collect()))
    }
}
