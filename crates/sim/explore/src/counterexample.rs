//! A path of the search, in words.

use crate::Explorable;
use crate::collapse::{CrashPlace, LocalEvent, LocalStep};
use crate::invariants::Invariants;
use crate::search::Explorer;
use crate::state::{FrameId, StepId, WorldState};
use crate::transitions::{DiskSource, Move};
use sync_sim_engine::node_id::NodeId;

/// The frames in flight, numbered in the order of sending. An interned frame has one id however often it is
/// sent; a reader needs a number for each copy.
#[derive(Default)]
struct NumberedFrames {
    in_flight: Vec<(FrameId, usize)>,
    sent: usize,
}

impl NumberedFrames {
    /// The number of a frame that is sent now.
    fn send(&mut self, frame: FrameId) -> usize {
        self.sent += 1;
        self.in_flight.push((frame, self.sent));
        self.sent
    }

    fn position(&self, frame: FrameId) -> usize {
        let at = self.in_flight.iter().position(|(own, _)| *own == frame);
        at.expect("a frame that arrives or is lost was sent on this path")
    }

    fn number(&self, frame: FrameId) -> usize {
        self.in_flight[self.position(frame)].1
    }

    fn remove(&mut self, frame: FrameId) {
        let at = self.position(frame);
        self.in_flight.remove(at);
    }
}

impl<A: Explorable, I: Invariants<A>> Explorer<A, I> {
    /// One line for each move of a path, and of the continuation without faults that follows it.
    ///
    /// The search stores moves only. The states in between are computed again, by lookups.
    pub(super) fn describe_path(&mut self, path: &[Move], continuation: &[Move]) -> Vec<String> {
        let mut state = self.start.clone();
        let mut frames = NumberedFrames::default();
        let mut lines = Vec::new();
        for node in 0..state.nodes.len() {
            let outcome = self.take_step(state.clone(), node, LocalEvent::Restart, CrashPlace::Never);
            self.number_sent(&state, outcome.step, &mut frames);
            state = outcome.state;
        }
        for (at, what) in path.iter().chain(continuation).enumerate() {
            if at == path.len() {
                lines.push("(no more faults from here on)".to_owned());
            }
            let outcome = self.apply(&state, *what);
            let mut line = self.describe_move(&state, *what, &frames);
            if let Some(step) = outcome.step {
                line += &self.describe_step(step);
            }
            if let Move::Deliver { frame, duplicate: false, .. } | Move::Drop { frame } = *what {
                frames.remove(frame);
            }
            line += &self.number_sent(&state, outcome.step, &mut frames);
            lines.push(line);
            state = outcome.state;
        }
        lines
    }

    fn name(&self, node: usize) -> &str {
        &self.names[node]
    }

    fn describe_frame(&self, frame: FrameId, frames: &NumberedFrames) -> String {
        let sent = &self.collapse.frames[frame as usize];
        let from = self.name(sent.from.index());
        let to = self.name(sent.to.index());
        format!("frame {} {from}→{to} ({})", frames.number(frame), A::describe_frame(sent.kind))
    }

    fn describe_move(&self, state: &WorldState, what: Move, frames: &NumberedFrames) -> String {
        let crashed = |node: usize, crash| match crash {
            CrashPlace::Never => String::new(),
            CrashPlace::BeforeCommit => format!("; {} crashes before its commit", self.name(node)),
            CrashPlace::AfterFrames(0) => {
                format!("; {} crashes after its commit, before any frame", self.name(node))
            }
            CrashPlace::AfterFrames(sent) => {
                format!("; {} crashes after {sent} of its frames", self.name(node))
            }
        };
        match what {
            Move::Deliver { frame, duplicate, crash } => {
                let sent = &self.collapse.frames[frame as usize];
                let to = sent.to.index();
                let is_cut = state.is_cut(sent.from.index(), to);
                let mut words = self.describe_frame(frame, frames);
                words += match (self.is_up(state, to), is_cut, duplicate) {
                    (false, ..) => " finds its receiver down",
                    (_, true, _) => " is lost at the cut",
                    (_, _, true) => " is duplicated; one copy is delivered",
                    _ => " is delivered",
                };
                words + &crashed(to, crash)
            }
            Move::Drop { frame } => format!("{} is lost", self.describe_frame(frame, frames)),
            Move::Write { node, crash } => {
                let node = usize::from(node);
                let words = &self.planned[node][usize::from(state.writes_done[node])];
                format!("{} {words}{}", self.name(node), crashed(node, crash))
            }
            Move::Timer { node, timer, early, crash } => {
                let node = usize::from(node);
                let at = self.collapse.locals[state.nodes[node] as usize].timers[&timer].at.max(state.now);
                let early = if early { " before the frames in flight arrive" } else { "" };
                let timer = A::describe_timer(timer);
                format!("{}'s timer {timer} fires at {at}{early}{}", self.name(node), crashed(node, crash))
            }
            Move::Crash { node } => format!("{} crashes", self.name(node.into())),
            Move::Restart { node } => format!("{} restarts", self.name(node.into())),
            Move::BackUp { node } => format!("the disk of {} is backed up", self.name(node.into())),
            Move::ReplaceDisk { node, by } => {
                let node = self.name(node.into());
                match by {
                    DiskSource::Backup => {
                        format!("{node} goes down and its disk is restored from the backup")
                    }
                    DiskSource::Node(other) => {
                        format!("{node} goes down and gets a copy of the disk of {}", self.name(other.into()))
                    }
                    DiskSource::Nothing => format!("{node} goes down and loses its disk"),
                }
            }
            Move::Cut { nodes: (a, b) } => {
                format!("the link between {} and {} is cut", self.name(a.into()), self.name(b.into()))
            }
            Move::Repair { nodes: (a, b) } => {
                format!("the link between {} and {} is repaired", self.name(a.into()), self.name(b.into()))
            }
        }
    }

    fn describe_step(&self, step: StepId) -> String {
        let LocalStep { refused, notices, .. } = &self.collapse.steps[step as usize];
        let refused = refused.map(|cause| format!(" and has no effect: {}", cause.words()));
        let notices = notices.iter().filter_map(A::describe_notice).map(|words| format!("; {words}"));
        refused.into_iter().chain(notices).collect()
    }

    /// Numbers the frames of a step and describes them.
    fn number_sent(&self, before: &WorldState, step: Option<StepId>, frames: &mut NumberedFrames) -> String {
        // A move without a step, such as a cut, sends nothing.
        let Some(step) = step else { return String::new() };
        let mut words = String::new();
        for &frame in &self.collapse.steps[step as usize].sent {
            let sent = &self.collapse.frames[frame as usize];
            let NodeId(to) = sent.to;
            if before.is_cut(sent.from.index(), sent.to.index()) {
                words += &format!("; a frame to {} is lost at the cut", self.name(to as usize));
                continue;
            }
            let number = frames.send(frame);
            let kind = A::describe_frame(sent.kind);
            words += &format!("; frame {number} ({kind}) goes to {}", self.name(to as usize));
        }
        words
    }
}
