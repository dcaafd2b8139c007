//! The places of an acceptor's connections.

use std::sync::Arc;

/// Counts the connections that exist.
#[derive(Debug, Default)]
pub(crate) struct ConnectionSlots(
    /// One reference here, and one in each slot that is taken.
    Arc<()>,
);

/// The place of one connection, which is free again once this is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionSlot(#[expect(dead_code, reason = "it is counted as long as it exists")] Arc<()>);

impl ConnectionSlots {
    /// Takes a place.
    pub(crate) fn take(&self) -> ConnectionSlot {
        ConnectionSlot(self.0.clone())
    }

    /// The number of places that are taken.
    pub(crate) fn taken(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}
