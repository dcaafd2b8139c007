//! The interface of a stream of messages between two replicas.

use super::{EncryptionError, EncryptionState, Nonce, SharedKey};
use crate::messages::{FrameError, Message};
use std::borrow::Cow;
use std::time::Duration;

/// A message on a stream, borrowed to send and owned once received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamMessage<'a> {
    /// How many times the sender had started when it sent this message.
    pub incarnation: u64,
    /// The message, borrowed by a sender and owned by a receiver.
    pub message: Cow<'a, Message>,
}

/// Why a transport cannot continue. A damaged, forged or replayed message is no such error: the
/// transport drops and counts it, and the session that waits for it retransmits its request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The other end has closed the stream, or this one has.
    #[error("the stream is closed")]
    Closed,
    /// A message cannot be encrypted.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    /// A message cannot be framed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The other end is too slow: it holds this end's resources for longer than is allowed.
    #[error("the other end took longer than {limit:?} to {what}; close the stream, and sync again later")]
    TooSlow {
        /// What the other end had to do, in words.
        what: &'static str,
        /// How long it could take.
        limit: Duration,
    },
    /// The medium failed.
    #[error("the medium failed: {0}")]
    Io(String),
}

/// A stream of messages. It may lose, delay, duplicate or reorder messages: requests of sessions are
/// idempotent and are retransmitted.
///
/// The futures are not required to be `Send`: a session runs on the task that drives it.
#[allow(async_fn_in_trait, reason = "a session runs on the task that drives it")]
pub trait SyncTransport {
    /// Sends one message.
    async fn send(&mut self, message: &StreamMessage<'_>) -> Result<(), TransportError>;

    /// Waits for the next message. `None` once the other end has closed the stream.
    async fn recv(&mut self) -> Result<Option<StreamMessage<'static>>, TransportError>;

    /// Waits for the next message, at most for `budget`. `None` if that time has passed;
    /// [`TransportError::Closed`] once the other end has closed the stream.
    async fn recv_timeout(
        &mut self,
        budget: Duration,
    ) -> Result<Option<StreamMessage<'static>>, TransportError>;

    /// Encrypts messages from now on, or stops doing so. Both ends must change at the same position in
    /// the stream.
    fn set_encryption(&mut self, encryption: Option<(SharedKey, Nonce)>);

    /// The encryption of the stream.
    fn encryption(&self) -> &EncryptionState;

    /// Closes the stream. Messages in flight may still arrive.
    async fn close(&mut self) -> Result<(), TransportError>;
}
