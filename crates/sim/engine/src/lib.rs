//! A deterministic world for systems of communicating nodes.
//!
//! The engine has a virtual clock, an event queue, seeded randomness, a network, faults and a history.
//! It runs any type that implements [`Actor`](actor::Actor) and knows nothing of replicas. The same seed
//! gives the same events, byte for byte, on every machine and in every build profile.
//!
//! [`World`](world::World) is the place to begin.
#![warn(clippy::float_arithmetic)]

pub mod actor;
pub mod clock;
pub mod event;
pub mod event_queue;
pub mod faults;
pub mod history;
pub mod network;
pub mod node_id;
pub mod random;
pub mod world;
