//! Hostile peers: nodes of a run whose frames are not what an honest replica would send.
//!
//! A hostile node is a real replica on a simulated host, and everything that goes wrong with the others goes
//! wrong with it. Of what its replica sends, some is bent on the way out by a [`Lie`]: by chance
//! ([`HostileFaults`]) or by script ([`SimRuntime::lie_at`]). An *insider* is a member and signs with the key
//! of a member, its own; an *outsider* is known to nobody as one. Hostile nodes do not stop to lie when the
//! network calms.
//!
//! A run with hostile nodes ends when those that are honest have converged *with each other*. Frames to and
//! from hostile nodes, sessions and debts with them, and what they wrote themselves are not waited for. Then
//!
//! - what the honest show is what their acknowledged writes imply, and of what hostile nodes wrote the part
//!   that arrived, which is the same everywhere;
//! - of outsiders nothing is there;
//! - if an insider may tell a lie that [members are believed](Lie::is_taken_on_trust), the honest agree, and on
//!   what is not promised. A record bears no signature, so that no member can tell.
//!
//! ```
//! use sync_sim::prelude::*;
//!
//! let faults = FaultConfig::heavy_chaos().with_hostile(1).with_lies([Lie::LyingRoot, Lie::WithheldDeltas]);
//! let mut rt = SimRuntime::with_config(SimConfig::with_seed(7).with_faults(faults));
//! let [alice, bob, mallory] = rt.apply_scenario_n(Scenario::n_nodes_diverged(3, 10));
//! assert_eq!(rt.run(), StopCondition::Converged);
//! assert_eq!(rt.digest(alice), rt.digest(bob));
//! assert!(rt.is_hostile(mallory) && rt.metrics().hostile.told_in_all() > 0);
//! ```
//!
//! [`SimRuntime::lie_at`]: crate::runtime::SimRuntime::lie_at

mod adversary;
mod claims;
mod deltas;
mod forge;
mod keys;
mod metrics;
mod random_mutation;
mod roles;
mod states;

pub use adversary::Liar;
pub(crate) use adversary::{Identity, Manner};
pub(crate) use keys::{authority, membership};
pub use metrics::HostileMetrics;
pub use roles::Cast;
pub use sync_sim_engine::faults::{HostileFaults, Lie, Lies};
