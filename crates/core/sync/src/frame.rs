//! The bytes of a message on a link.

use crate::message::Message;
use syncline_types::{ContextId, Decode, DecodeError, Encode, Reader, Writer, canary, limits};

const VERSION: u8 = 1;

/// A message with what its receiver needs before it reads it. On the wire: a CRC-32 of all that
/// follows, the format version, the context's tag, the sender's incarnation, the message.
///
/// The checksum notices damage, not malice; on a real network the transport's encryption
/// authenticates frames.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// How often the sender had started when it sent this.
    pub incarnation: u64,
    /// What it says.
    pub message: Message,
}

/// Why bytes are not a frame for this replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than a frame may be.
    #[error("a frame of {found} bytes; the limit is {}", limits::MAX_FRAME_BYTES)]
    TooLarge {
        /// Its length.
        found: usize,
    },
    /// Not a frame, or a damaged one.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Written by another version of the format.
    #[error("frame format {found}; this replica reads {VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// Meant for another context.
    #[error("the frame belongs to another context")]
    Context,
}

impl Frame {
    /// The bytes of the frame.
    pub fn to_wire(&self, context: ContextId) -> Vec<u8> {
        let mut out = Writer::with_capacity(128);
        out.u32_le(0);
        out.u8(VERSION);
        out.raw(&context.tag());
        out.varint(self.incarnation);
        self.message.encode(&mut out);
        let mut bytes = out.into_bytes();
        if let Some((head, tail)) = bytes.split_at_mut_checked(4) {
            head.copy_from_slice(&crc32fast::hash(tail).to_le_bytes());
        }
        bytes
    }

    /// Reads a frame for `context`. Never panics, whatever the bytes.
    pub fn from_wire(bytes: &[u8], context: ContextId) -> Result<Self, FrameError> {
        if bytes.len() > limits::MAX_FRAME_BYTES {
            return Err(FrameError::TooLarge { found: bytes.len() });
        }
        let mut input = Reader::new(bytes);
        let checksum = input.u32_le()?;
        if crc32fast::hash(bytes.split_at(4).1) != checksum {
            return Err(DecodeError::Checksum.into());
        }
        let found = input.u8()?;
        if found != VERSION {
            return Err(FrameError::Version { found });
        }
        if input.array::<8>()? != context.tag() && !canary!(ContextsMixed) {
            return Err(FrameError::Context);
        }
        let incarnation = input.varint()?;
        let message = Message::decode(&mut input)?;
        input.finish()?;
        Ok(Self { incarnation, message })
    }
}
