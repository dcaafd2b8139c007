//! The simulated network: its shape, faults, partitions, rules, and the fate of every frame.

mod connection;
mod fate;
mod faults;
mod frames;
mod host_faults;
mod link_faults;
mod link_metrics;
mod links;
mod partition;
mod pipe;
mod router;
mod rules;
mod topology;

pub use connection::Ticket;
pub(crate) use connection::Turn;
pub use fate::{DropCause, Fates};
pub use faults::{CHAOS_TICK_MS, ConfigError, FaultConfig, Rate};
pub use frames::{FrameBook, FrameFault, FrameName};
pub use host_faults::HostFaults;
pub use link_faults::{LinkFaults, LinkModel};
pub use link_metrics::LinkMetrics;
pub use links::LinkProperties;
pub use partition::{PartitionId, PartitionManager, PartitionSpec};
pub(crate) use router::Flights;
pub use router::{Arrival, Arrivals, NetworkRouter};
pub use rules::{Envelope, Kind, Rule, RuleId, RuleUse, Rules, Verdict};
pub use topology::Topology;
