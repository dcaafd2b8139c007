//! Sessions over a stream of messages: the stream's interface, its encryption, and the driver.

mod drive;
mod encryption;
mod stream;

pub use drive::{
    DriveError, Served, StoreHost, StreamEnd, bloom_filter_sync, delta_sync, drive, hash_comparison_sync,
    level_wise_sync, rateless_iblt_sync, serve, snapshot_sync, subtree_prefetch_sync,
};
pub use encryption::{EncryptionError, EncryptionState, Nonce, SharedKey, StreamSide};
pub use stream::{StreamMessage, SyncTransport, TransportError};
