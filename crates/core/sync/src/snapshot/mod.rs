//! Snapshots: the pages that carry one, the transfer that is staged in the store, the initiator's
//! state machine, and the responder's cache of views.

mod page;
mod pull;
pub mod staged;
mod staging;
mod view_cache;

pub use page::SnapshotPage;
pub(crate) use pull::SnapshotPull;
pub(crate) use staging::Staging;
pub use view_cache::{ViewBounds, ViewCache};
