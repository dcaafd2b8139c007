//! Streams in virtual time: the transport that the async protocol functions run over in tests.

mod net;
mod sim_stream;

pub use net::{SentFrame, SimNet};
pub use sim_stream::SimStream;
