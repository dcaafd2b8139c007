//! What a frame begins with where nodes keep more than one context: which it is for.
//!
//! A production node is told by the topic or by the opening of the stream. On a simulated link it is two bytes
//! before the frame, the second the complement of the first, so that a flipped bit is noticed. Whoever keeps
//! one context sends none. The frame itself says besides which context it belongs to, and its replica checks
//! that: a header that is wrong brings a frame to a replica that refuses it.

use syncline_store::Bytes;

/// Its length.
const LENGTH: usize = 2;

/// Why a frame cannot be handed to a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// It ends before its header does.
    #[error("a frame of {found} bytes; its header alone takes {LENGTH}")]
    Short {
        /// Its length.
        found: usize,
    },
    /// It is not what was sent.
    #[error("the header of a frame is damaged")]
    Damaged,
    /// The node does not keep that context.
    #[error("a frame for context {found}; this node keeps {kept}, numbered from 0")]
    Unknown {
        /// The number of the context.
        found: u8,
        /// How many the node keeps.
        kept: usize,
    },
}

/// A frame for the context of this number.
pub(super) fn write(context: u8, frame: &[u8]) -> Bytes {
    [context, !context].iter().chain(frame).copied().collect()
}

/// The number of the context that a frame is for, of so many that are `kept`, and the frame without its header.
pub(super) fn read(bytes: &[u8], kept: usize) -> Result<(u8, Bytes), HeaderError> {
    let Some((&[context, complement], frame)) = bytes.split_first_chunk::<LENGTH>() else {
        return Err(HeaderError::Short { found: bytes.len() });
    };
    if complement != !context {
        return Err(HeaderError::Damaged);
    }
    if usize::from(context) >= kept {
        return Err(HeaderError::Unknown { found: context, kept });
    }
    Ok((context, frame.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_back_and_any_flipped_bit_of_it_is_noticed() {
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
    fn a_frame_that_is_too_short_or_for_another_context_is_refused_with_the_reason() {
        assert_eq!(read(&[], 2), Err(HeaderError::Short { found: 0 }));
        assert_eq!(read(&[1], 2), Err(HeaderError::Short { found: 1 }));
        let refused = read(&write(2, b"frame"), 2);
        assert_eq!(refused, Err(HeaderError::Unknown { found: 2, kept: 2 }));
        assert_eq!(
            refused.unwrap_err().to_string(),
            "a frame for context 2; this node keeps 2, numbered from 0"
        );
    }
}
