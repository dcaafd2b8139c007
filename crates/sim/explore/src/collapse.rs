//! Collapse compression: the states of single nodes, the frames between them and the steps that lead from one
//! state to the next, each interned as a number. Every distinct step runs once, on the real code.

use crate::Explorable;
use crate::state::{FrameId, LocalId, StepId};
use crate::state_hash::{HashIndex, StateHasher};
use std::collections::BTreeMap;
use std::sync::Arc;
use sync_sim_cluster::verdict::Check;
use sync_sim_engine::actor::{Commit, Context, Effects, Input, Outgoing, TimerChange, Unfinished};
use sync_sim_engine::network::DropCause;
use sync_sim_engine::node_id::NodeId;
use syncline_store::Bytes;
use syncline_types::{Choice, Digest, Entropy, Moment, SimTime};

/// A frame as it was sent.
#[derive(Clone, Debug)]
pub(super) struct InternedFrame {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) kind: u8,
    pub(super) housekeeping: bool,
    /// The incarnation of the sender: the number of its crashes when it sent the frame.
    pub(super) incarnation: u64,
    pub(super) bytes: Bytes,
}

impl InternedFrame {
    pub(super) const fn link(&self) -> (u32, u32) {
        (self.from.0, self.to.0)
    }
}

/// A timer that is set.
#[derive(Clone, Copy, Debug)]
pub(super) struct SetTimer {
    pub(super) at: SimTime,
    pub(super) housekeeping: bool,
}

/// One node: its actor, and what the world stores for the node.
#[derive(Clone, Debug)]
pub(super) struct LocalState<A> {
    pub(super) node: NodeId,
    pub(super) actor: A,
    pub(super) up: bool,
    crashes: u64,
    pub(super) timers: BTreeMap<u64, SetTimer>,
    /// The latest incarnation of each sender whose frame took effect here since the node's last start.
    heard: BTreeMap<NodeId, u64>,
    pub(super) digest: Digest,
    /// The hash of what is judged of the actor.
    pub(super) judged: u128,
    pub(super) unfinished: Unfinished,
    /// The invariant that this state violates on its own.
    pub(super) violation: Option<Check>,
}

impl<A> LocalState<A> {
    /// Whether nothing is pending on this node (**C2** to **C4**).
    pub(super) fn is_quiet(&self) -> bool {
        self.up
            && self.unfinished == Unfinished::default()
            && self.timers.values().all(|timer| timer.housekeeping)
    }
}

/// An event of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LocalEvent {
    Frame(FrameId),
    Timer(u64),
    /// The planned write of this number.
    Write(u8),
    Crash,
    Restart,
    /// The node goes down, and its disk becomes that of the node in this state; an empty one, if it names none.
    ReplaceDisk(Option<LocalId>),
    /// The node learns the new name of the one in this state.
    LearnName(LocalId),
}

impl LocalEvent {
    const fn hash_words(self) -> [u64; 2] {
        match self {
            Self::Frame(frame) => [0, frame as u64],
            Self::Timer(timer) => [1, timer],
            Self::Write(at) => [2, at as u64],
            Self::Crash => [3, 0],
            Self::Restart => [4, 0],
            Self::ReplaceDisk(None) => [5, 0],
            Self::ReplaceDisk(Some(local)) => [6, local as u64],
            Self::LearnName(local) => [7, local as u64],
        }
    }
}

/// The place within a step at which the node crashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CrashPlace {
    /// The step completes.
    Never,
    /// Before the commit: no write is durable.
    BeforeCommit,
    /// After the commit and after this many of the step's frames were sent.
    AfterFrames(u8),
}

/// One step of one node.
pub(super) struct LocalStep<N> {
    pub(super) before: LocalId,
    pub(super) after: LocalId,
    /// The frame that the step took in.
    pub(super) frame: Option<FrameId>,
    pub(super) sent: Vec<FrameId>,
    pub(super) notices: Vec<N>,
    /// Why the frame took no effect.
    pub(super) refused: Option<DropCause>,
    /// Whether the frame took effect although the receiver had accepted one of a later incarnation of its
    /// sender.
    pub(super) stale: bool,
}

impl<N> LocalStep<N> {
    /// Whether two steps from equal states had the same result. Notices are compared by their number, since
    /// they need not implement `PartialEq`.
    fn has_same_result(&self, other: &Self) -> bool {
        let notices = self.notices.len() == other.notices.len();
        let effects = self.after == other.after && self.sent == other.sent;
        effects && notices && self.refused == other.refused && self.stale == other.stale
    }
}

/// Entropy whose every draw is zero, but for those that distinguish two lives of one replica: they give the number of
/// the life. The search explores orders of events, not random draws.
struct LifeEntropy {
    life: u64,
}

impl Entropy for LifeEntropy {
    fn below(&mut self, choice: Choice, bound: u64) -> u64 {
        match choice {
            Choice::ClockPhase | Choice::SessionOffset => self.life % bound,
            _ => 0,
        }
    }
}

/// The tables of interned node states, frames and steps.
pub(super) struct Collapse<A: Explorable> {
    names: Vec<String>,
    members: Arc<[NodeId]>,
    /// The planned writes, by node.
    writes: Vec<Vec<A::Op>>,
    pub(super) locals: Vec<LocalState<A>>,
    local_ids: HashIndex,
    pub(super) frames: Vec<InternedFrame>,
    frame_ids: HashIndex,
    pub(super) steps: Vec<LocalStep<A::Notice>>,
    step_ids: HashIndex,
    scratch: StateHasher,
    /// For each local state, the node that reached it last, if steps are checked for determinism.
    recheck: Option<Vec<LocalState<A>>>,
    /// The first step that had another result when it was run again.
    pub(super) nondeterminism: Option<String>,
}

impl<A: Explorable> Collapse<A> {
    pub(super) fn new(names: Vec<String>, verify_determinism: bool) -> Self {
        Self {
            members: (0..names.len() as u32).map(NodeId).collect(),
            writes: vec![Vec::new(); names.len()],
            names,
            locals: Vec::new(),
            local_ids: HashIndex::default(),
            frames: Vec::new(),
            frame_ids: HashIndex::default(),
            steps: Vec::new(),
            step_ids: HashIndex::default(),
            scratch: StateHasher::default(),
            recheck: verify_determinism.then(Vec::new),
            nondeterminism: None,
        }
    }

    /// Adds an actor that has not started.
    pub(super) fn add_node(&mut self, node: NodeId, actor: A) -> LocalId {
        // The node begins down, so that its first start takes the same path as every restart.
        self.intern(LocalState {
            node,
            digest: actor.digest(),
            judged: 0,
            unfinished: actor.unfinished(),
            actor,
            up: false,
            crashes: 0,
            timers: BTreeMap::new(),
            heard: BTreeMap::new(),
            violation: None,
        })
    }

    /// Plans one more write of a node's application.
    pub(super) fn plan_write(&mut self, node: NodeId, op: A::Op) {
        self.writes[node.index()].push(op);
    }

    fn intern(&mut self, mut local: LocalState<A>) -> LocalId {
        let scratch = &mut self.scratch;
        scratch.number(u64::from(local.node.0));
        scratch.number(u64::from(local.up) << 63 | local.crashes);
        scratch.number(local.timers.len() as u64);
        for (timer, set) in &local.timers {
            scratch.number(*timer);
            scratch.number(set.at.as_micros());
            scratch.number(u64::from(set.housekeeping));
        }
        scratch.number(local.heard.len() as u64);
        for (sender, incarnation) in &local.heard {
            scratch.number(u64::from(sender.0));
            scratch.number(*incarnation);
        }
        local.actor.write_state(scratch);
        let digest = scratch.finish();
        if let Some(id) = self.local_ids.find(digest) {
            // The newest representative came by another path than the interned one, and may differ from it in
            // something that the hash omits. Running a known step on it would show that.
            if let Some(recheck) = &mut self.recheck {
                recheck[id as usize] = local;
            }
            return id;
        }
        let id = self.locals.len() as u32;
        self.local_ids.insert(digest, id);
        local.actor.write_judged(scratch);
        local.judged = scratch.finish();
        local.violation = local.actor.violation(&self.names[local.node.index()]);
        if let Some(recheck) = &mut self.recheck {
            recheck.push(local.clone());
            assert!(recheck.len() == self.locals.len() + 1, "every local state has one representative");
        }
        self.locals.push(local);
        id
    }

    fn intern_frame(&mut self, frame: InternedFrame) -> FrameId {
        let scratch = &mut self.scratch;
        scratch.number(u64::from(frame.from.0) << 32 | u64::from(frame.to.0));
        scratch.number(u64::from(frame.kind) << 1 | u64::from(frame.housekeeping));
        scratch.number(frame.incarnation);
        scratch.bytes(&frame.bytes);
        let digest = scratch.finish();
        self.frame_ids.find(digest).unwrap_or_else(|| {
            let id = self.frames.len() as u32;
            self.frame_ids.insert(digest, id);
            self.frames.push(frame);
            id
        })
    }

    /// The step that a node in this state takes: looked up, or run if it is new.
    ///
    /// The key holds all that the step depends on: the state of the node, the event, the time and the crash.
    pub(super) fn step(
        &mut self,
        before: LocalId,
        what: LocalEvent,
        now: SimTime,
        crash: CrashPlace,
    ) -> StepId {
        let [kind, detail] = what.hash_words();
        let place = match crash {
            CrashPlace::Never => 0,
            CrashPlace::BeforeCommit => 1,
            CrashPlace::AfterFrames(frames) => 2 + u64::from(frames),
        };
        for number in [u64::from(before), kind, detail, now.as_micros(), place] {
            self.scratch.number(number);
        }
        let digest = self.scratch.finish();
        if let Some(known) = self.step_ids.find(digest) {
            if let Some(other) = self.recheck.as_ref().map(|recheck| recheck[before as usize].clone()) {
                let again = self.run(before, other, what, now, crash);
                if !again.has_same_result(&self.steps[known as usize]) {
                    let name = &self.names[self.locals[before as usize].node.index()];
                    self.nondeterminism
                        .get_or_insert_with(|| format!("{name}, {what:?} at {now}, {crash:?}"));
                }
            }
            return known;
        }
        let step = self.run(before, self.locals[before as usize].clone(), what, now, crash);
        let id = self.steps.len() as u32;
        self.step_ids.insert(digest, id);
        self.steps.push(step);
        id
    }

    fn run(
        &mut self,
        before: LocalId,
        mut local: LocalState<A>,
        what: LocalEvent,
        now: SimTime,
        crash: CrashPlace,
    ) -> LocalStep<A::Notice> {
        assert!(
            local.up != (what == LocalEvent::Restart) || matches!(what, LocalEvent::LearnName(_)),
            "a node that is down only restarts, and one that is up does anything else: {what:?}"
        );
        let mut step = LocalStep {
            before,
            after: before,
            frame: if let LocalEvent::Frame(frame) = what { Some(frame) } else { None },
            sent: Vec::new(),
            notices: Vec::new(),
            refused: None,
            stale: false,
        };
        match what {
            LocalEvent::Crash => local.crash(),
            LocalEvent::ReplaceDisk(source) => {
                local.crash();
                match source {
                    Some(source) => local.actor.restore_disk(&self.locals[source as usize].actor),
                    // The host does not remember how often the node has started.
                    None => local.actor.lose_disk(false),
                }
            }
            LocalEvent::LearnName(other) => local.actor.learn_name(&self.locals[other as usize].actor),
            LocalEvent::Restart => {
                if local.crashes > 0 {
                    local.actor.restart();
                }
                local.up = true;
                let members = self.members.clone();
                let peers = Input::Peers { members: members.clone(), reachable: members };
                self.feed(&mut local, peers, now, CrashPlace::Never, &mut step);
                self.feed(&mut local, Input::Start, now, CrashPlace::Never, &mut step);
            }
            LocalEvent::Timer(timer) => {
                let fired = local.timers.remove(&timer);
                assert!(fired.is_some(), "a timer that fires was set");
                self.feed(&mut local, Input::Timer(timer), now, crash, &mut step);
            }
            LocalEvent::Write(at) => {
                let op = self.writes[local.node.index()][usize::from(at)].clone();
                self.feed(&mut local, Input::Op(&op), now, crash, &mut step);
            }
            LocalEvent::Frame(frame) => {
                let InternedFrame { from, incarnation, bytes, .. } = self.frames[frame as usize].clone();
                self.feed(&mut local, Input::Frame { from, bytes: &bytes }, now, crash, &mut step);
                // A refused frame has no effect, and a crash clears the incarnations that the node has seen.
                if step.refused.is_none() && crash == CrashPlace::Never {
                    let newest = local.heard.entry(from).or_default();
                    step.stale = incarnation < *newest;
                    *newest = incarnation.max(*newest);
                }
            }
        }
        local.digest = local.actor.digest();
        local.unfinished = local.actor.unfinished();
        step.after = self.intern(local);
        step
    }

    /// Gives an input to a node that is up, and applies its effects up to the crash.
    fn feed(
        &mut self,
        local: &mut LocalState<A>,
        input: Input<'_, A::Op>,
        now: SimTime,
        crash: CrashPlace,
        step: &mut LocalStep<A::Notice>,
    ) {
        // The node has stopped in the first of two inputs.
        if !local.up {
            return;
        }
        let is_frame = matches!(input, Input::Frame { .. });
        let durable = crash != CrashPlace::BeforeCommit;
        let commit = if durable { Commit::Durable } else { Commit::Lost };
        let mut entropy =
            LifeEntropy { life: local.crashes * self.names.len() as u64 + u64::from(local.node.0) };
        let mut context = Context::new(Moment::at(now), &mut entropy, commit);
        let mut effects = Effects::default();
        local.actor.step(input, &mut context, &mut effects);
        let Effects { messages, timers, refusal, notices, failed } = effects;
        if failed {
            // All effects are discarded: the node stops, and restarts from its disk.
            local.crash();
            return;
        }
        step.refused = refusal.filter(|_| is_frame);
        if durable {
            step.notices.extend(notices);
        }
        let sent = match crash {
            CrashPlace::Never => usize::MAX,
            CrashPlace::BeforeCommit => 0,
            CrashPlace::AfterFrames(frames) => usize::from(frames),
        };
        for Outgoing { to, bytes, kind, housekeeping } in messages.into_iter().take(sent) {
            // An actor may address a node that does not exist; the network drops such a frame.
            if to.index() < self.names.len() {
                let incarnation = local.crashes;
                let frame = InternedFrame { from: local.node, to, kind, housekeeping, incarnation, bytes };
                step.sent.push(self.intern_frame(frame));
            }
        }
        if crash != CrashPlace::Never {
            local.crash();
            return;
        }
        for change in timers {
            match change {
                TimerChange::Set { id, at, housekeeping } => {
                    local.timers.insert(id, SetTimer { at, housekeeping });
                }
                TimerChange::Cancel { id } => {
                    local.timers.remove(&id);
                }
            }
        }
    }
}

impl<A: Explorable> LocalState<A> {
    fn crash(&mut self) {
        self.actor.crash();
        self.up = false;
        self.crashes += 1;
        self.timers.clear();
        self.heard.clear();
    }
}
