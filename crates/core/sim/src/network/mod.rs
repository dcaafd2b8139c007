//! The simulated network: its shape, faults, partitions, and the fate of every frame.

mod fate;
mod faults;
mod partition;
mod router;
mod topology;

pub use fate::{DropCause, Fates};
pub use faults::{CHAOS_TICK_MS, ConfigError, FaultConfig, Rate};
pub use partition::{PartitionId, PartitionManager, PartitionSpec};
pub use router::{Arrivals, NetworkRouter};
pub use topology::Topology;
