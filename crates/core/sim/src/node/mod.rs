//! A simulated host: the real replicas on a simulated disk.

mod diff;
mod disk;
mod header;
mod sim_node;
mod sim_replica;

pub use diff::{Difference, differences};
pub use disk::{DiskView, SimDisk};
pub use header::HeaderError;
pub use sim_node::{MOST_CONTEXTS, SimNode, context_id};
pub use sim_replica::{Noticed, SimReplica, replica_id};
