//! What the engine runs: anything that takes inputs, gives effects, and has a digest.

use crate::network::DropCause;
use crate::node_id::NodeId;
use std::sync::Arc;
use syncline_types::{Digest, Entropy, Moment, SimTime};

/// The bytes of a frame. A copy is a reference.
pub type Bytes = Arc<[u8]>;

/// What happens to an actor.
#[derive(Debug)]
pub enum Input<'a, Op> {
    /// It starts, for the first time or again.
    Start,
    /// Who takes part, and whom it can reach now. It is among both itself.
    Peers {
        /// All nodes of the run, reachable or not.
        members: Arc<[NodeId]>,
        /// Those that it has a link to.
        reachable: Arc<[NodeId]>,
    },
    /// Bytes arrived.
    Frame {
        /// From whom.
        from: NodeId,
        /// The bytes.
        bytes: &'a Bytes,
    },
    /// A timer ran out.
    Timer(u64),
    /// The workload asks for something.
    Op(&'a Op),
}

/// What an actor may use while it takes an input.
pub struct Context<'a> {
    /// The time.
    pub moment: Moment,
    /// Its own stream of chance.
    pub entropy: &'a mut dyn Entropy,
    /// What becomes of what it writes.
    pub commit: Commit,
}

impl<'a> Context<'a> {
    /// What an actor may use.
    pub const fn new(moment: Moment, entropy: &'a mut dyn Entropy, commit: Commit) -> Self {
        Self { moment, entropy, commit }
    }
}

/// What a disk makes of the writes of one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Commit {
    /// They are durable.
    Durable,
    /// The disk says that they are, and a crash before the next that is durable loses them.
    Unsynced,
    /// The disk says that it cannot: nothing is written. An actor that had something to write has
    /// [failed](Effects::failed).
    Fails,
    /// Nothing is written: the node is about to crash, and the engine discards the step's effects too.
    Lost,
    /// The same, but so many thousandths of the rows were on their way to the disk already.
    Torn {
        /// How many.
        permille: u64,
    },
}

/// A frame to send.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// To whom.
    pub to: NodeId,
    /// The bytes.
    pub bytes: Bytes,
    /// What they carry: a number that the actor gives meaning to.
    pub kind: u8,
    /// Whether somebody waits for it. Frames that recur for ever do not keep a run from being quiet.
    pub housekeeping: bool,
}

/// A change to an actor's timers. There is one of each name: setting it again moves it.
#[derive(Clone, Copy, Debug)]
pub enum TimerChange {
    /// Fire at this time.
    Set {
        /// Which.
        id: u64,
        /// When.
        at: SimTime,
        /// Whether nobody waits for it.
        housekeeping: bool,
    },
    /// Do not fire.
    Cancel {
        /// Which.
        id: u64,
    },
}

/// What an actor wants done. Its own durable state is its own affair and done already.
#[derive(Clone, Debug)]
pub struct Effects<N> {
    /// Frames to send.
    pub messages: Vec<Outgoing>,
    /// Changes to its timers.
    pub timers: Vec<TimerChange>,
    /// For a frame: why it had no effect, if it had none.
    pub refusal: Option<DropCause>,
    /// What it has to say to the checkers.
    pub notices: Vec<N>,
    /// Its disk failed it: it must be started again from what is durable. The other effects are discarded.
    pub failed: bool,
}

impl<N> Default for Effects<N> {
    fn default() -> Self {
        Self { messages: Vec::new(), timers: Vec::new(), refusal: None, notices: Vec::new(), failed: false }
    }
}

/// Effects that were honoured: empty, with the room that they had. A copy of a world begins without.
#[derive(Debug)]
pub(super) struct Spare<N>(Option<Box<Effects<N>>>);

impl<N> Default for Spare<N> {
    fn default() -> Self {
        Self(None)
    }
}

impl<N> Clone for Spare<N> {
    fn clone(&self) -> Self {
        Self(None)
    }
}

impl<N> Spare<N> {
    /// Empty effects for a step.
    pub(super) fn take(&mut self) -> Box<Effects<N>> {
        self.0.take().unwrap_or_default()
    }

    /// Keeps the effects of a step that are honoured; it has not failed.
    pub(super) fn keep(&mut self, mut effects: Box<Effects<N>>) {
        let Effects { messages, timers, refusal, notices, failed: _ } = &mut *effects;
        messages.clear();
        timers.clear();
        notices.clear();
        *refusal = None;
        self.0 = Some(effects);
    }
}

/// What an actor has not finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Unfinished {
    /// Exchanges under way (**C2**).
    pub sessions: u32,
    /// Things that wait to be taken in, or are owed (**C3**).
    pub waiting: u32,
}

/// One node's code and state, as the engine sees it: bytes in, effects out, a digest, and what is
/// unfinished. Implement it to put your own replica under the same faults and checks.
pub trait Actor: Clone {
    /// What a workload may ask of it.
    type Op: Clone;
    /// What it says to checkers.
    type Notice;

    /// Takes one input, and leaves in `effects`, which come in as [`Effects::default`], what it wants done.
    /// They are one step's after another, so that what is pushed to them finds the room of earlier steps.
    fn step(
        &mut self,
        input: Input<'_, Self::Op>,
        context: &mut Context<'_>,
        effects: &mut Effects<Self::Notice>,
    );

    /// Loses everything that is not durable.
    fn crash(&mut self);

    /// Comes back from what is durable; [`Input::Start`] and [`Input::Peers`] follow.
    fn restart(&mut self);

    /// A bit of what is durable flips, somewhere that `place` decides. Says whether there was one to flip.
    fn rot(&mut self, place: u64) -> bool {
        let _ = place;
        false
    }

    /// Looks through all that is durable. Says whether it is damaged; then the node is taken down.
    fn scrub(&mut self) -> bool {
        false
    }

    /// The digest of its replicated state: equal digests mean equal states.
    fn digest(&self) -> Digest;

    /// What it has not finished. O(1).
    fn unfinished(&self) -> Unfinished;

    /// Where an actor is several that know nothing of each other: which of them took the last input. Each
    /// hears for itself that a sender has restarted.
    fn lane(&self) -> u8 {
        0
    }
}
