//! Exhaustive exploration of a small scope: an explicit-state model checker that runs the real code.
//!
//! [`Explorer`] starts from the initial state of a simulation and follows every choice that the world could
//! make: which frame arrives next, which frame is lost or duplicated, which node crashes between which effects
//! of a step, and when an application writes. Paths that lead to equal states are merged. The search is
//! breadth first, so the first counterexample is a shortest one.
//!
//! ```
//! use sync_sim::explore::{Explorer, Scope, WriteKind};
//! use sync_sim::prelude::*;
//!
//! let mut rt = SimRuntime::with_seed(0);
//! rt.apply_scenario(Scenario::n_nodes_synced(2, 0));
//! let mut explorer = Explorer::of(&rt, Scope { drops: 1, ..Scope::default() });
//! explorer.write_concurrently(WriteKind::Register, 2);
//! let report = explorer.run_replicas(&mut |_| true);
//! assert!(report.is_exhaustive() && report.counterexample.is_none());
//! ```
//!
//! # What a state is
//!
//! A state consists of all nodes with their disks and memories, the frames in flight (a multiset, or a queue
//! per link under [`Scope::fifo`]), the timers that are set, the writes that are still to come, the faults that
//! may still occur, the time, and what the invariants remember. Two states are equal if their 128-bit hashes
//! are; the path to a state is not part of it. States are stored as hashes only (hash compaction: Wolper and
//! Leroy, *Reliable hashing without collision detection*, CAV 1993).
//!
//! A step of a node depends only on that node, its input and the time. Each step is therefore run once, on the
//! real code, and its result is stored: a state is a row of numbers that name the states of its nodes and its
//! frames, and a step that is taken again is a lookup. This is collapse compression (Holzmann, *State
//! compression in SPIN*, 1997), and the numbers are interned values.
//!
//! # What is not reduced, and why
//!
//! - *Partial-order reduction* (Godefroid, 1996) skips orders of independent steps. Here the steps that two
//!   orders share run once anyway, so only lookups would be saved, and the invariants would no longer see
//!   every intermediate state.
//! - *Symmetry reduction* (Clarke, Enders, Filkorn and Jha, 1996) merges states that differ by a permutation of
//!   nodes. Replica ids break ties between concurrent writes, so a permutation of the nodes is not an
//!   automorphism of the transition graph.
//!
//! The search is sound only if [`Explorable::write_state`] writes everything that decides future steps.
//! [`Scope::verify_determinism`] tests this assumption.
//!
//! # What may happen, and what "exhaustive" means
//!
//! - Any frame in flight may arrive next (with [`Scope::fifo`]: the first frame of any link). Delivery takes
//!   no time. Within the fault budget, a frame may be lost, or may arrive while a copy stays in flight.
//! - The writes of one node happen in their order, at any point of the run.
//! - Timers fire in the order of their deadlines; timers that are due at the same time fire in any order. Only
//!   timers advance the time. The network is faster than timers: a timer that is not yet due fires only when no
//!   frame is in flight, no node is down and no link is cut. Up to [`Scope::early`] timers may fire before that.
//! - A node may crash between two steps or within one: after the commit and after any number of the step's
//!   frames. A crash before the commit equals a crash before the step, where the frame then finds the node
//!   down. A crash after all frames equals a crash after the step: the only other effect of the step is its
//!   timers, which a crash clears. A node that is down may restart at any point.
//! - Up to [`Scope::disks`] times a node that is up goes down and its disk is replaced: by a copy that was made at any
//!   earlier point (the first one that is made of a node, and only while a disk may still be replaced), by a copy of the
//!   present disk of another node, or by an empty one. A node that stops because its name has another life restarts
//!   under a new name, which all others learn at that moment.
//! - A cut between two nodes loses the frames between them that arrive before it is repaired.
//! - Housekeeping timers, and others that [recur](Explorable::recurs), fire at most [`Scope::ticks`] times on each node.
//! - Every random draw of a node gives zero: no jitter, and the first of several peers. Other draws are not
//!   explored. Draws that distinguish two lives of one replica give different numbers. All clocks agree.
//!
//! [`SearchReport::is_exhaustive`] states that every state that these rules allow was reached and checked. It
//! makes no claim about other writes, longer absences, or frames that are so slow that timers fire more often
//! than the scope allows.
//!
//! # What is checked
//!
//! The list of checks is that of the simulator ([`checks`](sync_sim_cluster::checks)): those of steps after every
//! step, those of replicas in every state of a node, that every accepted write is on some disk in every state, and
//! those of final states wherever the nodes have settled. Where only faults are left to happen, a liveness check
//! continues the run without faults until all nodes have converged, which must happen within [`Scope::patience`];
//! the checks of progress watch this continuation. No router takes part, so there are no frame accounts to check.
//!
//! The explorer does not depend on the replica: any [`Explorable`] actor can be explored, with [`Invariants`]
//! of its own.
#![warn(clippy::float_arithmetic)]

mod collapse;
mod counterexample;
mod invariants;
mod liveness;
mod replica;
mod report;
mod scope;
mod search;
mod state;
mod state_hash;
mod transitions;
mod writes;

pub use invariants::{FairRun, Invariants, ObservedStep, ReplicaInvariants};
pub use report::{Counterexample, Defect, SearchProgress, SearchReport, StopCause};
pub use scope::Scope;
pub use search::{ExploredWrite, Explorer};
pub use state_hash::StateHasher;
pub use writes::WriteKind;

use sync_sim_cluster::verdict::Check;
use sync_sim_engine::actor::Actor;

/// An actor whose state can be hashed and described.
pub trait Explorable: Actor {
    /// Writes everything that decides the future steps of the actor, and nothing that depends only on its
    /// past: two actors that write the same bytes must take the same steps.
    fn write_state(&self, out: &mut StateHasher);

    /// Writes what [`Invariants::judge`] reads of the actor.
    fn write_judged(&self, out: &mut StateHasher) {
        out.bytes(&self.digest().0);
    }

    /// Whether the name of the actor differs from that which it had `before` a restart: it was brought back under a new
    /// one. All other nodes then [learn](Explorable::learn_name) the name at once.
    fn has_new_name(&self, before: &Self) -> bool {
        let _ = before;
        false
    }

    /// Learns the present name of another actor.
    fn learn_name(&mut self, other: &Self) {
        let _ = other;
    }

    /// The invariant that this state violates on its own, if any. Called once for each distinct state.
    fn violation(&self, name: &str) -> Option<Check> {
        let _ = name;
        None
    }

    /// The content of frames of this kind, in one or two words.
    fn describe_frame(kind: u8) -> String {
        format!("kind {kind}")
    }

    /// Whether a timer is set again and again until something else happens, without housekeeping. Its firings are limited as
    /// those of housekeeping timers are.
    fn recurs(timer: u64) -> bool {
        let _ = timer;
        false
    }

    /// The purpose of a timer; the text follows the words "the timer".
    fn describe_timer(timer: u64) -> String {
        timer.to_string()
    }

    /// The text of a notice, to follow the name of the node; `None` if a counterexample need not show it.
    fn describe_notice(notice: &Self::Notice) -> Option<String> {
        let _ = notice;
        None
    }
}
