//! Names and numbers of the store's format and of the engine.

/// The row that names the format of the store.
pub(crate) const FORMAT_KEY: &[u8] = &[0, 1];
/// What the row of the format begins with; the version follows, as a decimal number.
pub(crate) const FORMAT_PREFIX: &str = "syncline store ";
/// The row with the number of commits, 8 bytes, big-endian.
pub(crate) const COMMITS_KEY: &[u8] = &[0, 2];
/// The version of the engine's files.
pub(crate) const ENGINE_VERSION: u32 = 3;
/// How many bytes the engine gathers in memory before it sorts them into a file. A quarter of the engine's
/// default allows a tenth more inserts per second, because every read searches the rows gathered so far.
pub(crate) const MEMTABLE_BYTES: u64 = 16 << 20;
