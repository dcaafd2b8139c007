//! Bounds on all input from outside. A decoder rejects input beyond them before it allocates. A sender
//! splits its data into pages, so that it never reaches them.

/// The greatest size of a frame, in bytes.
pub const MAX_FRAME_BYTES: usize = 4 << 20;
/// The greatest size of the payload of one record, in bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// The most replicas that may ever write to one context. It bounds the entries of a counter and of a
/// version vector.
pub const MAX_REPLICAS: usize = 1 << 16;
/// The greatest sequence number of a delta among those of its author.
pub const MAX_DELTA_SEQ: u64 = 1 << 48;
/// The greatest size of one delta, in bytes. It leaves space for a page in the same frame.
pub const MAX_DELTA_BYTES: usize = 2 << 20;
/// The most ancestors between an entity and the root: the greatest depth of the tree.
pub const MAX_ANCESTORS: usize = 2_048;
/// The greatest size of a label, in bytes: the key of a map entry, an element of a set, a position in a list.
pub const MAX_LABEL_BYTES: usize = 32 << 10;
/// The greatest length of the name of an application-defined type, in bytes.
pub const MAX_TYPE_NAME_BYTES: usize = 255;
/// The most actions in one delta.
pub const MAX_ACTIONS_PER_DELTA: usize = 1_024;
/// The most heads of a causal history, and therefore the most parents of one delta.
pub const MAX_HEADS: usize = MAX_REPLICAS;
/// The most deltas that one frame may request or carry.
pub const MAX_DELTAS_PER_FRAME: usize = 256;
/// The most questions in one request of a tree walk.
pub const MAX_QUESTIONS: usize = 1_024;
/// The greatest size of a Bloom filter over records, in bytes.
pub const MAX_FILTER_BYTES: usize = 1 << 20;
/// The most cells of a sketch in one frame.
pub const MAX_CELLS: usize = 1 << 18;
/// The most cells of a filtered IBLT: the lookup table over the records that passed the peer's Bloom filter.
pub const MAX_IBLT_CELLS: usize = 3 << 16;
/// The most short ids of records that failed the peer's Bloom filter.
pub const MAX_SHORT_IDS: usize = 1 << 18;
/// The greatest index of a cell of a rateless sketch that a peer may request.
pub const MAX_CELL_INDEX: u32 = 1 << 20;
/// The most ids that one frame may list as missing.
pub const MAX_MISSING: usize = 1 << 15;
/// The most records that one frame may request, answer with, or push.
pub const MAX_RECORDS_PER_FRAME: usize = 1_024;
/// The size after which a responder ends a page, in bytes; a page with a single item may exceed it.
pub const PAGE_BYTES: usize = 256 << 10;
/// The size of a snapshot page before compression, in bytes; a page with a single record may exceed it.
pub const SNAPSHOT_PAGE_BYTES: usize = 64 << 10;
/// The greatest size of a snapshot page after decompression, in bytes.
pub const MAX_PAGE_BYTES: usize = MAX_FRAME_BYTES;
/// The greatest size of the signature of a delta, in bytes.
pub const MAX_SIGNATURE_BYTES: usize = 128;
/// The most protocols that a handshake may list.
pub const MAX_PROTOCOLS: usize = 32;
