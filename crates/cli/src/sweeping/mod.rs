//! Running many seeds: which ones, on how many threads, in how many parts, and how far a sweep has come.

pub(crate) mod checkpoint;
pub(crate) mod isolated;
pub(crate) mod plan;
pub(crate) mod shard;
mod workers;
