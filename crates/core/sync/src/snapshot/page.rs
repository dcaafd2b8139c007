//! The pages of a snapshot.

use syncline_storage::Cursor;
use syncline_store::Bytes;
use syncline_types::{Decode, DecodeError, Digest, Encode, EntityId, Reader, Writer, limits};

/// One page of a snapshot: some records of one state, in the order of the cursor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SnapshotPage {
    /// The root of the state that the snapshot shows.
    pub boundary: Digest,
    /// The root of the responder's present state.
    pub root: Digest,
    /// The encoded records; see [`SnapshotPage::pack`].
    pub packed: Vec<u8>,
    /// The length of `packed` before compression, in bytes; zero if it is not compressed.
    pub unpacked_len: u64,
    /// The cursor of the next page; `None` on the last page.
    pub next: Option<Cursor>,
}

impl SnapshotPage {
    /// Encodes records, and compresses them with LZ4 if `compressed` is set and compression saves bytes.
    /// Returns the bytes, and their length before compression or zero.
    pub fn pack(records: &[(EntityId, Bytes)], compressed: bool) -> (Vec<u8>, u64) {
        let mut out = Writer::default();
        out.varint(records.len() as u64);
        for (id, bytes) in records {
            id.encode(&mut out);
            out.bytes(bytes);
        }
        let plain = out.into_bytes();
        if compressed {
            let packed = lz4_flex::block::compress(&plain);
            if packed.len() < plain.len() {
                return (packed, plain.len() as u64);
            }
        }
        (plain, 0)
    }

    /// The encoded records of the page. The limit on the unpacked length bounds the memory that a
    /// compressed page can claim.
    pub fn unpack(&self) -> Result<Vec<(EntityId, Bytes)>, DecodeError> {
        let unpacked;
        let plain = if self.unpacked_len == 0 {
            &self.packed
        } else {
            let limit = limits::MAX_PAGE_BYTES as u64;
            if self.unpacked_len > limit {
                let found = self.unpacked_len;
                return Err(DecodeError::TooLarge { what: "an unpacked page", found, limit });
            }
            unpacked = lz4_flex::block::decompress(&self.packed, self.unpacked_len as usize)
                .map_err(|_| DecodeError::NotCanonical { what: "a compressed page" })?;
            &unpacked
        };
        let mut input = Reader::new(plain);
        let len = input.length(limits::MAX_PAGE_BYTES / 33, "the records of a page")?;
        let mut records = Vec::with_capacity(len.min(4_096));
        for _ in 0..len {
            let id = EntityId::decode(&mut input)?;
            records.push((id, input.bytes(limits::MAX_FRAME_BYTES, "a record")?.into()));
        }
        input.finish()?;
        Ok(records)
    }
}

impl Encode for SnapshotPage {
    fn encode(&self, out: &mut Writer) {
        self.boundary.encode(out);
        self.root.encode(out);
        out.bytes(&self.packed);
        out.varint(self.unpacked_len);
        out.bool(self.next.is_some());
        if let Some(next) = &self.next {
            next.encode(out);
        }
    }
}

impl Decode for SnapshotPage {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            boundary: Digest::decode(input)?,
            root: Digest::decode(input)?,
            packed: input.bytes(limits::MAX_FRAME_BYTES, "a page")?.to_vec(),
            unpacked_len: input.varint()?,
            next: input.bool("a page")?.then(|| Cursor::decode(input)).transpose()?,
        })
    }
}
