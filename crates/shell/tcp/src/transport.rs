//! Messages over a wire.

use crate::wire::Wire;
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

/// The longest body of a frame on the wire, in bytes: a whole frame, sealed.
pub const MAX_WIRE_BYTES: usize = limits::MAX_FRAME_BYTES + EncryptionState::OVERHEAD;

/// How long the other end may take to read one message, unless the settings say otherwise.
pub(crate) const WRITE_BUDGET: Duration = Duration::from_secs(30);

/// Frames that came and were no messages, by cause. None of them reached the session, which asks again
/// for what it lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dropped {
    /// Not sealed by the other end, or changed on the way.
    pub forged: u64,
    /// Accepted before, or too old to tell.
    pub replayed: u64,
    /// Opened, and not a frame of this context.
    pub malformed: u64,
}

impl Dropped {
    /// How many in all.
    pub const fn total(&self) -> u64 {
        self.forged + self.replayed + self.malformed
    }
}

/// One end of a stream between two replicas, over TCP or whatever else carries bytes in order.
///
/// Made by [`connect`](crate::connect), [`accept`](crate::accept) or [`greet`](crate::greet), it is
/// sealed from its first message on. `recv` and `recv_timeout` may be dropped while they wait, and so
/// may `send`: its message then goes out with the next.
#[derive(Debug)]
pub struct TcpTransport<S = TcpStream> {
    wire: Wire<S>,
    encryption: EncryptionState,
    context: ContextId,
    dropped: Dropped,
}

impl<S: AsyncRead + AsyncWrite> TcpTransport<S> {
    /// A transport that seals nothing: for a stream that is protected otherwise, or until
    /// [`SyncTransport::set_encryption`]. A key and nonce given there must never be used again, on this
    /// stream or another; `greet` sees to that by itself.
    pub fn plain(stream: S, side: StreamSide, context: ContextId) -> Self {
        let wire = Wire::new(stream, MAX_WIRE_BYTES, WRITE_BUDGET);
        Self::over(wire, EncryptionState::plain(side), context)
    }

    pub(crate) fn over(mut wire: Wire<S>, encryption: EncryptionState, context: ContextId) -> Self {
        wire.set_limit(MAX_WIRE_BYTES);
        Self { wire, encryption, context, dropped: Dropped::default() }
    }

    /// What came and was dropped so far.
    pub const fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// The frame in what was received; if there is none, that is noted.
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
        if plain.len() > limits::MAX_FRAME_BYTES {
            return Err(FrameError::TooLarge { found: plain.len() }.into());
        }
        let sealed = self.encryption.seal(&plain)?;
        self.wire.write(&sealed).await
    }

    async fn recv(&mut self) -> Result<Option<StreamMessage<'static>>, TransportError> {
        while let Some(sealed) = self.wire.read().await? {
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
        self.wire.close().await
    }
}
