//! Everything replicas say to each other.

use crate::delta::{Delta, Dot, VersionVector};
use crate::handshake::{HandshakeReply, SyncHandshake};
use crate::page::SnapshotPage;
use crate::question::{Answer, Question};
pub use crate::rejection::Rejection;
use crate::sketch::Located;
use syncline_storage::Cursor;
use syncline_store::Bytes;
use syncline_types::{Decode, DecodeError, Digest, Encode, EntityId, Hlc, Reader, ReplicaId, Writer, limits};

/// Names a session: unique among all that its initiator ever starts, later ones greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct SessionId(pub u64);

/// Names a request within its session, from one. A repeated request keeps its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RequestId(pub u64);

/// A message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// Outside any session.
    Gossip(Gossip),
    /// From the initiator of a session.
    Request {
        /// The session.
        session: SessionId,
        /// The request.
        id: RequestId,
        /// What is asked.
        request: Request,
    },
    /// To the initiator of a session.
    Response {
        /// The session.
        session: SessionId,
        /// The request that is answered.
        id: RequestId,
        /// The answer.
        response: Response,
    },
}

impl Message {
    /// Bytes of whole records and deltas in it, with their lengths and the ids they travel under: what a
    /// protocol is for, as opposed to what it costs.
    pub fn payload_bytes(&self) -> usize {
        let framed = |bytes: &Bytes| bytes.len() + if bytes.len() < 128 { 1 } else { 2 };
        let records = |records: &[WireRecord]| records.iter().map(|record| 32 + framed(&record.bytes)).sum();
        let bare = |items: &[Bytes]| items.iter().map(framed).sum();
        match self {
            Self::Gossip(Gossip::DeltaReply { deltas, .. }) => bare(deltas),
            Self::Request { request: Request::Exchange(asked), .. } => records(&asked.pushes),
            Self::Request { request: Request::Deltas { pushes, .. }, .. } => bare(pushes),
            Self::Response { response: Response::Exchange(reply), .. } => {
                let wished: usize = reply.records.iter().flatten().map(framed).sum();
                let shown = reply.answers.iter().map(|answer| match answer {
                    Answer::Subtree { records: shown, .. } | Answer::Records { records: shown, .. } => {
                        records(shown)
                    }
                    _ => 0,
                });
                wished + shown.sum::<usize>()
            }
            Self::Response { response: Response::Handshake(reply), .. } => match &reply.located {
                Some(Located::Found { records: found, .. }) => records(found),
                _ => 0,
            },
            Self::Response { response: Response::Deltas(reply), .. } => bare(&reply.deltas),
            Self::Response { response: Response::SnapshotPage(page), .. } => page.packed.len(),
            _ => 0,
        }
    }
}

/// What is said outside sessions. Nothing is promised for any of it: anti-entropy repairs losses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Gossip {
    /// New writes.
    Delta(Delta),
    /// The sender's root, from time to time.
    Heartbeat {
        /// The root.
        root: Digest,
        /// Who it is.
        replica: ReplicaId,
        /// How many deltas it has written.
        seq: u64,
        /// The time of its clock: whatever it writes from now on is stamped later.
        clock: u64,
    },
    /// Deltas that the sender lacks.
    DeltaRequest {
        /// Which.
        wanted: Vec<Dot>,
    },
    /// The deltas asked for, and those that cannot be had here.
    DeltaReply {
        /// The canonical bytes of each delta, in the order asked for.
        deltas: Vec<Bytes>,
        /// Which are not kept here.
        unavailable: Vec<Dot>,
    },
}

/// A record by id, as its canonical bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WireRecord {
    /// The entity.
    pub id: EntityId,
    /// Its record.
    pub bytes: Bytes,
}

/// What an initiator asks. Each may arrive any number of times.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Let us see where we differ.
    Handshake(Box<SyncHandshake>),
    /// Questions, wishes and gifts of two states that are being compared.
    Exchange(ExchangeRequest),
    /// Deltas that the responder lacks, and a wish for those that we lack.
    Deltas {
        /// What our state covers.
        covered: VersionVector,
        /// The canonical bytes of deltas to apply, in causal order.
        pushes: Vec<Bytes>,
    },
    /// One page of the state whose root is `boundary`.
    SnapshotPage {
        /// Which state.
        boundary: Digest,
        /// Where the last page ended.
        after: Cursor,
        /// Whether to compress the page.
        compressed: bool,
    },
    /// Questions and wishes to the state whose root is `boundary`. It is past, so nothing can be given
    /// to it.
    SnapshotExchange {
        /// Which state.
        boundary: Digest,
        /// What is asked.
        asked: ExchangeRequest,
    },
}

/// One round of an exchange: the common body of all protocols that compare states.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExchangeRequest {
    /// Whether hashes should be sent whole.
    pub whole: bool,
    /// Up to which stamp the initiator has forgotten what is dead. Records are only taken from a state
    /// that has forgotten as much: a frame from before may hold what is forgotten since.
    pub horizon: Hlc,
    /// What to say of the state.
    pub questions: Vec<Question>,
    /// Records to send.
    pub wants: Vec<EntityId>,
    /// Records to join, parents before children.
    pub pushes: Vec<WireRecord>,
}

/// The answer to one round of an exchange. Questions and wishes are answered from the front, as many
/// as fit the page; the rest is to be asked again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExchangeReply {
    /// Whether hashes are whole, as asked.
    pub whole: bool,
    /// The responder's root after the pushes.
    pub root: Digest,
    /// Up to which stamp the responder has forgotten what is dead.
    pub horizon: Hlc,
    /// How often the responder's state had changed before the pushes.
    pub generation_before: u64,
    /// And after them.
    pub generation_after: u64,
    /// The answers to the first questions.
    pub answers: Vec<Answer>,
    /// The answers to the first wishes; `None` where there is no such record.
    pub records: Vec<Option<Bytes>>,
    /// Pushes that may be accepted later.
    pub deferred: u64,
    /// Pushes that break a rule.
    pub refused: u64,
}

/// The answer to an exchange of deltas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeltasReply {
    /// The responder's root after the pushes.
    pub root: Digest,
    /// What its state covers after the pushes.
    pub covered: VersionVector,
    /// The canonical bytes of deltas that the initiator lacks, in causal order.
    pub deltas: Vec<Bytes>,
    /// Whether these are all. If not, there are more, or some are not kept any more.
    pub complete: bool,
    /// Pushes that were not applied.
    pub refused: u64,
}

/// What a responder answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// To a handshake.
    Handshake(Box<HandshakeReply>),
    /// To a handshake that it refuses.
    Rejected(Rejection),
    /// To a round of an exchange.
    Exchange(ExchangeReply),
    /// To an exchange of deltas.
    Deltas(DeltasReply),
    /// To a wish for a page.
    SnapshotPage(SnapshotPage),
    /// To a wish for something of a state that is not kept any more: one that is.
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

pub(crate) fn decode_option_id(input: &mut Reader<'_>) -> Result<Option<EntityId>, DecodeError> {
    input.bool("a cursor")?.then(|| EntityId::decode(input)).transpose()
}

pub(crate) fn encode_option_id(out: &mut Writer, id: Option<EntityId>) {
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
        }
    }
}

impl Decode for Message {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = input.u8()?;
        if kind == 0 {
            return Ok(Self::Gossip(Gossip::decode(input)?));
        }
        let (session, id) = (SessionId(input.varint()?), RequestId(input.varint()?));
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
            Self::Heartbeat { root, replica, seq, clock } => {
                out.u8(1);
                root.encode(out);
                replica.encode(out);
                out.varint(*seq);
                out.varint(*clock);
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
            }),
            2 => Ok(Self::DeltaRequest { wanted: input.list(DELTAS, "the deltas asked for")? }),
            3 => {
                let deltas = decode_deltas(input)?;
                Ok(Self::DeltaReply { deltas, unavailable: input.list(DELTAS, "the deltas not kept")? })
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
            wants: input.list(limits::MAX_RECORDS_PER_FRAME, "the wishes of an exchange")?,
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
            0 => Ok(Self::Handshake(Box::new(SyncHandshake::decode(input)?))),
            1 => Ok(Self::Exchange(ExchangeRequest::decode(input)?)),
            2 => Ok(Self::SnapshotPage {
                boundary: Digest::decode(input)?,
                after: Cursor::decode(input)?,
                compressed: input.bool("a wish for a page")?,
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
        let (generation_before, generation_after) = (input.varint()?, input.varint()?);
        let len = input.length(limits::MAX_QUESTIONS, "the answers of a reply")?;
        let answers = (0..len).map(|_| Answer::decode(input, whole)).collect::<Result<_, _>>()?;
        let len = input.length(limits::MAX_RECORDS_PER_FRAME, "the records of a reply")?;
        let record = |input: &mut Reader<'_>| {
            let present = input.bool("a record of a reply")?;
            let bytes = present.then(|| input.bytes(limits::MAX_FRAME_BYTES, "a record")).transpose()?;
            Ok(bytes.map(Bytes::from))
        };
        let records = (0..len).map(|_| record(input)).collect::<Result<_, DecodeError>>()?;
        let (deferred, refused) = (input.varint()?, input.varint()?);
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
