//! A stream between two replicas in virtual time.

use crate::stream::net::SimNet;
use std::borrow::Cow;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use sync_sim_engine::faults::FaultConfig;
use sync_sim_engine::network::DropCause;
use sync_sim_engine::node_id::NodeId;
use syncline_sync::{
    EncryptionError, EncryptionState, Frame, Nonce, SharedKey, StreamMessage, StreamSide, SyncTransport,
    TransportError,
};
use syncline_types::{ContextId, SimDuration, SimTime};

/// One end of a stream between two replicas, in virtual time. Frames that are corrupt, forged or replayed are dropped
/// with their cause and never reach the session.
#[derive(Debug)]
pub struct SimStream {
    net: SimNet,
    own: NodeId,
    peer: NodeId,
    context: ContextId,
    encryption: EncryptionState,
    closed: bool,
}

impl SimStream {
    /// The two ends of a stream without loss or latency, and the network that runs them.
    pub fn pair(context: ContextId) -> (SimNet, Self, Self) {
        let net = match SimNet::new(0, FaultConfig::none()) {
            Ok(net) => net,
            Err(error) => unreachable!("a network without faults is valid: {error}"),
        };
        let (a, b) = Self::open(&net, context);
        (net, a, b)
    }

    /// The two ends of a stream whose frames go through the router of `net`.
    pub fn open(net: &SimNet, context: ContextId) -> (Self, Self) {
        let a = net.add_end();
        let b = net.add_end();
        let end = |own, peer, side| Self {
            net: net.clone(),
            own,
            peer,
            context,
            encryption: EncryptionState::plain(side),
            closed: false,
        };
        (end(a, b, StreamSide::Opener), end(b, a, StreamSide::Accepter))
    }

    /// The next message, if one has arrived. Never waits.
    pub fn try_recv(&mut self) -> Option<StreamMessage<'static>> {
        self.take().flatten()
    }

    /// Makes the executor poll all tasks again at `at`.
    pub fn wake_at(&mut self, at: SimTime) {
        self.net.0.borrow_mut().wake_at(at);
    }

    /// Waits until the next event of the network.
    pub async fn pause(&mut self) {
        // Pending once: the executor polls again after the next event.
        let mut asked = false;
        poll_fn(|_| if std::mem::replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Takes the next valid message. `None` if none has arrived; `Some(None)` if the stream is closed.
    fn take(&mut self) -> Option<Option<StreamMessage<'static>>> {
        loop {
            let mut state = self.net.0.borrow_mut();
            let inbox = state.inboxes.get_mut(self.own.index())?;
            let Some(bytes) = inbox.frames.pop_front() else {
                return inbox.closed.then_some(None);
            };
            let frame = match self.encryption.open(&bytes) {
                Ok(plain) => Frame::from_wire(&plain, self.context).map_err(|_| DropCause::Corrupt),
                Err(EncryptionError::Replayed { .. }) => Err(DropCause::DuplicateSuppressed),
                Err(_) => Err(DropCause::Corrupt),
            };
            match frame {
                Ok(frame) => {
                    let message = Cow::Owned(frame.message);
                    return Some(Some(StreamMessage { incarnation: frame.incarnation, message }));
                }
                Err(cause) => state.refuse(cause),
            }
        }
    }
}

impl SyncTransport for SimStream {
    async fn send(&mut self, message: &StreamMessage<'_>) -> Result<(), TransportError> {
        if self.closed {
            return Err(TransportError::Closed);
        }
        let message =
            Frame { incarnation: message.incarnation, message: message.message.clone().into_owned() };
        let sealed = self.encryption.seal(&message.to_wire(self.context))?;
        self.net.0.borrow_mut().send(self.own, self.peer, sealed.into());
        Ok(())
    }

    async fn recv(&mut self) -> Result<Option<StreamMessage<'static>>, TransportError> {
        poll_fn(|_| match self.take() {
            Some(message) => Poll::Ready(Ok(message)),
            None => Poll::Pending,
        })
        .await
    }

    async fn recv_timeout(
        &mut self,
        budget: Duration,
    ) -> Result<Option<StreamMessage<'static>>, TransportError> {
        let budget = SimDuration::from_micros(u64::try_from(budget.as_micros()).unwrap_or(u64::MAX));
        let deadline: SimTime = self.net.now() + budget;
        self.net.0.borrow_mut().wake_at(deadline);
        poll_fn(|_| match self.take() {
            Some(Some(message)) => Poll::Ready(Ok(Some(message))),
            Some(None) => Poll::Ready(Err(TransportError::Closed)),
            None if self.net.now() >= deadline => Poll::Ready(Ok(None)),
            None => Poll::Pending,
        })
        .await
    }

    fn set_encryption(&mut self, encryption: Option<(SharedKey, Nonce)>) {
        self.encryption.set(encryption);
    }

    fn encryption(&self) -> &EncryptionState {
        &self.encryption
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        self.closed = true;
        self.net.0.borrow_mut().close(self.peer);
        Ok(())
    }
}
