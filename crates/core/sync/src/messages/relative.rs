//! Messages whose version vectors are given relative to vectors that the receiver knows.
//!
//! A version vector has an entry for each author. Where there are thousands of them, peers that have exchanged
//! vectors before send what has changed since: the name of a vector that the receiver knows, the changed
//! entries, and the digest of the result. A receiver that does not know the vector, because it has restarted, says
//! so ([`Rejection::NoHandshake`]), and the whole vector follows.
//!
//! [`Rejection::NoHandshake`]: super::Rejection::NoHandshake

use super::{Message, Request, Response, SyncHandshake};
use crate::deltas::VersionVector;
use std::fmt;
use syncline_types::{Decode, DecodeError, Digest, Encode, Reader, ReplicaId, Writer, limits};

/// Messages with at most this number of entries in their vectors are sent as they are.
const FEW_ENTRIES: usize = 64;
/// The most entries by which a stored vector of a peer may differ from an own one.
const MOST_CHANGES: usize = 4_096;
/// Separates the digests of [`ReplicaVectors`] from others.
const VECTORS_TAG: u8 = 0x59;

/// A version vector as the changes of another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VectorUpdate {
    /// The first eight bytes of the digest of the other vector.
    pub base: [u8; 8],
    /// The digest of the vector.
    pub digest: Digest,
    /// The entries that differ from the other vector, ascending by author; zero where this vector has none.
    pub changes: Vec<(ReplicaId, u64)>,
}

/// A message whose vectors are empty, and the vectors that belong into it, in the order of
/// [`Message::vectors_mut`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RelativeMessage {
    /// The digest of the receiver's vectors in the last handshake that the sender has of it; zero if it has none.
    /// From now on the receiver may send vectors relative to these.
    pub known: Digest,
    /// The vectors, relative to others.
    pub vectors: Vec<VectorUpdate>,
    /// The rest of the message.
    pub message: Message,
}

/// The name of a vector in a [`VectorUpdate`].
fn name_of(vector: &VersionVector) -> [u8; 8] {
    vector.digest().0.first_chunk().copied().unwrap_or_default()
}

impl VectorUpdate {
    /// `vector` relative to that of `bases` from which it differs least. The one that is likely the nearest should
    /// come first. O(bases · smallest difference), and O(difference) for the first.
    fn between<'a>(bases: impl Iterator<Item = &'a VersionVector>, vector: &VersionVector) -> Self {
        let empty = VersionVector::default();
        let mut best = Self { base: name_of(vector), digest: vector.digest(), changes: Vec::new() };
        let mut most = usize::MAX;
        for base in bases.map(Some).chain([None]) {
            let base = base.unwrap_or(&empty);
            // Two vectors differ in at least as many entries as one of them has more.
            let least = base.len().abs_diff(vector.len());
            if least < most
                && let Some(changes) = base.changes_to(vector, most)
            {
                most = changes.len();
                best.base = name_of(base);
                best.changes = changes;
            }
        }
        debug_assert!(most < usize::MAX, "each vector is relative to the empty one");
        best
    }

    /// The vector, if one of `bases` is the one that it is relative to. O(changes · log authors).
    fn resolve<'a>(&self, mut bases: impl Iterator<Item = &'a VersionVector>) -> Option<VersionVector> {
        let empty = VersionVector::default();
        let base = bases.find(|base| name_of(base) == self.base);
        let mut vector = base.or_else(|| (name_of(&empty) == self.base).then_some(&empty))?.clone();
        self.changes.iter().for_each(|(author, seq)| vector.set(*author, *seq));
        let is_whole = vector.digest() == self.digest && vector.len() <= limits::MAX_REPLICAS;
        is_whole.then_some(vector)
    }
}

/// The version vectors of a replica, as a handshake contains them. A clone takes O(1).
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ReplicaVectors {
    /// The deltas that the state covers.
    pub covered: VersionVector,
    /// For each author, the last covered delta that the log does not store.
    pub floor: VersionVector,
    /// The deltas that every member covered when tombstones were last collected.
    pub stable: VersionVector,
}

impl ReplicaVectors {
    fn of(handshake: &SyncHandshake) -> Self {
        Self {
            covered: handshake.covered.clone(),
            floor: handshake.log_floor.clone(),
            stable: handshake.stable.clone(),
        }
    }

    fn each(&self) -> [&VersionVector; 3] {
        [&self.covered, &self.floor, &self.stable]
    }

    /// The same vectors, sharing their parts with those of `own`.
    fn shared_with(&self, own: &Self) -> Option<Self> {
        // A floor is either near the own one, or near what is covered.
        let near = |vector: &VersionVector, other: &VersionVector| {
            let near = vector.shared_with(other, MOST_CHANGES);
            let near = near.or_else(|| vector.shared_with(&own.covered, MOST_CHANGES));
            near.or_else(|| (vector.len() < MOST_CHANGES).then(|| vector.clone()))
        };
        Some(Self {
            covered: near(&self.covered, &own.covered)?,
            floor: near(&self.floor, &own.floor)?,
            stable: near(&self.stable, &own.stable)?,
        })
    }

    fn digest(&self) -> Digest {
        let [covered, floor, stable] = self.each().map(VersionVector::digest);
        Digest::of_parts(VECTORS_TAG, &[&covered.0, &floor.0, &stable.0])
    }
}

impl fmt::Debug for ReplicaVectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digest().fmt(f)
    }
}

/// The vectors that a replica and one of its peers both know. Empty where vectors are small, since they are sent
/// whole then. The vectors of a peer share their parts with those of this replica as far as they agree.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KnownVectors {
    /// Those of the last handshake of the peer.
    theirs: Option<ReplicaVectors>,
    /// Those of this replica in the last handshake that it began a session with.
    requested: Option<ReplicaVectors>,
    /// Those of this replica in its last answer to a handshake.
    answered: Option<ReplicaVectors>,
    /// Those of this replica that the peer certainly has.
    acknowledged: Option<ReplicaVectors>,
    /// Whether the last handshake was sent relative to vectors that the peer may not know.
    was_relative: bool,
    /// Whether the peer has answered a relative handshake, so that it can read whole vectors in one too.
    reads_relative: bool,
}

impl KnownVectors {
    /// Whether no vector is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The message as it is sent: with vectors relative to those that the peer knows, if they are large. `attempt`
    /// is the number of times that the message has been sent, from one.
    pub fn relative(&mut self, mut message: Message, attempt: u32) -> Message {
        let vectors = message.vectors_mut();
        if vectors.iter().map(|vector| vector.len()).sum::<usize>() <= FEW_ENTRIES {
            return message;
        }
        let vectors: Vec<VersionVector> = vectors.into_iter().map(|vector| vector.clone()).collect();
        match &message {
            Message::Request { request: Request::Handshake(ours), .. } => {
                self.requested = Some(ReplicaVectors::of(ours));
                // Without a common vector, the first attempt names the vectors themselves: the peer may have the
                // same. Every version can read the handshake that follows.
                self.was_relative = self.acknowledged.is_some() || attempt == 1;
                if !self.was_relative && !self.reads_relative {
                    return message;
                }
            }
            Message::Response { response: Response::Handshake(reply), .. } => {
                self.answered = Some(ReplicaVectors::of(&reply.theirs));
            }
            _ => {}
        }
        let is_response = matches!(message, Message::Response { .. });
        // The initiator knows its own vectors.
        let theirs = self.theirs.as_ref().filter(|_| is_response);
        let bases = || self.acknowledged.iter().chain(theirs).map(ReplicaVectors::each);
        let is_first = !is_response && self.acknowledged.is_none() && self.was_relative;
        let updates = vectors.iter().enumerate().map(|(at, vector)| {
            let own = is_first.then_some(vector);
            let same = bases().filter_map(|bases| bases.into_iter().nth(at));
            let others = bases().flatten().chain(vectors.iter().take(at));
            VectorUpdate::between(own.into_iter().chain(same).chain(others), vector)
        });
        let vectors = updates.collect();
        message.vectors_mut().into_iter().for_each(|vector| *vector = VersionVector::default());
        let known = self.theirs.as_ref().map_or(Digest::ZERO, ReplicaVectors::digest);
        Message::Relative(Box::new(RelativeMessage { known, vectors, message }))
    }

    /// The whole message. `own` are the vectors of this replica now. `None` if a vector is relative to one that is
    /// not known here. O(changes · log authors).
    pub fn resolve(&mut self, relative: RelativeMessage, own: &ReplicaVectors) -> Option<Message> {
        let RelativeMessage { known, vectors: updates, mut message } = relative;
        let sent = [&self.requested, &self.answered, &self.acknowledged];
        let theirs = self.theirs.iter();
        let bases: Vec<&ReplicaVectors> = sent.into_iter().flatten().chain(theirs).chain([own]).collect();
        let mut resolved: Vec<VersionVector> = Vec::new();
        for update in &updates {
            let known = bases.iter().flat_map(|vectors| vectors.each());
            let vector = update.resolve(known.chain(&resolved))?;
            resolved.push(vector);
        }
        let places = message.vectors_mut();
        if places.len() != resolved.len() {
            return None;
        }
        places.into_iter().zip(resolved).for_each(|(place, vector)| *place = vector);
        // The peer has the vectors that it names, and no others of this replica: it may have restarted, or have received
        // later ones, of which nothing is known here any more.
        let sent = [&self.requested, &self.answered, &self.acknowledged].into_iter().flatten();
        let received = sent.into_iter().find(|vectors| !known.is_zero() && vectors.digest() == known);
        self.acknowledged = received.cloned();
        Some(message)
    }

    /// Records that the peer has sent a handshake with whole vectors. It does not say which vectors of this replica it
    /// has.
    pub fn on_whole(&mut self) {
        self.acknowledged = None;
    }

    /// Records the vectors of a handshake that the peer has sent. They are stored by their difference from `own`, the
    /// present vectors of this replica, and not at all if that is large: a peer that claims anything takes no
    /// more space. O(difference · log authors).
    pub fn on_handshake(&mut self, theirs: &SyncHandshake, own: &ReplicaVectors) {
        let vectors = ReplicaVectors::of(theirs);
        self.theirs = None;
        if vectors.each().iter().map(|vector| vector.len()).sum::<usize>() > FEW_ENTRIES {
            self.theirs = vectors.shared_with(own);
        }
    }

    /// Records that the peer has answered the last handshake of this replica.
    pub fn on_answered(&mut self) {
        if self.requested.is_some() {
            self.acknowledged.clone_from(&self.requested);
        }
        self.was_relative = false;
    }

    /// Records that the peer does not know the vectors to which the last handshake was relative. Returns whether
    /// it was relative at all: then it must be sent again, whole.
    pub fn on_unknown(&mut self) -> bool {
        self.acknowledged = None;
        self.reads_relative |= self.was_relative;
        std::mem::take(&mut self.was_relative)
    }
}

impl Message {
    /// The version vectors in the message, in the order in which they are encoded.
    pub fn vectors_mut(&mut self) -> Vec<&mut VersionVector> {
        match self {
            Self::Request { request: Request::Handshake(theirs), .. } => theirs.vectors_mut(),
            Self::Request { request: Request::Deltas { covered, .. }, .. } => vec![covered],
            Self::Response { response: Response::Handshake(reply), .. } => reply.theirs.vectors_mut(),
            Self::Response { response: Response::SnapshotGone(theirs), .. } => theirs.vectors_mut(),
            Self::Response { response: Response::Deltas(reply), .. } => vec![&mut reply.covered],
            _ => Vec::new(),
        }
    }
}

impl SyncHandshake {
    fn vectors_mut(&mut self) -> Vec<&mut VersionVector> {
        vec![&mut self.covered, &mut self.log_floor, &mut self.stable]
    }
}

impl Encode for VectorUpdate {
    fn encode(&self, out: &mut Writer) {
        out.raw(&self.base);
        self.digest.encode(out);
        out.varint(self.changes.len() as u64);
        for (author, seq) in &self.changes {
            author.encode(out);
            out.varint(*seq);
        }
    }
}

impl Decode for VectorUpdate {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "the changes of a version vector";
        let base = input.array()?;
        let digest = Digest::decode(input)?;
        let len = input.length(2 * limits::MAX_REPLICAS, WHAT)?;
        let mut changes: Vec<(ReplicaId, u64)> = Vec::new();
        for _ in 0..len {
            let author = ReplicaId::decode(input)?;
            let seq = input.varint()?;
            if changes.last().is_some_and(|(last, _)| *last >= author) {
                return Err(DecodeError::NotCanonical { what: WHAT });
            }
            if seq > limits::MAX_DELTA_SEQ {
                let limit = limits::MAX_DELTA_SEQ;
                return Err(DecodeError::TooLarge { what: "the number of a delta", found: seq, limit });
            }
            changes.push((author, seq));
        }
        Ok(Self { base, digest, changes })
    }
}

impl Encode for RelativeMessage {
    fn encode(&self, out: &mut Writer) {
        self.known.encode(out);
        out.list(&self.vectors);
        self.message.encode(out);
    }
}

impl Decode for RelativeMessage {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const WHAT: &str = "the vectors of a message";
        let known = Digest::decode(input)?;
        let vectors: Vec<VectorUpdate> = input.list(3, WHAT)?;
        let mut message = Message::decode_whole(input)?;
        let places = message.vectors_mut();
        if vectors.is_empty() || places.len() != vectors.len() || places.iter().any(|place| !place.is_empty())
        {
            return Err(DecodeError::NotCanonical { what: WHAT });
        }
        Ok(Self { known, vectors, message })
    }
}
