//! Streams in virtual time: the transport over which tests run the async protocol functions.

mod net;
mod sim_stream;

pub use net::{SentFrame, SimNet};
pub use sim_stream::SimStream;
