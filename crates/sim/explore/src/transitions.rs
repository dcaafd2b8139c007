//! The transition relation: the moves that are possible in a state, and the state after each.

use crate::Explorable;
use crate::collapse::{CrashPlace, LocalEvent, LocalStep, SetTimer};
use crate::invariants::{Invariants, ObservedStep};
use crate::search::Explorer;
use crate::state::{FrameId, LocalId, StepId, WorldState, pair, spend};
use sync_sim_cluster::verdict::Check;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::world::FrameSize;
use syncline_types::{Digest, SimTime};

/// One move of the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Move {
    /// A frame arrives. With `duplicate`, a copy stays in flight.
    Deliver {
        frame: FrameId,
        duplicate: bool,
        crash: CrashPlace,
    },
    Drop {
        frame: FrameId,
    },
    Write {
        node: u8,
        crash: CrashPlace,
    },
    /// A timer fires. With `early`, it fires although the network is not quiet.
    Timer {
        node: u8,
        timer: u64,
        early: bool,
        crash: CrashPlace,
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
    Repair {
        nodes: (u8, u8),
    },
    /// A copy of the disk of a node is put aside.
    BackUp {
        node: u8,
    },
    /// The disk of a node is replaced, and the node is down.
    ReplaceDisk {
        node: u8,
        by: DiskSource,
    },
}

/// What the disk of a node is replaced by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DiskSource {
    /// The copy of it that was put aside.
    Backup,
    /// A copy of the disk of another node.
    Node(u8),
    /// An empty one.
    Nothing,
}

impl Move {
    /// Whether the move is a fault or part of one. Fair runs have no such moves.
    pub(super) const fn is_fault(self) -> bool {
        match self {
            Self::Drop { .. }
            | Self::Crash { .. }
            | Self::Cut { .. }
            | Self::BackUp { .. }
            | Self::ReplaceDisk { .. } => true,
            Self::Deliver { duplicate, crash, .. } => duplicate || !matches!(crash, CrashPlace::Never),
            Self::Timer { early, crash, .. } => early || !matches!(crash, CrashPlace::Never),
            Self::Write { crash, .. } => !matches!(crash, CrashPlace::Never),
            Self::Restart { .. } | Self::Repair { .. } => false,
        }
    }

    /// Whether the move comes from outside the nodes: a write, a restart or a repair.
    pub(super) const fn is_from_outside(self) -> bool {
        matches!(self, Self::Write { .. } | Self::Restart { .. } | Self::Repair { .. })
    }

    /// The same move, with a crash of the node that it steps.
    fn with_crash(self, crash: CrashPlace) -> Self {
        match self {
            Self::Deliver { frame, duplicate, .. } => Self::Deliver { frame, duplicate, crash },
            Self::Write { node, .. } => Self::Write { node, crash },
            Self::Timer { node, timer, early, .. } => Self::Timer { node, timer, early, crash },
            other => other,
        }
    }
}

/// Whether the scope limits how often a timer fires.
fn is_limited<A: Explorable>(timer: u64, housekeeping: bool) -> bool {
    housekeeping || A::recurs(timer)
}

/// The result of a move.
pub(super) struct MoveOutcome {
    pub(super) state: WorldState,
    /// The step that a node took, if the move has one.
    pub(super) step: Option<StepId>,
    /// The invariant that the move violates, if any.
    pub(super) violation: Option<Check>,
}

impl<A: Explorable, I: Invariants<A>> Explorer<A, I> {
    pub(super) fn is_up(&self, state: &WorldState, node: usize) -> bool {
        self.collapse.locals[state.nodes[node] as usize].up
    }

    /// The frames that may arrive next, without repetition. The frames in flight are sorted, so equal ones are
    /// neighbours.
    fn deliverable(&self, state: &WorldState) -> Vec<FrameId> {
        let mut frames = state.in_flight.clone();
        if self.scope.fifo {
            frames.dedup_by_key(|frame| self.collapse.frames[*frame as usize].link());
        } else {
            frames.dedup();
        }
        frames
    }

    /// The timers that are set and may fire: the deadline, the node and the id of each. Housekeeping timers are
    /// limited by the scope unless `all_housekeeping`.
    fn timers(&self, state: &WorldState, all_housekeeping: bool) -> Vec<(SimTime, u8, u64)> {
        let mut timers = Vec::new();
        for (node, (local, ticks)) in state.nodes.iter().zip(&state.ticks).enumerate() {
            for (timer, SetTimer { at, housekeeping }) in &self.collapse.locals[*local as usize].timers {
                if all_housekeeping || *ticks < self.scope.ticks || !is_limited::<A>(*timer, *housekeeping) {
                    timers.push((*at, node as u8, *timer));
                }
            }
        }
        timers
    }

    /// The timers that fire next: all that are overdue, or all with the earliest deadline.
    pub(super) fn next_timers(&self, state: &WorldState, all_housekeeping: bool) -> Vec<(SimTime, u8, u64)> {
        let mut timers = self.timers(state, all_housekeeping);
        let first = timers.iter().map(|(at, ..)| *at).min().unwrap_or_default().max(state.now);
        timers.retain(|(at, ..)| *at <= first);
        timers
    }

    /// Every move that is possible in a state: first those without faults, then the faults. The order decides
    /// which of several shortest counterexamples is found.
    pub(crate) fn moves(&mut self, state: &WorldState) -> Vec<Move> {
        let mut moves = Vec::new();
        let crash = CrashPlace::Never;
        let nodes = 0..state.nodes.len() as u8;
        let down = nodes.clone().filter(|node| !self.is_up(state, usize::from(*node)));
        moves.extend(down.map(|node| Move::Restart { node }));
        // While a frame is in flight, a node is down or a link is cut, time stands still: the network is faster
        // than timers. Without this rule, timers could fire without end before any frame arrives.
        let is_network_quiet = state.in_flight.is_empty() && state.cuts.is_empty() && moves.is_empty();
        for frame in self.deliverable(state) {
            moves.push(Move::Deliver { frame, duplicate: false, crash });
        }
        for node in nodes {
            let at = usize::from(node);
            if usize::from(state.writes_done[at]) < self.planned[at].len() && self.is_up(state, at) {
                moves.push(Move::Write { node, crash });
            }
        }
        for (at, node, timer) in self.next_timers(state, false) {
            let early = at > state.now && !is_network_quiet;
            if !early || state.budget.early > 0 {
                moves.push(Move::Timer { node, timer, early, crash });
            }
        }
        moves.extend(state.cuts.iter().map(|nodes| Move::Repair { nodes: *nodes }));
        self.push_faults(state, &mut moves);
        moves
    }

    /// Adds the faults that the budget allows to the moves without faults.
    fn push_faults(&mut self, state: &WorldState, moves: &mut Vec<Move>) {
        let plain = moves.len();
        let left = state.budget;
        for at in 0..plain {
            // Losing a frame that no node receives changes nothing: delivering it has the same effect.
            if let Move::Deliver { frame, crash, .. } = moves[at]
                && self.is_received(state, frame)
            {
                if left.drops > 0 {
                    moves.push(Move::Drop { frame });
                }
                if left.duplicates > 0 {
                    moves.push(Move::Deliver { frame, duplicate: true, crash });
                }
            }
        }
        if left.crashes > 0 {
            // A step that sends n frames has n places to crash in: before the first frame and between any two.
            // A crash after the last equals a crash after the step.
            for at in 0..moves.len() {
                let base = moves[at];
                for sent in 0..self.sends(state, base) {
                    moves.push(base.with_crash(CrashPlace::AfterFrames(sent)));
                }
            }
            let nodes = 0..state.nodes.len() as u8;
            let up = nodes.filter(|node| self.is_up(state, usize::from(*node)));
            moves.extend(up.map(|node| Move::Crash { node }));
        }
        if left.disks > 0 {
            self.push_disk_faults(state, moves);
        }
        if left.partitions > 0 {
            let pairs = (1..state.nodes.len()).flat_map(|b| (0..b).map(move |a| pair(a, b)));
            moves.extend(pairs.filter(|nodes| !state.cuts.contains(nodes)).map(|nodes| Move::Cut { nodes }));
        }
    }

    /// Adds what may happen to the disks of nodes.
    fn push_disk_faults(&self, state: &WorldState, moves: &mut Vec<Move>) {
        let nodes = 0..state.nodes.len() as u8;
        for node in nodes.clone().filter(|node| self.is_up(state, usize::from(*node))) {
            match state.backups[usize::from(node)] {
                None => moves.push(Move::BackUp { node }),
                Some(_) => moves.push(Move::ReplaceDisk { node, by: DiskSource::Backup }),
            }
            let others = nodes.clone().filter(|other| *other != node).map(DiskSource::Node);
            let sources = others.chain([DiskSource::Nothing]);
            moves.extend(sources.map(|by| Move::ReplaceDisk { node, by }));
        }
    }

    /// Whether a frame reaches its receiver when it is delivered.
    fn is_received(&self, state: &WorldState, frame: FrameId) -> bool {
        let frame = &self.collapse.frames[frame as usize];
        self.is_up(state, frame.to.index()) && !state.is_cut(frame.from.index(), frame.to.index())
    }

    /// How many frames the step of a move sends: the number of places within the step to crash at.
    fn sends(&mut self, state: &WorldState, base: Move) -> u8 {
        let (node, what, now) = match base {
            Move::Deliver { frame, .. } if self.is_received(state, frame) => {
                (self.collapse.frames[frame as usize].to.index(), LocalEvent::Frame(frame), state.now)
            }
            Move::Write { node, .. } => {
                let node = usize::from(node);
                (node, LocalEvent::Write(state.writes_done[node]), state.now)
            }
            Move::Timer { node, timer, .. } => {
                let node = usize::from(node);
                let at = self.collapse.locals[state.nodes[node] as usize].timers[&timer].at;
                (node, LocalEvent::Timer(timer), at.max(state.now))
            }
            _ => return 0,
        };
        let step = self.collapse.step(state.nodes[node], what, now, CrashPlace::Never);
        self.collapse.steps[step as usize].sent.len().min(254) as u8
    }

    /// The state after a move.
    pub(super) fn apply(&mut self, state: &WorldState, what: Move) -> MoveOutcome {
        let mut next = state.clone();
        match what {
            Move::Deliver { frame, duplicate, crash } => {
                if duplicate {
                    spend(&mut next.budget.duplicates);
                } else {
                    next.remove_in_flight(frame);
                }
                if self.is_received(state, frame) {
                    let to = self.collapse.frames[frame as usize].to.index();
                    return self.take_step(next, to, LocalEvent::Frame(frame), crash);
                }
            }
            Move::Drop { frame } => {
                spend(&mut next.budget.drops);
                next.remove_in_flight(frame);
            }
            Move::Write { node, crash } => {
                let node = usize::from(node);
                let at = state.writes_done[node];
                next.writes_done[node] += 1;
                return self.take_step(next, node, LocalEvent::Write(at), crash);
            }
            Move::Timer { node, timer, early, crash } => {
                let node = usize::from(node);
                let timer_set = self.collapse.locals[state.nodes[node] as usize].timers[&timer];
                if early {
                    spend(&mut next.budget.early);
                }
                let ticks = u8::from(is_limited::<A>(timer, timer_set.housekeeping));
                next.ticks[node] = next.ticks[node].saturating_add(ticks);
                next.now = timer_set.at.max(state.now);
                return self.take_step(next, node, LocalEvent::Timer(timer), crash);
            }
            Move::Crash { node } => {
                spend(&mut next.budget.crashes);
                return self.take_step(next, usize::from(node), LocalEvent::Crash, CrashPlace::Never);
            }
            Move::Restart { node } => {
                let node = usize::from(node);
                let outcome = self.take_step(next, node, LocalEvent::Restart, CrashPlace::Never);
                return self.spread_name(outcome, node);
            }
            Move::BackUp { node } => {
                let node = usize::from(node);
                next.backups[node] = Some(state.nodes[node]);
            }
            Move::ReplaceDisk { node, by } => return self.replace_disk(next, usize::from(node), by),
            Move::Cut { nodes } => {
                spend(&mut next.budget.partitions);
                next.cuts.push(nodes);
                next.cuts.sort_unstable();
            }
            Move::Repair { nodes } => next.cuts.retain(|cut| *cut != nodes),
        }
        MoveOutcome { state: next, step: None, violation: None }
    }

    fn replace_disk(&mut self, mut next: WorldState, node: usize, by: DiskSource) -> MoveOutcome {
        spend(&mut next.budget.disks);
        let source = match by {
            DiskSource::Backup => {
                let backup = next.backups[node];
                assert!(backup.is_some(), "a backup is restored only if there is one");
                backup
            }
            DiskSource::Node(other) => Some(next.nodes[usize::from(other)]),
            DiskSource::Nothing => None,
        };
        if next.budget.disks == 0 {
            // Backups that nobody can restore any more do not distinguish states.
            next.backups.fill(None);
        }
        let mut outcome = self.take_step(next, node, LocalEvent::ReplaceDisk(source), CrashPlace::Never);
        let mut invariants = self.invariants[outcome.state.invariants as usize].clone();
        let found = invariants.on_disk_replaced(NodeId(node as u32), &self.actors(&outcome.state));
        outcome.violation = outcome.violation.or(found);
        outcome.state.invariants = self.intern_invariants(invariants);
        outcome
    }

    /// Has all other nodes learn the name of a node that has restarted, if it is a new one.
    fn spread_name(&mut self, mut outcome: MoveOutcome, node: usize) -> MoveOutcome {
        let Some(step) = outcome.step else { unreachable!("a restart is a step") };
        let local = |id: LocalId| &self.collapse.locals[id as usize];
        let LocalStep { before, after, .. } = self.collapse.steps[step as usize];
        if !local(after).actor.has_new_name(&local(before).actor) {
            return outcome;
        }
        for other in (0..outcome.state.nodes.len()).filter(|other| *other != node) {
            let event = LocalEvent::LearnName(after);
            let now = outcome.state.now;
            let id = self.collapse.step(outcome.state.nodes[other], event, now, CrashPlace::Never);
            let learned = self.collapse.steps[id as usize].after;
            outcome.state.nodes[other] = learned;
            let violation = &self.collapse.locals[learned as usize].violation;
            outcome.violation = outcome.violation.or_else(|| violation.clone());
        }
        outcome
    }

    /// Has a node take a step: replaces its state, puts its frames in flight and checks the invariants.
    pub(super) fn take_step(
        &mut self,
        mut next: WorldState,
        node: usize,
        what: LocalEvent,
        crash: CrashPlace,
    ) -> MoveOutcome {
        if crash != CrashPlace::Never {
            spend(&mut next.budget.crashes);
        }
        let id = self.collapse.step(next.nodes[node], what, next.now, crash);
        let step = &self.collapse.steps[id as usize];
        next.nodes[node] = step.after;
        for &frame in &step.sent {
            let link = self.collapse.frames[frame as usize].link();
            // A frame that is sent into a cut is lost at once: it need not be in flight for that.
            if next.is_cut(link.0 as usize, link.1 as usize) {
                continue;
            }
            // With in-order delivery a frame joins the end of its link's queue. Otherwise frames in flight are a
            // multiset, in sorted order, so that equal multisets have equal hashes.
            let order = |own: &FrameId| (self.collapse.frames[*own as usize].link(), *own);
            let at = if self.scope.fifo {
                next.in_flight.partition_point(|own| order(own).0 <= link)
            } else {
                next.in_flight.partition_point(|own| order(own) <= (link, frame))
            };
            next.in_flight.insert(at, frame);
        }
        let violation = self.collapse.locals[step.after as usize].violation.clone();
        let observed = self.observe(&next, id);
        let violation = violation.or_else(|| observed.as_ref().err().map(|check| Check::clone(check)));
        next.invariants = observed.unwrap_or(next.invariants);
        MoveOutcome { state: next, step: Some(id), violation }
    }

    /// What the invariants remember after a step, or the violation in it.
    fn observe(&mut self, next: &WorldState, id: StepId) -> Result<u32, Box<Check>> {
        let step = &self.collapse.steps[id as usize];
        let local = |id: u32| &self.collapse.locals[id as usize];
        let before = local(step.before);
        let after = local(step.after);
        let went_down = before.up && !after.up;
        let notable = self.invariants[next.invariants as usize].notable_frame();
        let sends_notable =
            step.sent.iter().any(|frame| self.collapse.frames[*frame as usize].bytes.len() > notable);
        let reports = !step.notices.is_empty() || step.refused.is_some() || step.stale || sends_notable;
        let idle = !reports && !went_down;
        // Most steps show the invariants nothing new, and need no call.
        if idle && before.digest == after.digest {
            return Ok(next.invariants);
        }
        let digests: Vec<Digest> = next.nodes.iter().map(|id| local(*id).digest).collect();
        self.scratch.number(u64::from(next.invariants) << 32 | u64::from(id));
        digests.iter().for_each(|digest| self.scratch.bytes(&digest.0));
        if self.invariants[next.invariants as usize].reads_states(&step.notices) {
            next.nodes.iter().for_each(|id| self.scratch.number(u64::from(*id)));
        }
        let key = self.scratch.finish();
        if let Some(known) = self.observed.find(key) {
            return self.observations[known as usize].clone();
        }
        let mut invariants = self.invariants[next.invariants as usize].clone();
        let actors: Vec<&A> = next.nodes.iter().map(|id| &local(*id).actor).collect();
        let violation = invariants.observe(&self.observed_step(id, &digests, &actors));
        let result =
            violation.map_or_else(|| Ok(self.intern_invariants(invariants)), |check| Err(Box::new(check)));
        self.observed.insert(key, self.observations.len() as u32);
        self.observations.push(result.clone());
        result
    }

    /// A step as the invariants see it, with the digests and the nodes after it.
    pub(super) fn observed_step<'a>(
        &'a self,
        id: StepId,
        digests: &'a [Digest],
        actors: &'a [&'a A],
    ) -> ObservedStep<'a, A> {
        let step = &self.collapse.steps[id as usize];
        let local = |id: u32| &self.collapse.locals[id as usize];
        let frame = |id: &FrameId| &self.collapse.frames[*id as usize];
        let sizes = step.sent.iter().map(frame).map(|frame| FrameSize {
            to: frame.to,
            kind: frame.kind,
            bytes: frame.bytes.len(),
        });
        ObservedStep {
            node: local(step.after).node,
            notices: &step.notices,
            frame: step.frame.as_ref().map(frame).map(|frame| (frame.from, frame.kind)),
            refused: step.refused,
            largest_sent: FrameSize::largest(sizes),
            stale_accepted: step.stale,
            went_down: local(step.before).up && !local(step.after).up,
            before: local(step.before).digest,
            digests,
            actors,
        }
    }

    /// The number of what the invariants remember.
    pub(super) fn intern_invariants(&mut self, invariants: I) -> u32 {
        invariants.write_state(&mut self.scratch);
        let digest = self.scratch.finish();
        self.invariants_ids.find(digest).unwrap_or_else(|| {
            let id = self.invariants.len() as u32;
            self.invariants_ids.insert(digest, id);
            self.invariants.push(invariants);
            id
        })
    }

    /// Whether nothing is pending (**C1** to **C4**).
    pub(super) fn is_quiet(&self, state: &WorldState) -> bool {
        let local = |id: &u32| &self.collapse.locals[*id as usize];
        state.cuts.is_empty()
            && state.in_flight.iter().all(|frame| self.collapse.frames[*frame as usize].housekeeping)
            && state.nodes.iter().all(|id| local(id).is_quiet())
    }

    /// Whether nothing is pending and all digests are equal (**C1** to **C5**).
    pub(super) fn is_settled(&self, state: &WorldState) -> bool {
        let mut digests = state.nodes.iter().map(|id| self.collapse.locals[*id as usize].digest);
        let first = digests.next();
        self.is_quiet(state) && digests.all(|digest| Some(digest) == first)
    }

    /// The invariant that a state as a whole violates, if any. Each combination of memory, `settled`, and what is
    /// judged of the nodes is judged once.
    pub(super) fn judge(&mut self, state: &WorldState) -> Option<Check> {
        let settled = self.is_settled(state);
        self.scratch.number(u64::from(state.invariants) << 1 | u64::from(settled));
        for id in &state.nodes {
            self.scratch.bytes(&self.collapse.locals[*id as usize].judged.to_le_bytes());
        }
        let key = self.scratch.finish();
        if let Some(known) = self.judged.find(key) {
            return self.judgements[known as usize].clone();
        }
        let actors = self.actors(state);
        let judgement = self.invariants[state.invariants as usize].judge(&actors, settled);
        self.judged.insert(key, self.judgements.len() as u32);
        self.judgements.push(judgement.clone());
        judgement
    }
}
