//! What can happen next, and what comes of it.

use crate::explore::Explorable;
use crate::explore::collapse::{Armed, Halt, Happening};
use crate::explore::invariants::{Observed, Watch};
use crate::explore::search::Explorer;
use crate::explore::state::{FrameId, State, StepId, pair};
use sync_sim_cluster::verdict::Check;
use sync_sim_engine::node_id::NodeId;
use syncline_types::{Digest, SimTime};

/// One move of the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Move {
    /// A frame arrives; `keep`: a copy stays on its way.
    Deliver {
        frame: FrameId,
        keep: bool,
        halt: Halt,
    },
    Drop {
        frame: FrameId,
    },
    Write {
        node: u8,
        halt: Halt,
    },
    /// A timer runs out; `early`: although the network is not quiet.
    Timer {
        node: u8,
        timer: u64,
        early: bool,
        halt: Halt,
    },
    Crash {
        node: u8,
    },
    Restart {
        node: u8,
    },
    Cut {
        nodes: (u8, u8),
    },
    Mend {
        nodes: (u8, u8),
    },
}

impl Move {
    /// Whether it is something going wrong that need not.
    pub(super) const fn is_fault(self) -> bool {
        match self {
            Self::Drop { .. } | Self::Crash { .. } | Self::Cut { .. } => true,
            Self::Deliver { keep, halt, .. } => keep || !matches!(halt, Halt::Never),
            Self::Timer { early, halt, .. } => early || !matches!(halt, Halt::Never),
            Self::Write { halt, .. } => !matches!(halt, Halt::Never),
            Self::Restart { .. } | Self::Mend { .. } => false,
        }
    }

    fn halted(self, halt: Halt) -> Self {
        match self {
            Self::Deliver { frame, keep, .. } => Self::Deliver { frame, keep, halt },
            Self::Write { node, .. } => Self::Write { node, halt },
            Self::Timer { node, timer, early, .. } => Self::Timer { node, timer, early, halt },
            other => other,
        }
    }
}

/// What came of a move.
pub(super) struct Moved {
    pub(super) state: State,
    /// The step that a node took, if one did.
    pub(super) step: Option<StepId>,
    /// The promise that was broken, if one was.
    pub(super) broken: Option<Check>,
}

impl<A: Explorable, W: Watch<A>> Explorer<A, W> {
    pub(super) fn is_up(&self, state: &State, node: usize) -> bool {
        self.collapse.locals[state.nodes[node] as usize].up
    }

    /// Frames that may arrive next, each once.
    fn arriving(&self, state: &State) -> Vec<FrameId> {
        let mut frames = state.flight.clone();
        if self.scope.fifo {
            frames.dedup_by_key(|frame| self.collapse.frames[*frame as usize].link());
        } else {
            frames.dedup();
        }
        frames
    }

    /// All timers that are set and may run out: when, whose, which.
    fn timers(&self, state: &State, ticking: bool) -> Vec<(SimTime, u8, u64)> {
        let mut timers = Vec::new();
        for (node, (local, ticks)) in state.nodes.iter().zip(&state.ticks).enumerate() {
            for (timer, Armed { at, housekeeping }) in &self.collapse.locals[*local as usize].timers {
                if !housekeeping || ticking || *ticks < self.scope.ticks {
                    timers.push((*at, node as u8, *timer));
                }
            }
        }
        timers
    }

    /// The first timers that run out, if time may come to that; all that are due are first.
    pub(super) fn next_timers(&self, state: &State, ticking: bool) -> Vec<(SimTime, u8, u64)> {
        let mut timers = self.timers(state, ticking);
        let first = timers.iter().map(|(at, ..)| *at).min().unwrap_or_default().max(state.now);
        timers.retain(|(at, ..)| *at <= first);
        timers
    }

    /// Everything that can happen in a state: what need not go wrong first.
    pub(crate) fn moves(&mut self, state: &State) -> Vec<Move> {
        let mut moves = Vec::new();
        let halt = Halt::Never;
        let nodes = 0..state.nodes.len() as u8;
        let down = nodes.clone().filter(|node| !self.is_up(state, usize::from(*node)));
        moves.extend(down.map(|node| Move::Restart { node }));
        let calm = state.flight.is_empty() && state.cuts.is_empty() && moves.is_empty();
        for frame in self.arriving(state) {
            moves.push(Move::Deliver { frame, keep: false, halt });
        }
        for node in nodes {
            let at = usize::from(node);
            if usize::from(state.written[at]) < self.written[at].len() && self.is_up(state, at) {
                moves.push(Move::Write { node, halt });
            }
        }
        for (at, node, timer) in self.next_timers(state, false) {
            let early = at > state.now && !calm;
            if !early || state.left.early > 0 {
                moves.push(Move::Timer { node, timer, early, halt });
            }
        }
        moves.extend(state.cuts.iter().map(|nodes| Move::Mend { nodes: *nodes }));
        self.push_faults(state, &mut moves);
        moves
    }

    fn push_faults(&mut self, state: &State, moves: &mut Vec<Move>) {
        let plain = moves.len();
        let left = state.left;
        for at in 0..plain {
            if let Move::Deliver { frame, halt, .. } = moves[at]
                && self.is_heard(state, frame)
            {
                if left.drops > 0 {
                    moves.push(Move::Drop { frame });
                }
                if left.duplicates > 0 {
                    moves.push(Move::Deliver { frame, keep: true, halt });
                }
            }
        }
        if left.crashes > 0 {
            for at in 0..moves.len() {
                let base = moves[at];
                for sent in 0..self.sends(state, base) {
                    moves.push(base.halted(Halt::Sent(sent)));
                }
            }
            let nodes = 0..state.nodes.len() as u8;
            let up = nodes.filter(|node| self.is_up(state, usize::from(*node)));
            moves.extend(up.map(|node| Move::Crash { node }));
        }
        if left.partitions > 0 {
            let pairs = (1..state.nodes.len()).flat_map(|b| (0..b).map(move |a| pair(a, b)));
            moves.extend(pairs.filter(|nodes| !state.cuts.contains(nodes)).map(|nodes| Move::Cut { nodes }));
        }
    }

    /// Whether somebody hears a frame when it arrives.
    fn is_heard(&self, state: &State, frame: FrameId) -> bool {
        let frame = &self.collapse.frames[frame as usize];
        let (from, to) = (frame.from.index(), frame.to.index());
        self.is_up(state, to) && !state.is_cut(from, to)
    }

    /// How many frames the step of a move sends: so many are the places in it to crash at.
    fn sends(&mut self, state: &State, base: Move) -> u8 {
        let (node, what, now) = match base {
            Move::Deliver { frame, .. } if self.is_heard(state, frame) => {
                (self.collapse.frames[frame as usize].to.index(), Happening::Frame(frame), state.now)
            }
            Move::Write { node, .. } => {
                let node = usize::from(node);
                (node, Happening::Write(state.written[node]), state.now)
            }
            Move::Timer { node, timer, .. } => {
                let node = usize::from(node);
                let at = self.collapse.locals[state.nodes[node] as usize].timers[&timer].at;
                (node, Happening::Timer(timer), at.max(state.now))
            }
            _ => return 0,
        };
        let step = self.collapse.step(state.nodes[node], what, now, Halt::Never);
        self.collapse.steps[step as usize].sent.len().min(254) as u8
    }

    /// The state after a move.
    pub(super) fn moved(&mut self, state: &State, what: Move) -> Moved {
        let mut next = state.clone();
        match what {
            Move::Deliver { frame, keep, halt } => {
                if keep {
                    next.left.duplicates -= 1;
                } else {
                    next.take_off(frame);
                }
                if self.is_heard(state, frame) {
                    let to = self.collapse.frames[frame as usize].to.index();
                    return self.take(next, to, Happening::Frame(frame), halt);
                }
            }
            Move::Drop { frame } => {
                next.left.drops -= 1;
                next.take_off(frame);
            }
            Move::Write { node, halt } => {
                let node = usize::from(node);
                let at = state.written[node];
                next.written[node] += 1;
                return self.take(next, node, Happening::Write(at), halt);
            }
            Move::Timer { node, timer, early, halt } => {
                let node = usize::from(node);
                let armed = self.collapse.locals[state.nodes[node] as usize].timers[&timer];
                next.left.early -= u8::from(early);
                next.ticks[node] = next.ticks[node].saturating_add(u8::from(armed.housekeeping));
                next.now = armed.at.max(state.now);
                return self.take(next, node, Happening::Timer(timer), halt);
            }
            Move::Crash { node } => {
                next.left.crashes -= 1;
                return self.take(next, usize::from(node), Happening::Crash, Halt::Never);
            }
            Move::Restart { node } => {
                return self.take(next, usize::from(node), Happening::Restart, Halt::Never);
            }
            Move::Cut { nodes } => {
                next.left.partitions -= 1;
                next.cuts.push(nodes);
                next.cuts.sort_unstable();
            }
            Move::Mend { nodes } => next.cuts.retain(|cut| *cut != nodes),
        }
        Moved { state: next, step: None, broken: None }
    }

    /// Has a node take a step.
    pub(super) fn take(&mut self, mut next: State, node: usize, what: Happening, halt: Halt) -> Moved {
        next.left.crashes -= u8::from(halt != Halt::Never);
        let id = self.collapse.step(next.nodes[node], what, next.now, halt);
        let step = &self.collapse.steps[id as usize];
        next.nodes[node] = step.after;
        for &frame in &step.sent {
            let link = self.collapse.frames[frame as usize].link();
            if next.is_cut(link.0 as usize, link.1 as usize) {
                continue;
            }
            let order = |own: &FrameId| (self.collapse.frames[*own as usize].link(), *own);
            let at = if self.scope.fifo {
                next.flight.partition_point(|own| order(own).0 <= link)
            } else {
                next.flight.partition_point(|own| order(own) <= (link, frame))
            };
            next.flight.insert(at, frame);
        }
        let fault = self.collapse.locals[step.after as usize].fault.clone();
        let watched = self.watched(&next, id, node);
        let broken = fault.or_else(|| watched.as_ref().err().map(|check| Check::clone(check)));
        next.watch = watched.unwrap_or(next.watch);
        Moved { state: next, step: Some(id), broken }
    }

    /// What the watch remembers after a step, or what was broken in it.
    fn watched(&mut self, next: &State, id: StepId, node: usize) -> Result<u32, Box<Check>> {
        let step = &self.collapse.steps[id as usize];
        let local = |id: u32| &self.collapse.locals[id as usize];
        let (before, after) = (local(step.before), local(step.after));
        let went_down = before.up && !after.up;
        let idle = step.notices.is_empty() && step.refused.is_none() && !step.stale && !went_down;
        if idle && before.digest == after.digest {
            return Ok(next.watch);
        }
        let digests: Vec<Digest> = next.nodes.iter().map(|id| local(*id).digest).collect();
        self.scratch.number(u64::from(next.watch) << 32 | u64::from(id));
        digests.iter().for_each(|digest| self.scratch.bytes(&digest.0));
        let key = self.scratch.finish();
        if let Some(known) = self.watch_steps.find(key) {
            return self.watch_results[known as usize].clone();
        }
        let mut watch = self.watches[next.watch as usize].clone();
        let broken = watch.observe(&Observed {
            node: NodeId(node as u32),
            notices: &step.notices,
            refused: step.refused,
            stale_accepted: step.stale,
            went_down,
            before: before.digest,
            digests: &digests,
        });
        let result = broken.map_or_else(|| Ok(self.remember(watch)), |check| Err(Box::new(check)));
        self.watch_steps.insert(key, self.watch_results.len() as u32);
        self.watch_results.push(result.clone());
        result
    }

    /// The number of what a watch remembers.
    pub(super) fn remember(&mut self, watch: W) -> u32 {
        watch.write_state(&mut self.scratch);
        let digest = self.scratch.finish();
        self.watch_ids.find(digest).unwrap_or_else(|| {
            let id = self.watches.len() as u32;
            self.watch_ids.insert(digest, id);
            self.watches.push(watch);
            id
        })
    }

    /// Whether nothing is under way and all digests are equal (**C1** to **C5**).
    pub(super) fn is_settled(&self, state: &State) -> bool {
        let local = |id: &u32| &self.collapse.locals[*id as usize];
        let first = state.nodes.first().map(|id| local(id).digest);
        state.cuts.is_empty()
            && state.flight.iter().all(|frame| self.collapse.frames[*frame as usize].housekeeping)
            && state.nodes.iter().all(|id| local(id).is_quiet() && Some(local(id).digest) == first)
    }

    /// What is wrong with a state as a whole.
    pub(super) fn judged(&mut self, state: &State) -> Option<Check> {
        let settled = self.is_settled(state);
        self.scratch.number(u64::from(state.watch) << 1 | u64::from(settled));
        for id in &state.nodes {
            self.scratch.bytes(&self.collapse.locals[*id as usize].digest.0);
        }
        let key = self.scratch.finish();
        if let Some(known) = self.judged.find(key) {
            return self.judgements[known as usize].clone();
        }
        let actors: Vec<&A> =
            state.nodes.iter().map(|id| &self.collapse.locals[*id as usize].actor).collect();
        let judgement = self.watches[state.watch as usize].judge(&actors, settled);
        self.judged.insert(key, self.judgements.len() as u32);
        self.judgements.push(judgement.clone());
        judgement
    }
}
