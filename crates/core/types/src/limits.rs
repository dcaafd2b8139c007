//! Bounds on everything that comes from outside. A decoder refuses what exceeds them before it
//! allocates; a sender pages so as never to reach them.

/// Bytes of one frame.
pub const MAX_FRAME_BYTES: usize = 4 << 20;
/// Bytes of one record's payload.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// Replicas that may ever write to one context: entries of a counter, of a version vector.
pub const MAX_REPLICAS: usize = 1 << 16;
/// The highest number of a delta in its author's sequence.
pub const MAX_DELTA_SEQ: u64 = 1 << 48;
/// Bytes of one delta; leaves room for a page beside it in a frame.
pub const MAX_DELTA_BYTES: usize = 2 << 20;
/// Ancestors between an entity and the root: the deepest a tree may grow.
pub const MAX_ANCESTORS: usize = 2_048;
/// Bytes of a label: the key of a map's entry, an element of a set, a position in a list.
pub const MAX_LABEL_BYTES: usize = 32 << 10;
/// Bytes of the name of a type.
pub const MAX_TYPE_NAME_BYTES: usize = 255;
/// Actions in one delta.
pub const MAX_ACTIONS_PER_DELTA: usize = 1_024;
/// Heads, and so parents, of one delta.
pub const MAX_HEADS: usize = MAX_REPLICAS;
/// Deltas asked for, or answered, in one frame.
pub const MAX_DELTAS_PER_FRAME: usize = 256;
/// Questions in one request.
pub const MAX_QUESTIONS: usize = 1_024;
/// Bytes of a filter over records.
pub const MAX_FILTER_BYTES: usize = 1 << 20;
/// Cells of a sketch in one frame.
pub const MAX_CELLS: usize = 1 << 18;
/// Cells of a table over what passed a filter.
pub const MAX_TABLE: usize = 3 << 16;
/// Entities that may be named, in short, as not having passed a filter.
pub const MAX_NAMES: usize = 1 << 18;
/// The last cell of a sketch that may be asked for.
pub const MAX_CELL: u32 = 1 << 20;
/// Entities that may be named as missing in one frame.
pub const MAX_MISSING: usize = 1 << 15;
/// Records asked for, answered or pushed in one frame.
pub const MAX_RECORDS_PER_FRAME: usize = 1_024;
/// Bytes a responder puts in one page before it stops; one item may exceed it.
pub const PAGE_BYTES: usize = 256 << 10;
/// Bytes of a snapshot's page, before compression; one record may exceed it.
pub const SNAPSHOT_PAGE_BYTES: usize = 64 << 10;
/// Bytes a snapshot page may unpack to.
pub const MAX_PAGE_BYTES: usize = MAX_FRAME_BYTES;
/// Bytes of the signature of a delta.
pub const MAX_SIGNATURE_BYTES: usize = 128;
/// Protocols that a handshake may list.
pub const MAX_PROTOCOLS: usize = 32;
