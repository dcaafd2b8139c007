//! The simulated network: its shape, faults, partitions, rules, and the fate of every frame.

mod fate;
mod faults;
mod host_faults;
mod partition;
mod router;
mod rules;
mod topology;

pub use fate::{DropCause, Fates};
pub use faults::{CHAOS_TICK_MS, ConfigError, FaultConfig, Rate};
pub use host_faults::HostFaults;
pub use partition::{PartitionId, PartitionManager, PartitionSpec};
pub use router::{Arrival, Arrivals, NetworkRouter};
pub use rules::{Envelope, Kind, Rule, RuleId, RuleUse, Rules, Verdict};
pub use topology::Topology;
