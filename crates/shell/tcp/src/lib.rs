//! Sync sessions over TCP: a [`SyncTransport`](syncline_sync::SyncTransport) between two processes.
//!
//! ```
//! use syncline_store::MemoryStore;
//! use syncline_sync::{Outcome, SharedKey, StoreHost, SyncTransport, drive, serve};
//! use syncline_tcp::{AcceptLimits, TcpAcceptor, TcpConfig, connect};
//! use syncline_types::{ContextId, Moment, ReplicaId, SimTime};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! // Both ends have the same configuration; the key is 32 random bytes.
//! let config = TcpConfig::new(ContextId([1; 32]), SharedKey([7; 32]));
//! let host = |replica| {
//!     let moment = Moment::at(SimTime::from_secs(1));
//!     StoreHost::open(MemoryStore::default(), config.context, ReplicaId::from_u64(replica), moment)
//! };
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let addr = listener.local_addr()?;
//! let mut acceptor = TcpAcceptor::new(listener, config.clone(), AcceptLimits::default());
//! let server = async {
//!     let (mut transport, _peer) = acceptor.accept().await?;
//!     Ok(serve(&mut host(1)?, &mut transport).await?)
//! };
//! let client = async {
//!     let mut transport = connect(addr, &config).await?;
//!     let (outcome, _) = drive(&mut host(2)?, &mut transport).await?;
//!     transport.close().await?;
//!     Ok::<_, Box<dyn std::error::Error>>(outcome)
//! };
//! let (served, outcome) = tokio::try_join!(server, client)?;
//! assert!(served.answered > 0 && matches!(outcome, Outcome::Converged { .. }));
//! # Ok(()) }) }
//! ```
//!
//! A session runs on one thread: its futures are not `Send`, and each step waits for its store. Run sessions
//! on a current-thread runtime.
//!
//! # Slow and hostile peers
//!
//! Each resource that a peer can hold has a limit, and each limit is a field:
//!
//! | the peer | is given up after | by default |
//! |---|---|---|
//! | does not greet | [`TcpConfig::greeting_budget`] | 10 s |
//! | begins a message and does not finish it | [`TcpConfig::read_budget`] | 30 s |
//! | does not read a message | [`TcpConfig::write_budget`] | 30 s |
//! | sends no request to `serve` | [`StoreHost::idle_limit`](syncline_sync::StoreHost::idle_limit) | 60 s |
//! | greets too often at once, from one address | [`AcceptLimits::greetings_per_address`] | 8 |
//!
//! [`TcpAcceptor`] greets many peers at the same time, so that silent ones delay nobody, and bounds all connections:
//! [`AcceptLimits`].
//!
//! # Wire format
//!
//! Everything is a frame: four bytes of length, big-endian, then the body of that length, up to
//! [`MAX_WIRE_BYTES`]. A larger length is an error, before any memory is reserved for it.
//!
//! | frame of each end | body |
//! |---|---|
//! | 1 | in the clear: `syncline` (8 bytes), the version (1 byte, now 1), a random salt (32 bytes) |
//! | 2 | the context id, sealed |
//! | 3 and later | one message each, sealed |
//!
//! Both ends derive the connection's key and nonce from the shared key and the two salts, with HKDF (RFC 5869)
//! and SHA-256. [`EncryptionState`](syncline_sync::EncryptionState) seals. Frame 2 proves that its sender has
//! the shared key.
//!
//! # Guarantees
//!
//! Without the shared key it is impossible to read a message, to alter one undetected, to insert one or to
//! replay one: the seal numbers the messages of a connection, and each connection has a key of its own. A
//! frame that does not open, or is no message, is dropped and counted ([`TcpTransport::dropped`]); the
//! session retransmits its request.
//!
//! # Limits
//!
//! - **There is no forward secrecy.** Connection keys are derived from the shared key and from salts that are
//!   sent in the clear. An attacker who learns the shared key can decrypt all recorded connections.
//! - There are no identities. A holder of the key can act as any replica. To exclude one holder, all others
//!   need a new key.
//! - The key must be random. A recorded greeting lets its observer test guesses offline, and passwords are
//!   guessable.
//! - Observers see addresses, the lengths and times of frames, and that the protocol is Syncline's.
//! - A host on the path can delay and drop frames, and end the stream, for example by altering a length.
//!   Sessions then fail or are repeated. A session never mistakes the end of a stream for convergence.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod acceptor;
mod framed_stream;
mod greeting;
mod slots;
mod transport;

pub use acceptor::{AcceptCounts, AcceptLimits, TcpAcceptor};
pub use greeting::{ConnectError, TcpConfig, accept, connect, greet};
pub use transport::{DroppedFrames, MAX_WIRE_BYTES, TcpTransport};
