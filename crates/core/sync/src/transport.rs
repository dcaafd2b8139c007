//! A stream of messages between two replicas, whatever carries it.

use crate::encryption::{EncryptionError, EncryptionState, Nonce, SharedKey};
use crate::frame::FrameError;
use crate::message::Message;
use std::borrow::Cow;
use std::time::Duration;

/// A message on a stream, borrowed to send and owned once received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamMessage<'a> {
    /// How often the sender had started when it sent this.
    pub incarnation: u64,
    /// What it says.
    pub message: Cow<'a, Message>,
}

/// Why a transport cannot go on. A damaged, forged or replayed message is not among these: it is
/// dropped and counted, and whoever waits for it asks again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The other end has closed the stream, or this one has.
    #[error("the stream is closed")]
    Closed,
    /// A message cannot be sealed.
    #[error(transparent)]
    Encryption(#[from] EncryptionError),
    /// A message cannot be framed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The medium failed.
    #[error("the medium failed: {0}")]
    Io(String),
}

/// A stream of messages. Messages may be lost, late, doubled or overtaken: sessions do not mind.
///
/// The futures are not required to be `Send`: a session runs on the task that drives it.
#[allow(async_fn_in_trait, reason = "a session runs on the task that drives it")]
pub trait SyncTransport {
    /// Sends one message.
    async fn send(&mut self, message: &StreamMessage<'_>) -> Result<(), TransportError>;

    /// Waits for the next message. `None` once the other end has closed the stream.
    async fn recv(&mut self) -> Result<Option<StreamMessage<'static>>, TransportError>;

    /// Waits for the next message for as long as `budget`. `None` if none came;
    /// [`TransportError::Closed`] once the other end has closed the stream.
    async fn recv_timeout(
        &mut self,
        budget: Duration,
    ) -> Result<Option<StreamMessage<'static>>, TransportError>;

    /// Seals messages from now on, or not. Both ends must change at the same place in the stream.
    fn set_encryption(&mut self, encryption: Option<(SharedKey, Nonce)>);

    /// How messages are sealed.
    fn encryption(&self) -> &EncryptionState;

    /// Closes the stream. What was sent may still arrive.
    async fn close(&mut self) -> Result<(), TransportError>;
}
