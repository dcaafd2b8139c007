//! Deltas: actions that travel together, in causal order.

use crate::authority::{Gate, Signature};
use std::collections::BTreeMap;
use syncline_storage::Action;
use syncline_types::{Decode, DecodeError, DeltaId, Encode, Hasher, Hlc, Reader, ReplicaId, Writer, limits};

/// The place of a delta in its author's sequence, from one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Dot {
    /// Who made the delta.
    pub author: ReplicaId,
    /// Its number among the author's deltas.
    pub seq: u64,
}

/// A delta as others refer to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DeltaRef {
    /// Its place.
    pub dot: Dot,
    /// The digest of its content.
    pub id: DeltaId,
}

/// Actions that travel together. A delta applies only after its parents, and after its author's
/// previous delta (**I8**).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delta {
    /// Its place in its author's sequence.
    pub dot: Dot,
    /// The heads that its author had seen.
    pub parents: Vec<DeltaRef>,
    /// When it was made.
    pub stamp: Hlc,
    /// What it changes.
    pub actions: Vec<Action>,
    /// Its author's, over its id; see [`Delta::signed`]. It travels with the delta wherever that goes.
    pub signature: Signature,
}

impl Delta {
    /// A delta that nobody has signed yet.
    pub const fn new(dot: Dot, parents: Vec<DeltaRef>, stamp: Hlc, actions: Vec<Action>) -> Self {
        Self { dot, parents, stamp, actions, signature: Signature(Vec::new()) }
    }

    /// The same delta, signed by this replica as `gate` says.
    pub fn signed(self, gate: &Gate) -> Self {
        Self { signature: gate.sign(self.id()), ..self }
    }

    /// The digest of the content, which is all but the signature: the same on every replica (**I9**).
    pub fn id(&self) -> DeltaId {
        self.sealed().0
    }

    /// The id and the canonical bytes, in one go.
    pub(crate) fn sealed(&self) -> (DeltaId, Vec<u8>) {
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

    /// How others refer to it.
    pub fn reference(&self) -> DeltaRef {
        DeltaRef { dot: self.dot, id: self.id() }
    }
}

/// Per author, the number of the last delta such that it and all before it are in the state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VersionVector(BTreeMap<ReplicaId, u64>);

impl VersionVector {
    /// How many of `author`'s deltas are covered.
    pub fn of(&self, author: ReplicaId) -> u64 {
        self.0.get(&author).copied().unwrap_or(0)
    }

    /// Whether the delta at `dot` is covered.
    pub fn covers(&self, dot: Dot) -> bool {
        dot.seq <= self.of(dot.author)
    }

    /// Covers `dot` and all before it.
    pub fn cover(&mut self, dot: Dot) {
        let seq = self.0.entry(dot.author).or_default();
        *seq = (*seq).max(dot.seq);
    }

    /// Covers all that `other` covers, as far as there is room for its authors. Says whether that
    /// was anything new.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut news = false;
        for dot in other.entries().filter(|dot| dot.seq > 0) {
            if !self.covers(dot) && self.has_room_for(dot.author) {
                self.cover(dot);
                news = true;
            }
        }
        news
    }

    /// Whether an honest peer could have it. Whoever believed more could write no more; below half of
    /// the longest history there is room to go on.
    pub fn is_plausible(&self) -> bool {
        self.entries().all(|dot| dot.seq <= limits::MAX_DELTA_SEQ / 2)
    }

    /// Whether it covers all that `other` does.
    pub fn includes(&self, other: &Self) -> bool {
        other.entries().all(|dot| self.covers(dot))
    }

    /// How many deltas `self` covers and `other` does not; `None` if some of those are at or below
    /// `floor`, where the deltas themselves are not kept.
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

    /// Whether it has room for a delta of `author`.
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
        let (author, seq) = (ReplicaId::decode(input)?, input.varint()?);
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
