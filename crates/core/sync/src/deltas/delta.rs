//! Deltas: actions that travel together, and their position among those of their author.

use super::{Gate, Signature};
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
///
/// Where more heads than [`limits::MAX_PARENTS`] were covered, the author names the newest, and the delta may apply
/// before the others. No value depends on the order: an action carries the stamps by which it is joined, and a
/// join gives the same record in every order. What a delete has observed lies before its stamp, whichever arrives
/// first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delta {
    /// The position of the delta in its author's sequence.
    pub dot: Dot,
    /// The newest heads of the author's log when the delta was made, ascending by author: at most
    /// [`limits::MAX_PARENTS`].
    pub parents: Vec<DeltaRef>,
    /// The time at which the delta was made. It is later than the stamps of all parents.
    pub stamp: Hlc,
    /// The tombstone horizon of the author's state when the delta was made; before `stamp`. What the author wrote
    /// may depend on what it had collected, so a delta applies only to a state with this horizon or a later one.
    pub horizon: Hlc,
    /// The changes, in order. A state that covers the parents, and the author's previous delta, has their anchors,
    /// unless it has collected one.
    pub actions: Vec<RelativeAction>,
    /// The author's signature over the id of the delta; see [`Delta::signed`]. A peer that forwards the delta
    /// forwards the signature.
    pub signature: Signature,
}

impl Delta {
    /// A delta without a signature, of an author that has collected nothing, whose actions have their whole paths.
    pub fn new(dot: Dot, parents: Vec<DeltaRef>, stamp: Hlc, actions: Vec<Action>) -> Self {
        let actions = actions.into_iter().map(RelativeAction::from).collect();
        Self { dot, parents, stamp, horizon: Hlc::ZERO, actions, signature: Signature(Vec::new()) }
    }

    /// The same delta of an author that has collected the tombstones up to `horizon`.
    pub fn after_collection(self, horizon: Hlc) -> Self {
        debug_assert_eq!(horizon, Hlc::last_at(horizon.time()), "a horizon has the greatest replica");
        Self { horizon, ..self }
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
        let mut hasher = Hasher::new(b"syncline/delta/v2");
        hasher.part(out.as_slice());
        self.signature.encode(&mut out);
        (hasher.finish().into(), out.into_bytes())
    }

    fn encode_content(&self, out: &mut Writer) {
        self.dot.encode(out);
        out.list(&self.parents);
        self.stamp.encode(out);
        out.varint(self.horizon.time());
        out.list(&self.actions);
    }

    /// The reference by which later deltas name this one as a parent.
    pub fn reference(&self) -> DeltaRef {
        DeltaRef { dot: self.dot, id: self.id() }
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
        let before = input.remaining();
        let dot = Dot::decode(input)?;
        let parents: Vec<DeltaRef> = input.list(limits::MAX_PARENTS, "the parents of a delta")?;
        if parents.windows(2).any(|pair| matches!(pair, [a, b] if a.dot.author >= b.dot.author)) {
            return Err(DecodeError::NotCanonical { what: "the parents of a delta" });
        }
        let stamp = Hlc::decode(input)?;
        let horizon = Hlc::last_at(input.varint()?);
        let actions = input.list(limits::MAX_ACTIONS_PER_DELTA, "the actions of a delta")?;
        let signature = Signature::decode(input)?;
        // A longer delta could be applied but not be passed on, since a reply needs room for it in a frame.
        let bytes = before - input.remaining();
        if bytes > limits::MAX_DELTA_BYTES {
            let limit = limits::MAX_DELTA_BYTES as u64;
            return Err(DecodeError::TooLarge { what: "a delta", found: bytes as u64, limit });
        }
        Ok(Self { dot, parents, stamp, horizon, actions, signature })
    }
}
