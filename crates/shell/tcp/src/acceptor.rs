//! Accepting connections: greetings side by side, and bounds on what peers can hold.

use crate::greeting::{ConnectError, TcpConfig, accept};
use crate::slots::ConnectionSlots;
use crate::transport::TcpTransport;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

/// The pause after the system had no descriptor or memory for a connection. Without it the next attempt would come
/// at once, and fail again.
const PAUSE: Duration = Duration::from_millis(100);

/// How many connections an acceptor holds at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcceptLimits {
    /// Connections that have greeted and still exist; 256 by default. A further one is closed.
    pub connections: usize,
    /// Connections that are greeting; 64 by default. For a further one the oldest is closed: an honest peer greets
    /// within a round trip, so the oldest is the least likely to.
    pub greetings: usize,
    /// Connections that are greeting from one address, or from one /64 network of IPv6; 8 by default. A further one
    /// is closed. So a single host cannot drive out the others.
    pub greetings_per_address: usize,
}

impl Default for AcceptLimits {
    fn default() -> Self {
        Self { connections: 256, greetings: 64, greetings_per_address: 8 }
    }
}

/// What became of the connections to an acceptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AcceptCounts {
    /// Connections that greeted and were returned.
    pub accepted: u64,
    /// Connections that were closed because of a limit.
    pub refused: u64,
    /// Connections whose greeting failed: see [`ConnectError`].
    pub failed: u64,
    /// How often the system had no descriptor or memory for a connection.
    pub exhausted: u64,
}

type Greeted = Result<TcpTransport, ConnectError>;

struct Greeting {
    peer: SocketAddr,
    work: Pin<Box<dyn Future<Output = Greeted> + Send>>,
}

/// Accepts connections on a listening socket, and greets their peers as
/// [`StreamSide::Accepter`](syncline_sync::StreamSide::Accepter).
///
/// A call of [`TcpAcceptor::accept`] greets any number of peers at the same time, so that a silent one delays
/// nobody. Greetings advance during calls only.
pub struct TcpAcceptor {
    listener: TcpListener,
    config: Arc<TcpConfig>,
    limits: AcceptLimits,
    /// From the oldest to the newest.
    greetings: VecDeque<Greeting>,
    connections: ConnectionSlots,
    counts: AcceptCounts,
    pause: Option<Pin<Box<Sleep>>>,
}

impl std::fmt::Debug for TcpAcceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpAcceptor").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl TcpAcceptor {
    /// An acceptor on `listener`, with these settings for each connection.
    pub fn new(listener: TcpListener, config: TcpConfig, limits: AcceptLimits) -> Self {
        Self {
            listener,
            config: Arc::new(config),
            limits,
            greetings: VecDeque::new(),
            connections: ConnectionSlots::default(),
            counts: AcceptCounts::default(),
            pause: None,
        }
    }

    /// The number of connections that were returned and still exist.
    pub fn connections(&self) -> usize {
        self.connections.taken()
    }

    /// The number of connections that are greeting.
    pub fn greetings(&self) -> usize {
        self.greetings.len()
    }

    /// What became of the connections so far.
    pub const fn counts(&self) -> AcceptCounts {
        self.counts
    }

    /// Waits for the next peer that has greeted. Failures of single peers are counted, and not returned. Cancel
    /// safe: a dropped call loses no connection.
    ///
    /// # Errors
    /// [`ConnectError::Listener`] if the listening socket fails.
    pub async fn accept(&mut self) -> Result<(TcpTransport, SocketAddr), ConnectError> {
        poll_fn(|context| self.poll(context)).await
    }

    /// O(connections that are greeting), which is bounded.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(TcpTransport, SocketAddr), ConnectError>> {
        // New connections come first, so that their greetings are polled below and wake this task later.
        if let Err(error) = self.admit_all(context) {
            return Poll::Ready(Err(ConnectError::Listener(error)));
        }
        match self.next_greeted(context) {
            Some(greeted) => Poll::Ready(Ok(greeted)),
            None => Poll::Pending,
        }
    }

    /// Takes the connections that wait in the system's queue.
    fn admit_all(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        loop {
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(context).is_pending() {
                    return Ok(());
                }
                self.pause = None;
            }
            match self.listener.poll_accept(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok((stream, peer))) => self.admit(stream, peer),
                Poll::Ready(Err(error)) => match kind_of(&error) {
                    AcceptFailure::Connection => self.counts.failed += 1,
                    AcceptFailure::Resources => {
                        self.counts.exhausted += 1;
                        self.pause = Some(Box::pin(sleep(PAUSE)));
                    }
                    AcceptFailure::Listener => return Err(error),
                },
            }
        }
    }

    /// Begins a greeting, if the limits permit it.
    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let from = network_of(peer.ip());
        let same = self.greetings.iter().filter(|greeting| network_of(greeting.peer.ip()) == from).count();
        if self.connections() >= self.limits.connections || same >= self.limits.greetings_per_address {
            self.counts.refused += 1;
            return;
        }
        if self.greetings.len() >= self.limits.greetings {
            self.greetings.pop_front();
            self.counts.refused += 1;
        }
        let config = self.config.clone();
        let work = Box::pin(async move { accept(stream, &config).await });
        self.greetings.push_back(Greeting { peer, work });
    }

    /// The first greeting that has succeeded.
    fn next_greeted(&mut self, context: &mut Context<'_>) -> Option<(TcpTransport, SocketAddr)> {
        let mut at = 0;
        while let Some(greeting) = self.greetings.get_mut(at) {
            let Poll::Ready(greeted) = greeting.work.as_mut().poll(context) else {
                at += 1;
                continue;
            };
            let peer = greeting.peer;
            self.greetings.remove(at);
            match greeted {
                Err(_) => self.counts.failed += 1,
                // Others have greeted since this one was admitted.
                Ok(_) if self.connections() >= self.limits.connections => self.counts.refused += 1,
                Ok(transport) => {
                    self.counts.accepted += 1;
                    return Some((transport.in_slot(self.connections.take()), peer));
                }
            }
        }
        None
    }
}

/// What a failure to accept concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AcceptFailure {
    /// One connection, which its peer has given up for example.
    Connection,
    /// Descriptors or memory, which may be free again soon.
    Resources,
    /// The listening socket.
    Listener,
}

fn kind_of(error: &io::Error) -> AcceptFailure {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, OutOfMemory, TimedOut, WouldBlock};
    match error.kind() {
        ConnectionAborted | ConnectionReset | Interrupted | TimedOut | WouldBlock => {
            AcceptFailure::Connection
        }
        OutOfMemory => AcceptFailure::Resources,
        // ENFILE and EMFILE have no kind, and these numbers on every Unix; ENOBUFS of Linux, macOS and BSD.
        _ => match error.raw_os_error() {
            Some(23 | 24 | 55 | 105) if cfg!(unix) => AcceptFailure::Resources,
            _ => AcceptFailure::Listener,
        },
    }
}

/// The address by which greetings are counted. One host of IPv6 usually has a whole /64 network.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_of_the_listener_end_it() {
        let of = |code| kind_of(&io::Error::from_raw_os_error(code));
        if cfg!(target_os = "linux") {
            // EMFILE, ENFILE, ENOBUFS, ENOMEM; ECONNABORTED, EINTR; EBADF, EINVAL.
            for code in [24, 23, 105, 12] {
                assert_eq!(of(code), AcceptFailure::Resources, "{code}");
            }
            for code in [103, 4] {
                assert_eq!(of(code), AcceptFailure::Connection, "{code}");
            }
            for code in [9, 22] {
                assert_eq!(of(code), AcceptFailure::Listener, "{code}");
            }
        }
    }

    #[test]
    fn addresses_of_one_host_are_one() {
        let of = |address: &str| network_of(address.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
