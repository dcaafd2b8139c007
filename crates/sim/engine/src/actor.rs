//! The interface between the engine and the nodes that it runs.

use crate::network::DropCause;
use crate::node_id::NodeId;
use std::sync::Arc;
use syncline_types::{Digest, Entropy, Moment, SimTime};

/// The bytes of a frame. Cloning them copies a pointer.
pub type FrameBytes = Arc<[u8]>;

/// One thing that happens to an actor.
#[derive(Debug)]
pub enum Input<'a, Op> {
    /// The node starts, for the first time or after a crash.
    Start,
    /// The members of the run and the neighbours of this node. Both lists contain the node itself.
    Peers {
        /// All nodes of the run, reachable or not.
        members: Arc<[NodeId]>,
        /// The nodes that this node has a link to.
        reachable: Arc<[NodeId]>,
    },
    /// A frame arrived. Its bytes may be corrupt.
    #[allow(missing_docs, reason = "the fields' names say what they hold")]
    Frame { from: NodeId, bytes: &'a FrameBytes },
    /// The timer with this id fired.
    Timer(u64),
    /// The workload asks the node for an operation.
    Op(&'a Op),
}

/// What an actor may use while it processes one input.
pub struct Context<'a> {
    /// The time, as the clocks of this node show it.
    pub moment: Moment,
    /// The node's own stream of randomness.
    pub entropy: &'a mut dyn Entropy,
    /// What the disk does with the writes of this step.
    pub commit: Commit,
}

impl<'a> Context<'a> {
    /// The context of one step.
    pub const fn new(moment: Moment, entropy: &'a mut dyn Entropy, commit: Commit) -> Self {
        Self { moment, entropy, commit }
    }
}

/// What a disk does with the writes of one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Commit {
    /// The writes are durable.
    Durable,
    /// The disk reports that the writes are synced, and they are not: a crash before the next durable
    /// commit loses them.
    Unsynced,
    /// The disk reports an error and writes nothing. An actor that had something to write has
    /// [failed](Effects::failed).
    Fails,
    /// Nothing is written: the node is about to crash, and the engine discards the step's effects too.
    Lost,
    /// As [`Commit::Lost`], but a part of the rows had reached the disk before.
    Torn {
        /// The share of the rows that had reached the disk, in thousandths.
        permille: u64,
    },
}

/// A frame to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The receiver.
    pub to: NodeId,
    /// The encoded frame.
    pub bytes: FrameBytes,
    /// The kind of message: a number whose meaning the actor defines.
    pub kind: u8,
    /// Whether the run may end while the frame is in flight. Periodic frames such as heartbeats are
    /// housekeeping; otherwise a run would never be quiet.
    pub housekeeping: bool,
}

/// A change to the timers of an actor. There is at most one timer with each id: setting it again moves it.
#[derive(Clone, Copy, Debug)]
pub enum TimerChange {
    /// Sets or moves a timer.
    Set {
        /// The actor's own name for the timer.
        id: u64,
        /// When it fires. A time in the past means now.
        at: SimTime,
        /// Whether the run may end while the timer is set.
        housekeeping: bool,
    },
    /// Removes a timer, if it is set.
    Cancel {
        /// The actor's own name for the timer.
        id: u64,
    },
}

/// The results of one step. Changes to the durable state of an actor are not among them: the actor has
/// already made those itself, as [`Context::commit`] said.
#[derive(Clone, Debug)]
pub struct Effects<N> {
    /// Frames to send, in this order.
    pub messages: Vec<Outgoing>,
    /// Changes to the actor's timers, in this order.
    pub timers: Vec<TimerChange>,
    /// If the input was a frame that had no effect: the cause.
    pub refusal: Option<DropCause>,
    /// Reports to the checkers of the run.
    pub notices: Vec<N>,
    /// Whether the disk failed. The node then crashes and restarts from what is durable, and the engine
    /// discards the other effects.
    pub failed: bool,
}

impl<N> Default for Effects<N> {
    fn default() -> Self {
        Self { messages: Vec::new(), timers: Vec::new(), refusal: None, notices: Vec::new(), failed: false }
    }
}

/// The effects of the last step, empty but with their capacity, to be used for the next step. A clone of a
/// world starts with an empty pool.
#[derive(Debug)]
pub(super) struct EffectsPool<N>(Option<Box<Effects<N>>>);

impl<N> Default for EffectsPool<N> {
    fn default() -> Self {
        Self(None)
    }
}

impl<N> Clone for EffectsPool<N> {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl<N> EffectsPool<N> {
    /// Empty effects for a step.
    pub(super) fn take(&mut self) -> Box<Effects<N>> {
        self.0.take().unwrap_or_default()
    }

    /// Returns effects that have been applied, for reuse of their allocations.
    pub(super) fn put_back(&mut self, mut effects: Box<Effects<N>>) {
        debug_assert!(!effects.failed, "a failed step's effects are discarded, never reused");
        let Effects { messages, timers, refusal, notices, failed: _ } = &mut *effects;
        messages.clear();
        timers.clear();
        notices.clear();
        *refusal = None;
        self.0 = Some(effects);
    }
}

/// The work that an actor has not completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Unfinished {
    /// Exchanges with peers in progress (**C2**).
    pub sessions: u32,
    /// Items that wait to be processed, and syncs that are pending (**C3**).
    pub waiting: u32,
}

/// The code and the state of one node. Implement it to run your own replica under the same faults and
/// checks as the built-in ones. See the [crate's example](crate#example).
///
/// An actor must be deterministic: its state after a step is a function of its state before, the input and
/// the context.
pub trait Actor: Clone {
    /// An operation that a workload may ask of the actor.
    type Op: Clone;
    /// A report to the checkers.
    type Notice;

    /// Processes one input and writes what it wants done into `effects`, which are empty at the beginning.
    /// The engine reuses their allocations from step to step.
    fn step(
        &mut self,
        input: Input<'_, Self::Op>,
        context: &mut Context<'_>,
        effects: &mut Effects<Self::Notice>,
    );

    /// Loses all state that is not durable.
    fn crash(&mut self);

    /// Reloads its state from what is durable. [`Input::Peers`] and [`Input::Start`] follow.
    fn restart(&mut self);

    /// Flips one stored bit, at a position that `place` selects. Returns whether there was one to flip.
    fn rot(&mut self, place: u64) -> bool {
        let _ = place;
        false
    }

    /// Verifies all stored rows. Returns whether one is damaged; the engine then takes the node down.
    fn scrub(&mut self) -> bool {
        false
    }

    /// Replaces the disk by a copy of that of another actor: an earlier state of this one, or another node. The node
    /// is down; [`Actor::restart`] follows.
    fn restore_disk(&mut self, from: &Self) {
        let _ = from;
    }

    /// Erases the disk, but not the name of the node, which is down; [`Actor::restart`] follows. `counted` says
    /// whether the host has counted the starts of the node elsewhere.
    fn lose_disk(&mut self, counted: bool) {
        let _ = counted;
    }

    /// The digest of the replicated state. Equal digests mean equal states.
    fn digest(&self) -> Digest;

    /// The work that is not completed. Called after every step, so it must cost O(1).
    fn unfinished(&self) -> Unfinished;

    /// What an operation asks for in words, to follow "the application": `sets the title to "a"`. `None` if that is
    /// not known.
    fn op_in_words(op: &Self::Op) -> Option<String> {
        let _ = op;
        None
    }

    /// What a timer is for in words, to follow "the timer": `of the heartbeat`. `None` if that is not known.
    fn timer_in_words(timer: u64) -> Option<String> {
        let _ = timer;
        None
    }

    /// Which of several independent parts of the actor processed the last input, if it has several. The
    /// check for stale frames tracks the incarnation of each sender once per part.
    fn lane(&self) -> u8 {
        0
    }
}
