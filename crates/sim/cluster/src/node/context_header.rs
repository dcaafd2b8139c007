//! The header by which a node with several contexts routes frames to the replica of one of them.
//!
//! A production node learns the context from the topic or from the opening of the stream. On a simulated link the
//! header is two bytes before the frame: the context number and its complement, so that any flipped bit is detected.
//! Nodes with one context send no header. The frame itself names its context too and its replica checks that, so a
//! false header only leads a frame to a replica that refuses it.

use syncline_store::Bytes;

/// Length of a header in bytes.
const LENGTH: usize = 2;

/// Why a frame cannot be handed to a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// The frame is shorter than a header.
    #[error("a frame of {found} bytes; its header alone takes {LENGTH}")]
    Short {
        /// Length of the frame in bytes.
        found: usize,
    },
    /// The second byte is not the complement of the first.
    #[error("the header of a frame is damaged")]
    Damaged,
    /// The node has no such context.
    #[error("a frame for context {found}; this node keeps {contexts}, numbered from 0")]
    Unknown {
        /// The context number in the header.
        found: u8,
        /// Number of contexts on the node.
        contexts: usize,
    },
}

/// Prepends the header of a context to a frame.
pub(super) fn write(context: u8, frame: &[u8]) -> Bytes {
    [context, !context].iter().chain(frame).copied().collect()
}

/// Splits a frame into the context number of its header and the frame itself. The number is less than `contexts`.
pub(super) fn read(bytes: &[u8], contexts: usize) -> Result<(u8, Bytes), HeaderError> {
    let Some((&[context, complement], frame)) = bytes.split_first_chunk::<LENGTH>() else {
        return Err(HeaderError::Short { found: bytes.len() });
    };
    if complement != !context {
        return Err(HeaderError::Damaged);
    }
    if usize::from(context) >= contexts {
        return Err(HeaderError::Unknown { found: context, contexts });
    }
    Ok((context, frame.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_detects_any_flipped_bit() {
        for context in 0..8 {
            let bytes = write(context, b"frame");
            assert_eq!(read(&bytes, 8), Ok((context, Bytes::from(*b"frame"))));
            for bit in 0..16 {
                let mut flipped = bytes.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(read(&flipped, 8), Err(HeaderError::Damaged));
            }
        }
    }

    #[test]
    fn refuses_short_and_foreign_frames() {
        assert_eq!(read(&[], 2), Err(HeaderError::Short { found: 0 }));
        assert_eq!(read(&[1], 2), Err(HeaderError::Short { found: 1 }));
        let refused = read(&write(2, b"frame"), 2);
        assert_eq!(refused, Err(HeaderError::Unknown { found: 2, contexts: 2 }));
        assert_eq!(
            refused.unwrap_err().to_string(),
            "a frame for context 2; this node keeps 2, numbered from 0"
        );
    }
}
