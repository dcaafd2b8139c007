//! Sync sessions over TCP: a [`SyncTransport`](syncline_sync::SyncTransport) between two processes.
//!
//! ```
//! use syncline_store::MemoryStore;
//! use syncline_sync::{Outcome, SharedKey, StoreHost, SyncTransport, drive, serve};
//! use syncline_tcp::{TcpConfig, accept, connect};
//! use syncline_types::{ContextId, Moment, ReplicaId, SimTime};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! // Both ends know these; the key is 32 bytes of chance.
//! let config = TcpConfig::new(ContextId([1; 32]), SharedKey([7; 32]));
//! let host = |replica| {
//!     let moment = Moment::at(SimTime::from_secs(1));
//!     StoreHost::open(MemoryStore::default(), config.context, ReplicaId::from_u64(replica), moment)
//! };
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let addr = listener.local_addr()?;
//! let server = async {
//!     let (stream, _) = listener.accept().await?;
//!     let mut transport = accept(stream, &config).await?;
//!     Ok(serve(&mut host(1)?, &mut transport).await?)
//! };
//! let client = async {
//!     let mut transport = connect(addr, &config).await?;
//!     let (outcome, _) = drive(&mut host(2)?, &mut transport).await?;
//!     transport.close().await?;
//!     Ok::<_, Box<dyn std::error::Error>>(outcome)
//! };
//! let (answered, outcome) = tokio::try_join!(server, client)?;
//! assert!(answered > 0 && matches!(outcome, Outcome::Converged { .. }));
//! # Ok(()) }) }
//! ```
//!
//! A session is a task of one thread: its futures are not `Send`, and each step waits for its store.
//! Run sessions on a current-thread runtime. `serve` stays as long as the other end keeps the stream
//! open, however silent; put a `tokio::time::timeout` around it where that matters.
//!
//! # On the wire
//!
//! Everything is a frame: four bytes of length, big endian, then as many bytes, up to
//! [`MAX_WIRE_BYTES`]. A longer length is an error before room is made for it. The first frame of each
//! end is in the clear: `syncline`, a version, and 32 random bytes. Both ends make a key and a nonce of
//! the shared key and the two salts (HKDF with SHA-256), and send the context, sealed, to show that they
//! can. From there on each frame is a message sealed by
//! [`EncryptionState`](syncline_sync::EncryptionState).
//!
//! # What is protected
//!
//! Nobody without the key can read a message, change one unnoticed, add one, or play one again: within a
//! connection the seal counts, and each connection has a key of its own. What does not open, or is no
//! message, is dropped and counted ([`TcpTransport::dropped`]); the session asks again.
//!
//! # What is not
//!
//! - **There is no forward secrecy.** Connection keys follow from the shared key and from salts that
//!   anybody can see: who learns the shared key can read all that was ever recorded under it.
//! - There are no identities. Who holds the key may speak as any replica, and none can be shut out
//!   without a new key for all others.
//! - The key must be chance. A greeting lets anybody who sees it test guesses, and passwords are guessed.
//! - Addresses, the lengths and times of frames, and that this is Syncline, can be seen by all.
//! - Who sits in between can delay frames, drop them and end the stream, also by changing a length.
//!   Sessions then fail or are repeated; they do not take a stream's end for agreement.

mod greeting;
mod transport;
mod wire;

pub use greeting::{ConnectError, TcpConfig, accept, connect, greet};
pub use transport::{Dropped, MAX_WIRE_BYTES, TcpTransport};
