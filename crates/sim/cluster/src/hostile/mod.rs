//! Hostile peers: nodes of a run whose frames are not what an honest replica would send.
//!
//! A hostile node is a real replica on a simulated host, and every fault of the run applies to it too. An
//! [`Adversary`] alters some of the frames that the replica sends, by one kind of [`Lie`] each: at random
//! ([`HostileFaults`]) or by script ([`SimRuntime::lie_at`]). An *insider* is a member and signs with its own
//! key; an *outsider* is not a member in the view of any other node. Hostile nodes continue to lie after the
//! network calms.
//!
//! A run with hostile nodes ends when the honest nodes have converged *with each other*. The run does not
//! wait for frames to and from hostile nodes, for sessions and pending syncs with them, or for their own
//! writes. Then
//!
//! - the honest nodes show what their acknowledged writes imply, and of the writes of hostile nodes
//!   exactly the part that arrived, which is the same on all honest nodes;
//! - nothing of an outsider is visible;
//! - if an insider may tell a lie that [is taken on trust](Lie::is_taken_on_trust), the honest nodes
//!   agree, but no promise is made on which values. Records bear no signatures, so no member can detect
//!   such a lie.
//!
//! ```
//! use sync_sim::prelude::*;
//!
//! let faults = FaultConfig::heavy_chaos().with_hostile(1).with_lies([Lie::LyingRoot,
//! Lie::WithheldDeltas]);
//! let mut rt = SimRuntime::with_config(SimConfig::with_seed(7).with_faults(faults));
//! let [alice, bob, mallory] = rt.apply_scenario_n(Scenario::n_nodes_diverged(3, 10));
//! assert_eq!(rt.run(), StopCondition::Converged);
//! assert_eq!(rt.digest(alice), rt.digest(bob));
//! assert!(rt.is_hostile(mallory) && rt.metrics().hostile.total_lies() > 0);
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

pub use adversary::Adversary;
pub(crate) use adversary::{AdversaryIdentity, AttackPlan};
pub(crate) use keys::{authority, eavesdropper, membership};
pub use metrics::HostileMetrics;
pub use roles::HostileRoles;
pub use sync_sim_engine::faults::{HostileFaults, Lie, Lies};
