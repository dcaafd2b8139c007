//! The messages of replicas: gossip, and the requests and responses of sessions.

use super::{
    Answer, HandshakeReply, Question, Rejection, RelativeMessage, SYNC_PROTOCOL_VERSION, SyncHandshake,
};
use crate::deltas::{Delta, Dot, VersionVector};
use crate::sketch::LocatedDifference;
use crate::snapshot::SnapshotPage;
use syncline_storage::Cursor;
use syncline_store::Bytes;
use syncline_types::{Decode, DecodeError, Digest, Encode, EntityId, Hlc, Reader, ReplicaId, Writer, limits};

/// The id of a session. It is unique among all sessions that one initiator ever starts, and greater
/// than the ids of its earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct SessionId(pub u64);

/// The number of a request within its session, from one. A retransmitted request has the same number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RequestId(pub u64);

/// Everything that one replica sends to another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// A message outside any session.
    Gossip(Gossip),
    /// A request, from the initiator of a session to its responder.
    #[allow(missing_docs, reason = "plain data")]
    Request { session: SessionId, id: RequestId, request: Request },
    /// The response to a request, from the responder of a session to its initiator.
    #[allow(missing_docs, reason = "plain data")]
    Response { session: SessionId, id: RequestId, response: Response },
    /// A request or a response whose version vectors are given relative to others. It contains no message of this
    /// kind itself.
    Relative(Box<RelativeMessage>),
}

impl Message {
    /// Bytes of the whole records and deltas in this message, with their length prefixes and the ids
    /// before them. This is the useful payload of a protocol; the rest of the frame is its overhead.
    pub fn payload_bytes(&self) -> usize {
        let framed = |bytes: &Bytes| bytes.len() + if bytes.len() < 128 { 1 } else { 2 };
        let records = |records: &[WireRecord]| records.iter().map(|record| 32 + framed(&record.bytes)).sum();
        let bare = |items: &[Bytes]| items.iter().map(framed).sum();
        match self {
            Self::Gossip(Gossip::DeltaReply { deltas, .. }) => bare(deltas),
            Self::Request { request: Request::Exchange(asked), .. } => records(&asked.pushes),
            Self::Request { request: Request::Deltas { pushes, .. }, .. } => bare(pushes),
            Self::Response { response: Response::Exchange(reply), .. } => {
                let requested: usize = reply.records.iter().flatten().map(framed).sum();
                let shown = reply.answers.iter().map(|answer| match answer {
                    Answer::Subtree { records: shown, .. } | Answer::Records { records: shown, .. } => {
                        records(shown)
                    }
                    _ => 0,
                });
                requested + shown.sum::<usize>()
            }
            Self::Response { response: Response::Handshake(reply), .. } => match &reply.located {
                Some(LocatedDifference::Found { records: found, .. }) => records(found),
                _ => 0,
            },
            Self::Response { response: Response::Deltas(reply), .. } => bare(&reply.deltas),
            Self::Response { response: Response::SnapshotPage(page), .. } => page.packed.len(),
            Self::Relative(relative) => relative.message.payload_bytes(),
            _ => 0,
        }
    }
}

/// A message outside any session. Delivery is not guaranteed: anti-entropy repairs losses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gossip {
    /// New writes.
    Delta(Delta),
    /// The sender's root, sent periodically.
    Heartbeat {
        /// The sender's Merkle root.
        root: Digest,
        /// The id of the sender.
        replica: ReplicaId,
        /// How many deltas the sender has written.
        seq: u64,
        /// The sender's clock, in packed HLC units. Everything the sender writes from now on has a
        /// later stamp.
        clock: u64,
        /// The sender's wall clock, in milliseconds.
        wall_ms: u64,
    },
    /// A request for deltas that the sender lacks.
    DeltaRequest {
        /// The positions of the requested deltas.
        wanted: Vec<Dot>,
    },
    /// The answer to a [`Gossip::DeltaRequest`].
    DeltaReply {
        /// The canonical bytes of each delta, in the order of the request.
        deltas: Vec<Bytes>,
        /// The requested deltas that this replica does not store.
        unavailable: Vec<Dot>,
    },
}

/// A record with the id of its entity, as canonical bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "plain data")]
pub struct WireRecord {
    pub id: EntityId,
    pub bytes: Bytes,
}

/// A request of an initiator. Every request is idempotent: it may arrive any number of times.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Negotiates a protocol; see [`SyncHandshake`].
    Handshake(Box<SyncHandshake>),
    /// A handshake of another version, which does not have the fields of a [`SyncHandshake`]. Every version begins
    /// its handshake with the version, so that it can be answered with [`Rejection::Version`].
    ForeignHandshake {
        /// The version of the initiator; not [`SYNC_PROTOCOL_VERSION`].
        version: u32,
        /// The fields that follow, as they are.
        fields: Bytes,
    },
    /// One round of the comparison of two states.
    Exchange(ExchangeRequest),
    /// Deltas that the responder lacks, and a request for those that the initiator lacks.
    Deltas {
        /// The deltas that the initiator's state covers.
        covered: VersionVector,
        /// The canonical bytes of deltas to apply, in causal order.
        pushes: Vec<Bytes>,
    },
    /// Requests one page of a snapshot.
    SnapshotPage {
        /// The root of the state that the snapshot shows.
        boundary: Digest,
        /// Where the previous page ended.
        after: Cursor,
        /// Whether to compress the page.
        compressed: bool,
    },
    /// One round of the comparison with a past state of the responder. That state is immutable, so
    /// the round pushes no records.
    SnapshotExchange {
        /// The root of the past state.
        boundary: Digest,
        /// The questions and record requests of the round.
        asked: ExchangeRequest,
    },
}

/// One round of an exchange: the common body of all protocols that compare states.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExchangeRequest {
    /// Whether the answers should contain whole digests; otherwise they contain three-byte prefixes.
    pub whole: bool,
    /// The initiator's horizon: the stamp up to which its tombstones are collected. The responder
    /// joins pushed records only if its own horizon is the same. A delayed frame from before a
    /// collection may contain entities that have been collected since.
    pub horizon: Hlc,
    /// Questions about the responder's state.
    pub questions: Vec<Question>,
    /// Ids of records that the responder should send.
    pub wants: Vec<EntityId>,
    /// Records to join, parents before children.
    pub pushes: Vec<WireRecord>,
}

/// The answer to one round of an exchange. The responder answers questions and record requests from
/// the front, as many as fit a page. The initiator asks the rest again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExchangeReply {
    /// Whether digests are whole, as requested.
    pub whole: bool,
    /// The responder's root after it joined the pushed records.
    pub root: Digest,
    /// The responder's horizon: the stamp up to which its tombstones are collected.
    pub horizon: Hlc,
    /// The number of changes of the responder's state before it joined the pushed records.
    pub generation_before: u64,
    /// The same number after it joined them.
    pub generation_after: u64,
    /// The answers to the first questions.
    pub answers: Vec<Answer>,
    /// The answers to the first record requests; `None` where the responder has no such record.
    pub records: Vec<Option<Bytes>>,
    /// How many pushed records were not joined but may be accepted later.
    pub deferred: u64,
    /// How many pushed records break a rule.
    pub refused: u64,
}

/// The answer to [`Request::Deltas`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeltasReply {
    /// The responder's root after it applied the pushed deltas.
    pub root: Digest,
    /// The deltas that the responder's state covers after that.
    pub covered: VersionVector,
    /// The canonical bytes of deltas that the initiator lacks, in causal order.
    pub deltas: Vec<Bytes>,
    /// Whether these are all that the initiator lacks. If not, the rest follows in further rounds, or
    /// has been pruned from the log.
    pub complete: bool,
    /// How many pushed deltas were not applied.
    pub refused: u64,
}

/// The answer of a responder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// The answer to an accepted handshake.
    Handshake(Box<HandshakeReply>),
    /// The session is rejected.
    Rejected(Rejection),
    /// The answer to [`Request::Exchange`] and [`Request::SnapshotExchange`].
    Exchange(ExchangeReply),
    /// The answer to [`Request::Deltas`].
    Deltas(DeltasReply),
    /// The answer to [`Request::SnapshotPage`].
    SnapshotPage(SnapshotPage),
    /// The responder does not cache a view of the requested boundary any more. Contains the handshake
    /// of a state that the initiator can continue with.
    SnapshotGone(Box<SyncHandshake>),
}

fn encode_bytes_list(out: &mut Writer, items: &[Bytes]) {
    out.varint(items.len() as u64);
    for item in items {
        out.bytes(item);
    }
}

fn decode_deltas(input: &mut Reader<'_>) -> Result<Vec<Bytes>, DecodeError> {
    let len = input.length(limits::MAX_DELTAS_PER_FRAME, "the deltas of a message")?;
    (0..len).map(|_| Ok(input.bytes(limits::MAX_FRAME_BYTES, "a delta")?.into())).collect()
}

/// Decodes a handshake, to the end of the input: nothing follows a request.
fn decode_handshake(input: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let mut foreign = input.clone();
    let version = foreign.u32_le()?;
    let handshake = SyncHandshake::decode(input);
    let is_known = version > SYNC_PROTOCOL_VERSION && handshake.is_ok() && input.remaining() == 0;
    if version == SYNC_PROTOCOL_VERSION || is_known {
        return Ok(Request::Handshake(Box::new(handshake?)));
    }
    let fields = foreign.raw(foreign.remaining(), "a handshake of another version")?.into();
    *input = foreign;
    Ok(Request::ForeignHandshake { version, fields })
}

pub(super) fn decode_option_id(input: &mut Reader<'_>) -> Result<Option<EntityId>, DecodeError> {
    input.bool("a cursor")?.then(|| EntityId::decode(input)).transpose()
}

pub(super) fn encode_option_id(out: &mut Writer, id: Option<EntityId>) {
    out.bool(id.is_some());
    if let Some(id) = id {
        id.encode(out);
    }
}

impl Encode for Message {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Gossip(gossip) => {
                out.u8(0);
                gossip.encode(out);
            }
            Self::Request { session, id, request } => {
                out.u8(1);
                out.varint(session.0);
                out.varint(id.0);
                request.encode(out);
            }
            Self::Response { session, id, response } => {
                out.u8(2);
                out.varint(session.0);
                out.varint(id.0);
                response.encode(out);
            }
            Self::Relative(relative) => {
                out.u8(3);
                relative.encode(out);
            }
        }
    }
}

impl Decode for Message {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if input.clone().u8()? != 3 {
            return Self::decode_whole(input);
        }
        input.u8()?;
        RelativeMessage::decode(input).map(Box::new).map(Self::Relative)
    }
}

impl Message {
    /// Decodes a message of any kind but [`Message::Relative`].
    pub(super) fn decode_whole(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = input.u8()?;
        if kind == 0 {
            return Ok(Self::Gossip(Gossip::decode(input)?));
        }
        let session = SessionId(input.varint()?);
        let id = RequestId(input.varint()?);
        match kind {
            1 => Ok(Self::Request { session, id, request: Request::decode(input)? }),
            2 => Ok(Self::Response { session, id, response: Response::decode(input)? }),
            _ => Err(DecodeError::UnknownTag { what: "kind of message", found: u64::from(kind) }),
        }
    }
}

impl Encode for Gossip {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Delta(delta) => {
                out.u8(0);
                delta.encode(out);
            }
            Self::Heartbeat { root, replica, seq, clock, wall_ms } => {
                out.u8(1);
                root.encode(out);
                replica.encode(out);
                out.varint(*seq);
                out.varint(*clock);
                out.varint(*wall_ms);
            }
            Self::DeltaRequest { wanted } => {
                out.u8(2);
                out.list(wanted);
            }
            Self::DeltaReply { deltas, unavailable } => {
                out.u8(3);
                encode_bytes_list(out, deltas);
                out.list(unavailable);
            }
        }
    }
}

impl Decode for Gossip {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        const DELTAS: usize = limits::MAX_DELTAS_PER_FRAME;
        match input.u8()? {
            0 => Ok(Self::Delta(Delta::decode(input)?)),
            1 => Ok(Self::Heartbeat {
                root: Digest::decode(input)?,
                replica: ReplicaId::decode(input)?,
                seq: input.varint()?,
                clock: input.varint()?,
                wall_ms: input.varint()?,
            }),
            2 => Ok(Self::DeltaRequest { wanted: input.list(DELTAS, "the deltas asked for")? }),
            3 => {
                let deltas = decode_deltas(input)?;
                Ok(Self::DeltaReply { deltas, unavailable: input.list(DELTAS, "the unavailable deltas")? })
            }
            tag => Err(DecodeError::UnknownTag { what: "kind of gossip", found: u64::from(tag) }),
        }
    }
}

impl Encode for WireRecord {
    fn encode(&self, out: &mut Writer) {
        self.id.encode(out);
        out.bytes(&self.bytes);
    }
}

impl Decode for WireRecord {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let id = EntityId::decode(input)?;
        Ok(Self { id, bytes: input.bytes(limits::MAX_FRAME_BYTES, "a record")?.into() })
    }
}

impl Encode for ExchangeRequest {
    fn encode(&self, out: &mut Writer) {
        out.bool(self.whole);
        self.horizon.encode(out);
        out.list(&self.questions);
        out.list(&self.wants);
        out.list(&self.pushes);
    }
}

impl Decode for ExchangeRequest {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            whole: input.bool("an exchange")?,
            horizon: Hlc::decode(input)?,
            questions: input.list(limits::MAX_QUESTIONS, "the questions of an exchange")?,
            wants: input.list(limits::MAX_RECORDS_PER_FRAME, "the record requests of an exchange")?,
            pushes: input.list(limits::MAX_RECORDS_PER_FRAME, "the pushes of an exchange")?,
        })
    }
}

impl Encode for Request {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Handshake(handshake) => {
                out.u8(0);
                handshake.encode(out);
            }
            Self::ForeignHandshake { version, fields } => {
                out.u8(0);
                out.u32_le(*version);
                out.raw(fields);
            }
            Self::Exchange(exchange) => {
                out.u8(1);
                exchange.encode(out);
            }
            Self::SnapshotPage { boundary, after, compressed } => {
                out.u8(2);
                boundary.encode(out);
                after.encode(out);
                out.bool(*compressed);
            }
            Self::Deltas { covered, pushes } => {
                out.u8(3);
                covered.encode(out);
                encode_bytes_list(out, pushes);
            }
            Self::SnapshotExchange { boundary, asked } => {
                out.u8(4);
                boundary.encode(out);
                asked.encode(out);
            }
        }
    }
}

impl Decode for Request {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => decode_handshake(input),
            1 => Ok(Self::Exchange(ExchangeRequest::decode(input)?)),
            2 => Ok(Self::SnapshotPage {
                boundary: Digest::decode(input)?,
                after: Cursor::decode(input)?,
                compressed: input.bool("a page request")?,
            }),
            3 => Ok(Self::Deltas { covered: VersionVector::decode(input)?, pushes: decode_deltas(input)? }),
            4 => Ok(Self::SnapshotExchange {
                boundary: Digest::decode(input)?,
                asked: ExchangeRequest::decode(input)?,
            }),
            tag => Err(DecodeError::UnknownTag { what: "kind of request", found: u64::from(tag) }),
        }
    }
}

impl Encode for ExchangeReply {
    fn encode(&self, out: &mut Writer) {
        out.bool(self.whole);
        self.root.encode(out);
        self.horizon.encode(out);
        out.varint(self.generation_before);
        out.varint(self.generation_after);
        out.varint(self.answers.len() as u64);
        for answer in &self.answers {
            answer.encode(out);
        }
        out.varint(self.records.len() as u64);
        for record in &self.records {
            out.bool(record.is_some());
            if let Some(bytes) = record {
                out.bytes(bytes);
            }
        }
        out.varint(self.deferred);
        out.varint(self.refused);
    }
}

impl Decode for ExchangeReply {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let whole = input.bool("an exchange")?;
        let root = Digest::decode(input)?;
        let horizon = Hlc::decode(input)?;
        let generation_before = input.varint()?;
        let generation_after = input.varint()?;
        let len = input.length(limits::MAX_QUESTIONS, "the answers of a reply")?;
        let answers = (0..len).map(|_| Answer::decode(input, whole)).collect::<Result<_, _>>()?;
        let len = input.length(limits::MAX_RECORDS_PER_FRAME, "the records of a reply")?;
        let record = |input: &mut Reader<'_>| {
            let present = input.bool("a record of a reply")?;
            let bytes = present.then(|| input.bytes(limits::MAX_FRAME_BYTES, "a record")).transpose()?;
            Ok(bytes.map(Bytes::from))
        };
        let records = (0..len).map(|_| record(input)).collect::<Result<_, DecodeError>>()?;
        let deferred = input.varint()?;
        let refused = input.varint()?;
        Ok(Self {
            whole,
            root,
            horizon,
            generation_before,
            generation_after,
            answers,
            records,
            deferred,
            refused,
        })
    }
}

impl Encode for Response {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Handshake(reply) => {
                out.u8(0);
                reply.encode(out);
            }
            Self::Rejected(rejection) => {
                out.u8(1);
                rejection.encode(out);
            }
            Self::Exchange(reply) => {
                out.u8(2);
                reply.encode(out);
            }
            Self::SnapshotPage(page) => {
                out.u8(3);
                page.encode(out);
            }
            Self::SnapshotGone(handshake) => {
                out.u8(4);
                handshake.encode(out);
            }
            Self::Deltas(reply) => {
                out.u8(5);
                reply.root.encode(out);
                reply.covered.encode(out);
                encode_bytes_list(out, &reply.deltas);
                out.bool(reply.complete);
                out.varint(reply.refused);
            }
        }
    }
}

impl Decode for Response {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Handshake(Box::new(HandshakeReply::decode(input)?))),
            1 => Ok(Self::Rejected(Rejection::decode(input)?)),
            2 => Ok(Self::Exchange(ExchangeReply::decode(input)?)),
            3 => Ok(Self::SnapshotPage(SnapshotPage::decode(input)?)),
            4 => Ok(Self::SnapshotGone(Box::new(SyncHandshake::decode(input)?))),
            5 => Ok(Self::Deltas(DeltasReply {
                root: Digest::decode(input)?,
                covered: VersionVector::decode(input)?,
                deltas: decode_deltas(input)?,
                complete: input.bool("an answer of deltas")?,
                refused: input.varint()?,
            })),
            tag => Err(DecodeError::UnknownTag { what: "kind of response", found: u64::from(tag) }),
        }
    }
}
