//! Sealed messages over a framed stream.

use crate::framed_stream::{Budgets, FramedStream};
use crate::slots::ConnectionSlot;
use std::borrow::Cow;
use std::time::Duration;
use syncline_sync::{
    EncryptionError, EncryptionState, Frame, FrameError, Nonce, SharedKey, StreamMessage, StreamSide,
    SyncTransport, TransportError,
};
use syncline_types::{ContextId, limits};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest body of a frame on the wire, in bytes: the longest protocol frame, sealed.
pub const MAX_WIRE_BYTES: usize = limits::MAX_FRAME_BYTES + EncryptionState::OVERHEAD;

/// The defaults of [`TcpConfig::read_budget`](crate::TcpConfig::read_budget) and
/// [`TcpConfig::write_budget`](crate::TcpConfig::write_budget).
pub(crate) const BUDGETS: Budgets = Budgets { read: Duration::from_secs(30), write: Duration::from_secs(30) };

/// The number of received frames that were dropped because they are no messages, by cause. The session
/// does not see these frames; it retransmits its request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DroppedFrames {
    /// Frames that the peer has not sealed, or that were altered in flight.
    pub forged: u64,
    /// Frames that were accepted before, or are older than the replay window.
    pub replayed: u64,
    /// Frames that the peer has sealed, and that do not decode or belong to another context.
    pub malformed: u64,
}

impl DroppedFrames {
    /// The number of dropped frames of all causes.
    pub const fn total(&self) -> u64 {
        self.forged + self.replayed + self.malformed
    }
}

/// One end of a connection between two replicas, over TCP or any other stream with in-order delivery.
///
/// A transport from [`connect`](crate::connect), [`accept`](crate::accept) or [`greet`](crate::greet) seals
/// every message. `recv` and `recv_timeout` are cancel safe. `send` may be dropped too: its message is then
/// sent before the next one.
#[derive(Debug)]
pub struct TcpTransport<S = TcpStream> {
    stream: FramedStream<S>,
    encryption: EncryptionState,
    context: ContextId,
    dropped: DroppedFrames,
    /// The place among the connections of an acceptor, which is free again once the transport is dropped.
    _slot: Option<ConnectionSlot>,
}

impl<S: AsyncRead + AsyncWrite> TcpTransport<S> {
    /// A transport without encryption, for a stream that is protected otherwise, or until
    /// [`SyncTransport::set_encryption`]. A key and nonce given there must never be used again, on this
    /// stream or another; [`greet`](crate::greet) derives fresh ones.
    pub fn plain(stream: S, side: StreamSide, context: ContextId) -> Self {
        let stream = FramedStream::new(stream, MAX_WIRE_BYTES, BUDGETS);
        Self::over(stream, EncryptionState::plain(side), context)
    }

    /// A transport over a stream whose greeting, if any, is complete.
    pub(crate) fn over(mut stream: FramedStream<S>, encryption: EncryptionState, context: ContextId) -> Self {
        stream.raise_limit(MAX_WIRE_BYTES);
        Self { stream, encryption, context, dropped: DroppedFrames::default(), _slot: None }
    }

    /// The same transport, which takes up `slot` as long as it exists.
    pub(crate) fn in_slot(self, slot: ConnectionSlot) -> Self {
        Self { _slot: Some(slot), ..self }
    }

    /// The frames dropped so far.
    pub const fn dropped(&self) -> DroppedFrames {
        self.dropped
    }

    /// Opens and decodes a received frame. A frame that is not a message is counted, and the result is
    /// `None`.
    fn open(&mut self, sealed: &[u8]) -> Option<Frame> {
        let cause = match self.encryption.open(sealed) {
            Ok(plain) => match Frame::from_wire(&plain, self.context) {
                Ok(frame) => return Some(frame),
                Err(_) => &mut self.dropped.malformed,
            },
            Err(EncryptionError::Replayed { .. }) => &mut self.dropped.replayed,
            Err(_) => &mut self.dropped.forged,
        };
        *cause += 1;
        None
    }
}

impl<S: AsyncRead + AsyncWrite> SyncTransport for TcpTransport<S> {
    async fn send(&mut self, message: &StreamMessage<'_>) -> Result<(), TransportError> {
        let frame = Frame { incarnation: message.incarnation, message: message.message.clone().into_owned() };
        let plain = frame.to_wire(self.context);
        // This check comes before sealing: a refused message must not use up a counter value.
        let limit = limits::MAX_FRAME_BYTES;
        if plain.len() > limit {
            return Err(FrameError::TooLarge { found: plain.len(), limit }.into());
        }
        let sealed = self.encryption.seal(&plain)?;
        debug_assert!(
            sealed.len() <= MAX_WIRE_BYTES,
            "a sealed frame of allowed length fits the wire's limit"
        );
        self.stream.write(&sealed).await
    }

    async fn recv(&mut self) -> Result<Option<StreamMessage<'static>>, TransportError> {
        // Dropped frames are skipped: for the session they were lost in flight.
        while let Some(sealed) = self.stream.read().await? {
            if let Some(Frame { incarnation, message }) = self.open(&sealed) {
                return Ok(Some(StreamMessage { incarnation, message: Cow::Owned(message) }));
            }
        }
        Ok(None)
    }

    async fn recv_timeout(
        &mut self,
        budget: Duration,
    ) -> Result<Option<StreamMessage<'static>>, TransportError> {
        match timeout(budget, self.recv()).await {
            // `None` means that the time is over, so the end of the stream needs an error here.
            Ok(Ok(None)) => Err(TransportError::Closed),
            Ok(received) => received,
            Err(_) => Ok(None),
        }
    }

    fn set_encryption(&mut self, encryption: Option<(SharedKey, Nonce)>) {
        self.encryption.set(encryption);
    }

    fn encryption(&self) -> &EncryptionState {
        &self.encryption
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        self.stream.close().await
    }
}
