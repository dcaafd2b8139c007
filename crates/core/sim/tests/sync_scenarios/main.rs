//! How the protocols behave, one behaviour a test.

mod crashes;
mod gossip;
mod partitions;
mod stops;
