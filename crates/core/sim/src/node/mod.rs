//! A simulated host: the real replica on a simulated disk.

mod diff;
mod disk;
mod sim_node;

pub use diff::{Difference, differences};
pub use disk::{DiskView, SimDisk};
pub use sim_node::{SimNode, replica_id};
