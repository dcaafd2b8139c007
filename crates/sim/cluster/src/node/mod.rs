//! Simulated nodes: the real replicas on a simulated disk.

mod context_header;
mod diff;
mod disk;
mod drop_cause;
mod replica_ids;
mod sim_node;
mod sim_replica;
mod spending;
mod timer_id;

pub use crate::disk_view::CheckedDiskView;
pub use context_header::HeaderError;
pub use diff::{FieldDifference, RecordDifference, differences, state_differences};
pub use disk::SimDisk;
pub use replica_ids::replica_id;
pub use sim_node::{SimNode, context_id};
#[cfg(test)]
pub(crate) use sim_replica::SessionNote;
pub use sim_replica::{ContextNotice, SimReplica};
pub use timer_id::TimerId;

pub use sync_sim_engine::faults::MOST_CONTEXTS;
