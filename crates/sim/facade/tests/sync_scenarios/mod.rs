//! The behaviour of the protocols, one per test.

mod absences;
mod churn;
mod crashes;
mod forgetting;
mod gossip;
mod partitions;
mod rules;
mod snapshots;
mod stops;
mod topologies;
