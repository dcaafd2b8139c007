//! A simulated host: the real replicas on a simulated disk.

mod context_header;
mod diff;
mod disk;
mod sim_node;
mod sim_replica;

pub use context_header::HeaderError;
pub use diff::{Difference, differences};
pub use disk::{DiskView, SimDisk};
pub use sim_node::{SimNode, context_id};
pub use sim_replica::{Noticed, SimReplica, replica_id};

pub use sync_sim_engine::faults::MOST_CONTEXTS;
