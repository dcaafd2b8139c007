//! Frames: the bytes of a message on a link.

use super::Message;
use syncline_types::{ContextId, Decode, DecodeError, Encode, Reader, Writer, canary, limits};

const VERSION: u8 = 1;

/// A message with its envelope. On the wire: a CRC-32 of all that follows, the format version, the
/// context's tag, the sender's incarnation, the message.
///
/// The checksum detects damage, not an adversary. On a real network the encryption of the transport
/// authenticates frames.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// How many times the sender had started when it sent this frame. A receiver drops frames of
    /// earlier incarnations.
    pub incarnation: u64,
    /// The message in the frame.
    pub message: Message,
}

/// Why received bytes are not a frame for this replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The frame is longer than the receiver accepts.
    #[error("a frame of {found} bytes; the limit is {limit}")]
    TooLarge {
        /// The length of the frame in bytes.
        found: usize,
        /// The greatest length that is accepted: [`limits::MAX_FRAME_BYTES`], or less.
        limit: usize,
    },
    /// The bytes are not a frame, or the frame is damaged.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The frame has another version of the format.
    #[error(
        "the frame has format {found}, and this replica reads format {VERSION}; run programs of the same version on \
         both ends"
    )]
    Version {
        /// The version of the frame.
        found: u8,
    },
    /// The frame belongs to another context.
    #[error("the frame belongs to another context")]
    Context,
}

impl Frame {
    /// Encodes the frame for `context`.
    pub fn to_wire(&self, context: ContextId) -> Vec<u8> {
        let mut out = Writer::with_capacity(128);
        // A placeholder: the checksum covers the bytes after it, so it is computed last.
        out.u32_le(0);
        out.u8(VERSION);
        out.raw(&context.tag());
        out.varint(self.incarnation);
        self.message.encode(&mut out);
        let mut bytes = out.into_bytes();
        debug_assert!(bytes.len() > 4 + 1 + 8, "a frame holds checksum, version, context tag and message");
        if let Some((head, tail)) = bytes.split_at_mut_checked(4) {
            head.copy_from_slice(&crc32fast::hash(tail).to_le_bytes());
        }
        bytes
    }

    /// Decodes a frame for `context`. It never panics, whatever the bytes. The order of the checks
    /// matters: length and checksum come first, so that damage is not mistaken for another version or
    /// another context.
    pub fn from_wire(bytes: &[u8], context: ContextId) -> Result<Self, FrameError> {
        let limit = limits::MAX_FRAME_BYTES;
        if bytes.len() > limit {
            return Err(FrameError::TooLarge { found: bytes.len(), limit });
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
