//! The simulated network: its shape, faults, partitions, rules, and the fate of every frame.

mod bandwidth;
mod fate;
mod frame_faults;
mod link;
mod link_metrics;
mod partition;
mod router;
mod rules;
mod stream_order;
mod topology;

pub use fate::{DropCause, Fates};
pub use frame_faults::{FrameFault, FrameFaultScript, FrameName};
pub use link::LinkProperties;
pub use link_metrics::LinkMetrics;
pub use partition::{ActivePartition, PartitionId, PartitionManager, PartitionSpec};
pub use router::{Arrival, Arrivals, FlightTimes, NetworkFaults, NetworkRouter};
pub use rules::{Envelope, MessageKind, Rule, RuleId, RuleUse, Rules, Verdict};
pub use stream_order::{DeliveryDecision, StreamPosition};
pub use topology::Topology;
