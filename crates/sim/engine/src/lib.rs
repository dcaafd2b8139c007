//! A deterministic simulator for systems of communicating nodes.
//!
//! The engine has a virtual clock, an event queue, seeded randomness, a network, faults and a history.
//! It runs every type that implements [`Actor`](actor::Actor) and knows nothing about replicas or CRDTs.
//! A run is a function of its seed and its settings: the same seed gives the same events, byte for byte,
//! on every machine and in every build profile.
//!
//! # Actors
//!
//! An actor is the code and the state of one node. It never reads a clock, opens a socket or starts a
//! thread. Everything that happens to it arrives as an [`Input`](actor::Input): the start, the list of
//! peers, a frame, a timer that fires, or an operation of the workload. It answers with
//! [`Effects`](actor::Effects): frames to send and timers to set. Time and randomness come with the
//! [`Context`](actor::Context) of each step.
//!
//! Two more methods connect an actor with the checks of a run:
//!
//! - [`digest`](actor::Actor::digest) is a hash of the replicated state. Equal digests mean equal states.
//! - [`unfinished`](actor::Actor::unfinished) counts the work that the node has not completed.
//!
//! A run has *converged* when no node has unfinished work, no awaited frame is in flight, and all digests
//! are equal.
//!
//! # Example
//!
//! Node 0 sends a value to node 1 over a network that loses half of all frames. It retransmits until node 1
//! acknowledges the value.
//!
//! ```
//! use std::sync::Arc;
//! use sync_sim_engine::actor::{Actor, Context, Effects, Input, Outgoing, TimerChange, Unfinished};
//! use sync_sim_engine::faults::FaultConfig;
//! use sync_sim_engine::node_id::NodeId;
//! use sync_sim_engine::random::Choices;
//! use sync_sim_engine::run::{RunLimits, StopReason, run};
//! use sync_sim_engine::world::World;
//! use sync_sim_engine::{Digest, SimDuration};
//!
//! #[derive(Clone)]
//! struct Node {
//!     is_sender: bool,
//!     value: u8,
//!     acknowledged: bool,
//! }
//!
//! const RETRANSMIT: u64 = 1;
//!
//! impl Actor for Node {
//!     type Op = ();
//!     type Notice = ();
//!
//!     fn step(&mut self, input: Input<'_, ()>, context: &mut Context<'_>, effects: &mut Effects<()>) {
//!         let to = NodeId(u32::from(self.is_sender));
//!         let frame = Outgoing { to, bytes: Arc::from([self.value]), kind: 0, housekeeping: false };
//!         match input {
//!             Input::Start | Input::Timer(_) if self.is_sender => {
//!                 effects.messages.push(frame);
//!                 let at = context.moment.now + SimDuration::from_millis(50);
//!                 effects.timers.push(TimerChange::Set { id: RETRANSMIT, at, housekeeping: false });
//!             }
//!             Input::Frame { .. } if self.is_sender => {
//!                 self.acknowledged = true;
//!                 effects.timers.push(TimerChange::Cancel { id: RETRANSMIT });
//!             }
//!             Input::Frame { bytes, .. } => {
//!                 self.value = bytes[0];
//!                 effects.messages.push(frame);
//!             }
//!             _ => {}
//!         }
//!     }
//!
//!     // The value is durable. A real actor drops here what it keeps in memory only.
//!     fn crash(&mut self) {}
//!     fn restart(&mut self) {}
//!
//!     fn digest(&self) -> Digest {
//!         Digest([self.value; 32])
//!     }
//!
//!     fn unfinished(&self) -> Unfinished {
//!         let waits = self.is_sender && !self.acknowledged;
//!         Unfinished { sessions: u32::from(waits), waiting: 0 }
//!     }
//! }
//!
//! let faults = FaultConfig::default().with_loss(0.5);
//! let mut world = World::new(Choices::seeded(42), faults);
//! world.add(Node { is_sender: true, value: 7, acknowledged: false });
//! let receiver = world.add(Node { is_sender: false, value: 0, acknowledged: false });
//!
//! assert_eq!(run(&mut world, RunLimits::default()), StopReason::Converged);
//! assert_eq!(world.actor(receiver).map(|node| node.value), Some(7));
//! ```
//!
//! `examples/primary_backup.rs` runs a log that is replicated from a primary to a backup, under loss and
//! crashes, and checks an invariant after every event.
//!
//! # Modules
//!
//! [`world`] holds the nodes and takes one event after another. [`run`] is the loop around it, with limits
//! and an observer. [`faults`] has the settings of everything that can go wrong, [`network`] the links,
//! partitions and rules, [`history`] a record of what happened and why.
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
pub mod run;
pub mod world;

pub use syncline_types::{Choice, Digest, Entropy, Moment, SimDuration, SimTime};
