//! Every order of events of a small scope, on the real code.
//!
//! [`Explorer`] starts where a simulation would, and follows every choice that the world could make: which
//! frame arrives next, which is lost or doubled, who crashes between which effects of a step, when an
//! application writes. Where paths meet in equal states, they are followed once. It goes breadth first, so
//! that the first counterexample is a shortest one.
//!
//! ```
//! use sync_sim::explore::{Explorer, Kind, Scope};
//! use sync_sim::prelude::*;
//!
//! let mut rt = SimRuntime::with_seed(0);
//! rt.apply_scenario(Scenario::n_nodes_synced(2, 0));
//! let mut explorer = Explorer::of(&rt, Scope { drops: 1, ..Scope::default() });
//! explorer.write_concurrently(Kind::Register, 2);
//! let report = explorer.run(&mut |_| true);
//! assert!(report.is_exhaustive() && report.found.is_none());
//! ```
//!
//! # What a state is
//!
//! All nodes with their disks and memories, the frames on their way (as a multiset, or per link in their
//! order), the timers, the writes still to come, what may still go wrong, the time, and what the checks
//! remember. States are equal when all of these are, by 128-bit digests; the path to them does not count.
//!
//! A step of a node depends on that node, its input and the time alone. It is run once, on the real code,
//! and remembered: a world is a row of numbers that name the states of its nodes and its frames (collapse
//! compression, as in SPIN), and to take a step again is to look it up. That is why orders are not left out
//! to save time (partial-order reduction): the steps that two orders share are run once anyway, and every
//! state in between is looked at. That nodes tell all that counts when they write their state is what this
//! stands on; [`Scope::doubt`] puts it to the test.
//!
//! # What may happen, and what "exhaustive" means
//!
//! - Any frame on its way may arrive next ([`Scope::fifo`]: any that is the first on its link). It takes no
//!   time. Of those that may go wrong, each frame may be lost, or arrive and stay on its way.
//! - Each node's writes happen in their order, at any moment.
//! - Timers run out in the order of their times, all those due at one time in any order, and time moves
//!   with them alone. The network is faster than timers: one that is not due runs out only when no frame is
//!   on its way, no node is down and no link is cut. Up to [`Scope::early`] times one may run out before.
//! - A node may go down between two steps, or in one: after its commit and any number of its frames.
//!   A crash before the commit is the same as one before the step, when the frame then finds the node down;
//!   one after all frames is the same as one after the step, which sets timers that the crash clears.
//!   A node that is down may come back at any moment.
//! - A cut between two nodes loses what is on its way between them when it arrives, until it is mended.
//! - Timers that recur for ever run out at most [`Scope::ticks`] times on each node.
//! - Nodes draw the least of what they may draw: no jitter, and of several peers the first. Other draws are
//!   not explored. Clocks agree.
//!
//! [`Report::is_exhaustive`] says that nothing was left out *of this*: every state that these rules allow
//! was reached and checked. It says nothing of other writes, longer absences, or what only happens when
//! frames take so long that timers run out more often than was allowed.
//!
//! # What is checked
//!
//! What the simulator checks of every event, but for the accounts of the router, which takes no part; in
//! every state, that what all agree on is what was written (**C6**) and that every accepted write is on some
//! disk, unless something was forgotten meanwhile; of every state of a node, the index against the records
//! (L4), the buffer (I6) and the log (I8). Where nothing is left to happen, the run goes on as an ordinary
//! one would, without faults, until all have converged, which must be within [`Scope::patience`].
//!
//! The explorer knows nothing of replicas: what is [`Explorable`] can be explored, with a [`Watch`] of its
//! own.

mod collapse;
mod counterexample;
mod fingerprint;
mod invariants;
mod liveness;
mod replica;
mod scope;
mod search;
mod state;
mod transitions;
mod writes;

pub use fingerprint::Fingerprint;
pub use invariants::{Observed, ReplicaWatch, Watch};
pub use scope::Scope;
pub use search::{Counterexample, Cut, Explorer, Found, Progress, Report, Write};
pub use writes::Kind;

use sync_sim_cluster::verdict::Check;
use sync_sim_engine::actor::Actor;

/// An actor whose states can be told apart.
pub trait Explorable: Actor {
    /// Writes everything that decides what the actor does from here on, and nothing that depends on how it
    /// came here: actors that write the same must do the same.
    fn write_state(&self, out: &mut Fingerprint);

    /// What is wrong with the actor by itself, if anything is. Asked once of every state.
    fn fault(&self, name: &str) -> Option<Check> {
        let _ = name;
        None
    }

    /// What a frame of this kind carries, in a word or two.
    fn words_of_frame(kind: u8) -> String {
        format!("kind {kind}")
    }

    /// What a timer is for; it stands after "the timer".
    fn words_of_timer(timer: u64) -> String {
        timer.to_string()
    }

    /// What a notice says that is worth telling, after the name of the node.
    fn words_of_notice(notice: &Self::Notice) -> Option<String> {
        let _ = notice;
        None
    }
}
