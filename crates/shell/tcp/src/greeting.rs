//! The greeting: derives a fresh key for the connection, and proves that the peer has the same shared key.
//!
//! Each end sends a random salt in the clear. HKDF (RFC 5869) derives the connection's key and nonce from the
//! shared key and both salts. Then each end sends the context id, sealed under them.

use crate::framed_stream::{Budgets, FramedStream, medium_error};
use crate::transport::{BUDGETS, TcpTransport};
use hkdf::Hkdf;
use sha2::Sha256;
use std::io;
use std::time::Duration;
use syncline_sync::{EncryptionState, FrameError, Nonce, SharedKey, StreamSide, TransportError};
use syncline_types::{ContextId, InternalError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;

const MAGIC: &[u8; 8] = b"syncline";
const VERSION: u8 = 1;
const SALT_BYTES: usize = 32;
/// The longest byte string of a greeting. A peer that has proved nothing yet cannot make us buffer more.
const GREETING_LIMIT: usize = 64;
/// HKDF's `info` strings. Each derived value and each version of the greeting has its own, so that no derived
/// bytes serve two purposes.
const FOR_KEY: &[u8] = b"syncline-tcp v1: key of one connection";
const FOR_NONCE: &[u8] = b"syncline-tcp v1: nonce of one connection";

/// The settings of one end. Both ends need the same context and key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TcpConfig {
    /// The context that is replicated.
    pub context: ContextId,
    /// The secret that both ends share: 32 random bytes, not a password. It may serve any number of
    /// connections, successive or concurrent.
    pub key: SharedKey,
    /// The time limit for connecting and greeting together; ten seconds by default.
    pub greeting_budget: Duration,
    /// How long the peer may take to send one message, from its first byte to its last; 30 seconds by default. The
    /// longest message needs 140 kB a second then. Time that this end spends on its own work does not count.
    pub read_budget: Duration,
    /// How long the peer may take to read one message; 30 seconds by default.
    pub write_budget: Duration,
}

impl TcpConfig {
    /// Settings for `context` and `key`, with the default time limits.
    pub const fn new(context: ContextId, key: SharedKey) -> Self {
        Self {
            context,
            key,
            greeting_budget: Duration::from_secs(10),
            read_budget: BUDGETS.read,
            write_budget: BUDGETS.write,
        }
    }

    pub(crate) const fn budgets(&self) -> Budgets {
        Budgets { read: self.read_budget, write: self.write_budget }
    }
}

/// Why a connection was not established.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No process listens at the address, or the network does not reach it. Retry later.
    #[error("the other end cannot be reached: {0}")]
    Unreachable(#[source] io::Error),
    /// The listening socket of this end failed; see [`TcpAcceptor`](crate::TcpAcceptor).
    #[error("this end accepts no more connections: {0}; listen again")]
    Listener(#[source] io::Error),
    /// Connecting and greeting exceeded [`TcpConfig::greeting_budget`]. Retry later.
    #[error("the other end did not greet in time")]
    Timeout,
    /// The peer speaks another protocol.
    #[error("the other end does not speak this protocol")]
    Foreign,
    /// The peer speaks another version of the greeting.
    #[error(
        "the other end greets in version {found}, and this one in version {VERSION}; use programs of the same \
         version at both ends"
    )]
    Version {
        /// The peer's version.
        found: u8,
    },
    /// The peer has not proved that it has the shared key.
    #[error("the other end has another key, or its greeting was altered")]
    WrongKey,
    /// The peer has the shared key, but replicates another context.
    #[error("the other end replicates another context")]
    Context,
    /// The system's source of randomness failed, so no fresh key can be derived.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
    /// The stream failed, or the peer closed it during the greeting.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A bug in this crate.
    #[error(transparent)]
    Internal(#[from] InternalError),
}

/// Connects to the peer that listens at `addr`, and greets as [`StreamSide::Opener`].
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect(addr: impl ToSocketAddrs, config: &TcpConfig) -> Result<TcpTransport, ConnectError> {
    let connecting = async {
        let stream = TcpStream::connect(addr).await.map_err(ConnectError::Unreachable)?;
        say_hello(without_delay(stream)?, StreamSide::Opener, config).await
    };
    // One limit for both: a peer that accepts the connection and stays silent is given up too.
    timeout(config.greeting_budget, connecting).await.map_err(|_| ConnectError::Timeout)?
}

/// Greets a peer that has connected, as [`StreamSide::Accepter`]. Takes [`TcpConfig::greeting_budget`] at most: a
/// listener that accepts one connection after another is blocked no longer than that by a silent peer.
///
/// # Errors
/// See [`ConnectError`].
pub async fn accept(stream: TcpStream, config: &TcpConfig) -> Result<TcpTransport, ConnectError> {
    greet(without_delay(stream)?, StreamSide::Accepter, config).await
}

/// As [`connect`] and [`accept`], over any stream with in-order delivery. The ends must have different sides.
///
/// # Errors
/// See [`ConnectError`].
pub async fn greet<S: AsyncRead + AsyncWrite>(
    stream: S,
    side: StreamSide,
    config: &TcpConfig,
) -> Result<TcpTransport<S>, ConnectError> {
    let greeting = say_hello(stream, side, config);
    timeout(config.greeting_budget, greeting).await.map_err(|_| ConnectError::Timeout)?
}

/// Turns off Nagle's algorithm (RFC 896), which delays small frames: a session waits for each answer.
fn without_delay(stream: TcpStream) -> Result<TcpStream, ConnectError> {
    stream.set_nodelay(true).map_err(|error| medium_error(&error))?;
    Ok(stream)
}

async fn say_hello<S: AsyncRead + AsyncWrite>(
    stream: S,
    side: StreamSide,
    config: &TcpConfig,
) -> Result<TcpTransport<S>, ConnectError> {
    // The limit is short until the peer has proved that it has the key.
    let mut stream = FramedStream::new(stream, GREETING_LIMIT, config.budgets());
    let mut ours = [0; SALT_BYTES];
    getrandom::fill(&mut ours).map_err(|error| ConnectError::Random(error.to_string()))?;
    stream.write(&[&MAGIC[..], &[VERSION], &ours].concat()).await?;
    let theirs = salt_of(&read(&mut stream).await?)?;
    let (opener, accepter) = match side {
        StreamSide::Opener => (ours, theirs),
        StreamSide::Accepter => (theirs, ours),
    };
    let mut encryption = EncryptionState::plain(side);
    encryption.set(Some(fresh_key(&config.key, &opener, &accepter)?));
    // The seal differs by side, so a peer without the key cannot return our own proof.
    let proof = encryption.seal(config.context.as_bytes()).map_err(TransportError::from)?;
    stream.write(&proof).await?;
    let context = encryption.open(&read(&mut stream).await?).map_err(|_| ConnectError::WrongKey)?;
    // The context is compared after the key, so a peer without the key learns nothing about the context.
    if context != config.context.as_bytes() {
        return Err(ConnectError::Context);
    }
    Ok(TcpTransport::over(stream, encryption, config.context))
}

/// Reads one frame of the greeting.
async fn read<S: AsyncRead + AsyncWrite>(stream: &mut FramedStream<S>) -> Result<bytes::Bytes, ConnectError> {
    match stream.read().await {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(TransportError::Closed.into()),
        // A greeting is short. The first bytes of another protocol usually decode to a large length.
        Err(TransportError::Frame(FrameError::TooLarge { .. })) => Err(ConnectError::Foreign),
        Err(error) => Err(error.into()),
    }
}

/// The salt in the first frame of a peer.
fn salt_of(hello: &[u8]) -> Result<[u8; SALT_BYTES], ConnectError> {
    let (found, salt) = match hello.strip_prefix(MAGIC) {
        Some([found, salt @ ..]) => (*found, salt),
        _ => return Err(ConnectError::Foreign),
    };
    if found != VERSION {
        return Err(ConnectError::Version { found });
    }
    salt.try_into().map_err(|_| ConnectError::Foreign)
}

/// Derives the key and nonce of one connection. They are fresh if the salt of at least one end is fresh, so
/// replayed frames of an earlier connection do not open.
fn fresh_key(
    key: &SharedKey,
    opener: &[u8; SALT_BYTES],
    accepter: &[u8; SALT_BYTES],
) -> Result<(SharedKey, Nonce), InternalError> {
    let material = Hkdf::<Sha256>::new(Some(&[&opener[..], accepter].concat()), &key.0);
    let mut fresh = [0; 32];
    let mut nonce = [0; 12];
    for (out, purpose) in [(&mut fresh[..], FOR_KEY), (&mut nonce[..], FOR_NONCE)] {
        let expanded = material.expand(purpose, out);
        debug_assert!(expanded.is_ok(), "HKDF expands to up to 255 hashes");
        expanded.map_err(|_| InternalError::broken("HKDF expands to up to 255 hashes"))?;
    }
    debug_assert!(fresh != key.0, "the connection's key is not the shared key");
    Ok((SharedKey(fresh), Nonce(nonce)))
}
