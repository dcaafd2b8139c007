//! How a stream begins: fresh key material for this connection alone, and proof that the other end
//! holds the same key.

use crate::transport::{TcpTransport, WRITE_BUDGET};
use crate::wire::{Wire, medium_error};
use hkdf::Hkdf;
use sha2::Sha256;
use std::io;
use std::time::Duration;
use syncline_sync::{EncryptionState, FrameError, Nonce, SharedKey, StreamSide, TransportError};
use syncline_types::ContextId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;

const MAGIC: &[u8; 8] = b"syncline";
const VERSION: u8 = 1;
const SALT_BYTES: usize = 32;
/// The longest byte string of a greeting: nobody who has not proved anything makes us hold more.
const GREETING_LIMIT: usize = 64;
/// What derived bytes are for. Another version of the greeting says another thing here.
const FOR_KEY: &[u8] = b"syncline-tcp v1: key of one connection";
const FOR_NONCE: &[u8] = b"syncline-tcp v1: nonce of one connection";

/// What this end knows beforehand and expects of the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TcpConfig {
    /// What is replicated.
    pub context: ContextId,
    /// What both ends know and nobody else: 32 bytes of chance, not a password. It may serve any number
    /// of connections, one after another and at once.
    pub key: SharedKey,
    /// How long connecting and greeting may take together; ten seconds by default.
    pub greeting_budget: Duration,
    /// How long the other end may take to read one message; half a minute by default.
    pub write_budget: Duration,
}

impl TcpConfig {
    /// The defaults for `context` under `key`.
    pub const fn new(context: ContextId, key: SharedKey) -> Self {
        Self { context, key, greeting_budget: Duration::from_secs(10), write_budget: WRITE_BUDGET }
    }
}

/// Why there is no transport to the other end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is nobody at that address. Worth another try later.
    #[error("the other end cannot be reached: {0}")]
    Unreachable(#[source] io::Error),
    /// Connecting and greeting took too long. Worth another try later.
    #[error("the other end did not greet in time")]
    Timeout,
    /// Whoever is there speaks something else.
    #[error("the other end does not speak this protocol")]
    Foreign,
    /// The other end is of another version.
    #[error("the other end greets in version {found}; this one in {VERSION}")]
    Version {
        /// Its version.
        found: u8,
    },
    /// The other end cannot prove that it holds the key.
    #[error("the other end holds another key, or somebody has changed its greeting")]
    WrongKey,
    /// The other end holds the key, and replicates something else.
    #[error("the other end replicates another context")]
    Context,
    /// Without chance there is no fresh key.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
    /// The stream failed, or the other end closed it in the middle of the greeting.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// Connects to whoever listens at `addr`, and greets.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect(addr: impl ToSocketAddrs, config: &TcpConfig) -> Result<TcpTransport, ConnectError> {
    let connecting = async {
        let stream = TcpStream::connect(addr).await.map_err(ConnectError::Unreachable)?;
        say_hello(without_delay(stream)?, StreamSide::Opener, config).await
    };
    timeout(config.greeting_budget, connecting).await.map_err(|_| ConnectError::Timeout)?
}

/// Greets whoever has connected. A listener that takes one connection after another waits for
/// [`TcpConfig::greeting_budget`] at most.
///
/// # Errors
/// See [`ConnectError`].
pub async fn accept(stream: TcpStream, config: &TcpConfig) -> Result<TcpTransport, ConnectError> {
    greet(without_delay(stream)?, StreamSide::Accepter, config).await
}

/// As [`connect`] and [`accept`], over any stream of bytes. The two ends must be of different sides.
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

/// A session asks and waits: a small frame must not wait for a larger one to go with.
fn without_delay(stream: TcpStream) -> Result<TcpStream, ConnectError> {
    stream.set_nodelay(true).map_err(|error| medium_error(&error))?;
    Ok(stream)
}

async fn say_hello<S: AsyncRead + AsyncWrite>(
    stream: S,
    side: StreamSide,
    config: &TcpConfig,
) -> Result<TcpTransport<S>, ConnectError> {
    let mut wire = Wire::new(stream, GREETING_LIMIT, config.write_budget);
    let mut ours = [0; SALT_BYTES];
    getrandom::fill(&mut ours).map_err(|error| ConnectError::Random(error.to_string()))?;
    wire.write(&[&MAGIC[..], &[VERSION], &ours].concat()).await?;
    let theirs = salt_of(&read(&mut wire).await?)?;
    let (opener, accepter) = match side {
        StreamSide::Opener => (ours, theirs),
        StreamSide::Accepter => (theirs, ours),
    };
    let mut encryption = EncryptionState::plain(side);
    encryption.set(Some(fresh_key(&config.key, &opener, &accepter)));
    let proof = encryption.seal(config.context.as_bytes()).map_err(TransportError::from)?;
    wire.write(&proof).await?;
    let context = encryption.open(&read(&mut wire).await?).map_err(|_| ConnectError::WrongKey)?;
    if context != config.context.as_bytes() {
        return Err(ConnectError::Context);
    }
    Ok(TcpTransport::over(wire, encryption, config.context))
}

async fn read<S: AsyncRead + AsyncWrite>(wire: &mut Wire<S>) -> Result<bytes::Bytes, ConnectError> {
    match wire.read().await {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(TransportError::Closed.into()),
        Err(TransportError::Frame(FrameError::TooLarge { .. })) => Err(ConnectError::Foreign),
        Err(error) => Err(error.into()),
    }
}

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

/// A key and a nonce that one connection alone has: as long as either end's salt is new, so are they.
fn fresh_key(key: &SharedKey, opener: &[u8; SALT_BYTES], accepter: &[u8; SALT_BYTES]) -> (SharedKey, Nonce) {
    let material = Hkdf::<Sha256>::new(Some(&[&opener[..], accepter].concat()), &key.0);
    let (mut fresh, mut nonce) = ([0; 32], [0; 12]);
    for (out, purpose) in [(&mut fresh[..], FOR_KEY), (&mut nonce[..], FOR_NONCE)] {
        material.expand(purpose, out).expect("HKDF refuses only what is longer than 255 hashes");
    }
    (SharedKey(fresh), Nonce(nonce))
}
