//! The states of single nodes, the frames between them, and the steps that lead from one to the next: each
//! run once, on the real code.

use crate::explore::Explorable;
use crate::explore::fingerprint::{Fingerprint, Table};
use crate::explore::state::{FrameId, LocalId, StepId};
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
pub(super) struct Frame {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) kind: u8,
    pub(super) housekeeping: bool,
    /// How often its sender had gone down.
    pub(super) life: u64,
    pub(super) bytes: Bytes,
}

impl Frame {
    pub(super) const fn link(&self) -> (u32, u32) {
        (self.from.0, self.to.0)
    }
}

/// A timer that is set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Armed {
    pub(super) at: SimTime,
    pub(super) housekeeping: bool,
}

/// One node: its actor and what the world keeps for it.
#[derive(Clone, Debug)]
pub(super) struct Local<A> {
    node: NodeId,
    pub(super) actor: A,
    pub(super) up: bool,
    crashes: u64,
    pub(super) timers: BTreeMap<u64, Armed>,
    /// The latest life of each sender from which a frame was taken in this life.
    heard: BTreeMap<NodeId, u64>,
    pub(super) digest: Digest,
    pub(super) unfinished: Unfinished,
    /// What is wrong with it by itself.
    pub(super) fault: Option<Check>,
}

impl<A> Local<A> {
    /// Whether nothing is unfinished here (**C2** to **C4**).
    pub(super) fn is_quiet(&self) -> bool {
        self.up
            && self.unfinished == Unfinished::default()
            && self.timers.values().all(|armed| armed.housekeeping)
    }
}

/// What happens to a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Happening {
    Frame(FrameId),
    Timer(u64),
    /// Its application's write of this number.
    Write(u8),
    Crash,
    Restart,
}

impl Happening {
    const fn words(self) -> [u64; 2] {
        match self {
            Self::Frame(frame) => [0, frame as u64],
            Self::Timer(timer) => [1, timer],
            Self::Write(at) => [2, at as u64],
            Self::Crash => [3, 0],
            Self::Restart => [4, 0],
        }
    }
}

/// Where in a step its node goes down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Halt {
    Never,
    /// Before anything is durable.
    Uncommitted,
    /// After its commit and as many of its frames.
    Sent(u8),
}

/// One step of one node.
pub(super) struct Step<N> {
    pub(super) before: LocalId,
    pub(super) after: LocalId,
    pub(super) sent: Vec<FrameId>,
    pub(super) notices: Vec<N>,
    /// Why a frame took no effect.
    pub(super) refused: Option<DropCause>,
    /// A frame took effect although its receiver had heard from a later life of its sender.
    pub(super) stale: bool,
}

impl<N> Step<N> {
    /// Whether two steps from equal states came to the same.
    fn is_as(&self, other: &Self) -> bool {
        let notices = self.notices.len() == other.notices.len();
        let effects = self.after == other.after && self.sent == other.sent;
        effects && notices && self.refused == other.refused && self.stale == other.stale
    }
}

/// Draws the least that may be drawn.
struct Least;

impl Entropy for Least {
    fn below(&mut self, _: Choice, _: u64) -> u64 {
        0
    }
}

/// Everything that was ever run, by number.
pub(super) struct Collapse<A: Explorable> {
    names: Vec<String>,
    members: Arc<[NodeId]>,
    script: Vec<Vec<A::Op>>,
    pub(super) locals: Vec<Local<A>>,
    local_ids: Table,
    pub(super) frames: Vec<Frame>,
    frame_ids: Table,
    pub(super) steps: Vec<Step<A::Notice>>,
    step_ids: Table,
    scratch: Fingerprint,
    /// For each local, the one that came to it last, if steps are to be doubted.
    doubles: Option<Vec<Local<A>>>,
    /// A step that came out otherwise when it was run again.
    pub(super) blurred: Option<String>,
}

impl<A: Explorable> Collapse<A> {
    pub(super) fn new(names: Vec<String>, doubt: bool) -> Self {
        Self {
            members: (0..names.len() as u32).map(NodeId).collect(),
            script: vec![Vec::new(); names.len()],
            names,
            locals: Vec::new(),
            local_ids: Table::default(),
            frames: Vec::new(),
            frame_ids: Table::default(),
            steps: Vec::new(),
            step_ids: Table::default(),
            scratch: Fingerprint::default(),
            doubles: doubt.then(Vec::new),
            blurred: None,
        }
    }

    /// Takes in an actor that has not started.
    pub(super) fn admit(&mut self, node: NodeId, actor: A) -> LocalId {
        let (digest, unfinished) = (actor.digest(), actor.unfinished());
        let (timers, heard) = Default::default();
        // Down, so that it comes up by the one way there is.
        self.intern(Local {
            node,
            actor,
            up: false,
            crashes: 0,
            timers,
            heard,
            digest,
            unfinished,
            fault: None,
        })
    }

    /// Gives a node one more thing to write.
    pub(super) fn write(&mut self, node: NodeId, op: A::Op) {
        self.script[node.index()].push(op);
    }

    fn intern(&mut self, mut local: Local<A>) -> LocalId {
        let scratch = &mut self.scratch;
        scratch.number(u64::from(local.node.0));
        scratch.number(u64::from(local.up) << 63 | local.crashes);
        scratch.number(local.timers.len() as u64);
        for (timer, armed) in &local.timers {
            scratch.number(*timer);
            scratch.number(armed.at.as_micros());
            scratch.number(u64::from(armed.housekeeping));
        }
        scratch.number(local.heard.len() as u64);
        for (sender, life) in &local.heard {
            scratch.number(u64::from(sender.0));
            scratch.number(*life);
        }
        local.actor.write_state(scratch);
        let digest = scratch.finish();
        if let Some(id) = self.local_ids.find(digest) {
            if let Some(doubles) = &mut self.doubles {
                doubles[id as usize] = local;
            }
            return id;
        }
        let id = self.locals.len() as u32;
        self.local_ids.insert(digest, id);
        local.fault = local.actor.fault(&self.names[local.node.index()]);
        if let Some(doubles) = &mut self.doubles {
            doubles.push(local.clone());
        }
        self.locals.push(local);
        id
    }

    fn intern_frame(&mut self, frame: Frame) -> FrameId {
        let scratch = &mut self.scratch;
        scratch.number(u64::from(frame.from.0) << 32 | u64::from(frame.to.0));
        scratch.number(u64::from(frame.kind) << 1 | u64::from(frame.housekeeping));
        scratch.number(frame.life);
        scratch.bytes(&frame.bytes);
        let digest = scratch.finish();
        self.frame_ids.find(digest).unwrap_or_else(|| {
            let id = self.frames.len() as u32;
            self.frame_ids.insert(digest, id);
            self.frames.push(frame);
            id
        })
    }

    /// The step that a node in this state takes: looked up, or run.
    pub(super) fn step(&mut self, before: LocalId, what: Happening, now: SimTime, halt: Halt) -> StepId {
        let [kind, detail] = what.words();
        let halted = match halt {
            Halt::Never => 0,
            Halt::Uncommitted => 1,
            Halt::Sent(frames) => 2 + u64::from(frames),
        };
        for number in [u64::from(before), kind, detail, now.as_micros(), halted] {
            self.scratch.number(number);
        }
        let digest = self.scratch.finish();
        if let Some(known) = self.step_ids.find(digest) {
            if let Some(double) = self.doubles.as_ref().map(|doubles| doubles[before as usize].clone()) {
                let again = self.run(before, double, what, now, halt);
                if !again.is_as(&self.steps[known as usize]) {
                    let name = &self.names[self.locals[before as usize].node.index()];
                    self.blurred.get_or_insert_with(|| format!("{name}, {what:?} at {now}, {halt:?}"));
                }
            }
            return known;
        }
        let step = self.run(before, self.locals[before as usize].clone(), what, now, halt);
        let id = self.steps.len() as u32;
        self.step_ids.insert(digest, id);
        self.steps.push(step);
        id
    }

    fn run(
        &mut self,
        before: LocalId,
        mut local: Local<A>,
        what: Happening,
        now: SimTime,
        halt: Halt,
    ) -> Step<A::Notice> {
        let mut step = Step {
            before,
            after: before,
            sent: Vec::new(),
            notices: Vec::new(),
            refused: None,
            stale: false,
        };
        match what {
            Happening::Crash => local.take_down(),
            Happening::Restart => {
                if local.crashes > 0 {
                    local.actor.restart();
                }
                local.up = true;
                let members = self.members.clone();
                let peers = Input::Peers { members: members.clone(), reachable: members };
                self.feed(&mut local, peers, now, Halt::Never, &mut step);
                self.feed(&mut local, Input::Start, now, Halt::Never, &mut step);
            }
            Happening::Timer(timer) => {
                local.timers.remove(&timer);
                self.feed(&mut local, Input::Timer(timer), now, halt, &mut step);
            }
            Happening::Write(at) => {
                let op = self.script[local.node.index()][usize::from(at)].clone();
                self.feed(&mut local, Input::Op(&op), now, halt, &mut step);
            }
            Happening::Frame(frame) => {
                let Frame { from, life, bytes, .. } = self.frames[frame as usize].clone();
                self.feed(&mut local, Input::Frame { from, bytes: &bytes }, now, halt, &mut step);
                if step.refused.is_none() && halt == Halt::Never {
                    let newest = local.heard.entry(from).or_default();
                    step.stale = life < *newest;
                    *newest = life.max(*newest);
                }
            }
        }
        local.digest = local.actor.digest();
        local.unfinished = local.actor.unfinished();
        step.after = self.intern(local);
        step
    }

    /// Gives an input to a node that is up, and honours its effects as far as it comes.
    fn feed(
        &mut self,
        local: &mut Local<A>,
        input: Input<'_, A::Op>,
        now: SimTime,
        halt: Halt,
        step: &mut Step<A::Notice>,
    ) {
        let is_frame = matches!(input, Input::Frame { .. });
        let durable = halt != Halt::Uncommitted;
        let commit = if durable { Commit::Durable } else { Commit::Lost };
        let mut least = Least;
        let mut context = Context::new(Moment::at(now), &mut least, commit);
        let mut effects = Effects::default();
        local.actor.step(input, &mut context, &mut effects);
        let Effects { messages, timers, refusal, notices, .. } = effects;
        step.refused = refusal.filter(|_| is_frame);
        if durable {
            step.notices.extend(notices);
        }
        let sent = match halt {
            Halt::Never => usize::MAX,
            Halt::Uncommitted => 0,
            Halt::Sent(frames) => usize::from(frames),
        };
        for Outgoing { to, bytes, kind, housekeeping } in messages.into_iter().take(sent) {
            if to.index() < self.names.len() {
                let frame = Frame { from: local.node, to, kind, housekeeping, life: local.crashes, bytes };
                step.sent.push(self.intern_frame(frame));
            }
        }
        if halt != Halt::Never {
            local.take_down();
            return;
        }
        for change in timers {
            match change {
                TimerChange::Set { id, at, housekeeping } => {
                    local.timers.insert(id, Armed { at, housekeeping });
                }
                TimerChange::Cancel { id } => {
                    local.timers.remove(&id);
                }
            }
        }
    }
}

impl<A: Explorable> Local<A> {
    fn take_down(&mut self) {
        self.actor.crash();
        self.up = false;
        self.crashes += 1;
        self.timers.clear();
        self.heard.clear();
    }
}
