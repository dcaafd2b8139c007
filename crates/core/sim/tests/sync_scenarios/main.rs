//! How the protocols behave, one behaviour a test.

mod crashes;
mod forgetting;
mod gossip;
mod partitions;
mod snapshots;
mod stops;
