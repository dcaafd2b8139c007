//! Every fault that a run can have: the settings, their units and their bounds.

mod attack;
mod config;
mod host;
mod hostile;
mod link;
pub mod serde_units;

pub use attack::{Lie, Lies};
pub use config::{CHAOS_TICK_MS, ConfigError, FaultConfig, MOST_CONTEXTS, MOST_JOINERS, Rate};
pub use host::HostFaults;
pub use hostile::{HostileFaults, MOST_HOSTILE};
pub use link::{LinkFaults, LinkModel};
pub use serde_units::time;
