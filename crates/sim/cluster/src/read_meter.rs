//! Counts the bytes that the present step reads.

use std::cell::Cell;

thread_local! {
    static READ: Cell<u64> = const { Cell::new(0) };
}

/// The bytes that views have read since the last [`ReadMeter::reset`].
///
/// The count belongs to the thread, since a replica keeps views beyond the step that made them, and a clone of a run
/// shares them. A step runs on one thread and resets the count before it begins, so no state passes from one step to
/// another.
pub(crate) struct ReadMeter;

impl ReadMeter {
    /// A step begins.
    pub(crate) fn reset() {
        READ.set(0);
    }

    /// A view has read so many bytes.
    pub(crate) fn add(bytes: usize) {
        READ.set(READ.get() + bytes as u64);
    }

    /// The bytes that the step has read so far.
    pub(crate) fn bytes() -> u64 {
        READ.get()
    }
}
