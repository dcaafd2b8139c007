//! A simulated host: the real replica on a simulated disk.

mod diff;
mod sim_node;

pub use diff::{Difference, differences};
pub use sim_node::{SimNode, replica_id};
