//! A counterexample in words.

use crate::explore::Explorable;
use crate::explore::collapse::{Halt, Happening, Step};
use crate::explore::invariants::Watch;
use crate::explore::search::Explorer;
use crate::explore::state::{FrameId, State, StepId};
use crate::explore::transitions::Move;
use sync_sim_engine::node_id::NodeId;

/// Frames as a person follows them: numbered in the order of sending.
#[derive(Default)]
struct Numbered {
    on_their_way: Vec<(FrameId, usize)>,
    sent: usize,
}

impl Numbered {
    fn send(&mut self, frame: FrameId) -> usize {
        self.sent += 1;
        self.on_their_way.push((frame, self.sent));
        self.sent
    }

    fn find(&self, frame: FrameId) -> Option<usize> {
        self.on_their_way.iter().position(|(own, _)| *own == frame)
    }

    fn number(&self, frame: FrameId) -> usize {
        self.find(frame).map_or(0, |at| self.on_their_way[at].1)
    }

    fn take_off(&mut self, frame: FrameId) {
        if let Some(at) = self.find(frame) {
            self.on_their_way.remove(at);
        }
    }
}

impl<A: Explorable, W: Watch<A>> Explorer<A, W> {
    /// What happens along a way, and in the fair run that follows, a line for each move.
    pub(super) fn story(&mut self, way: &[Move], fair: &[Move]) -> Vec<String> {
        let (mut state, mut numbered, mut lines) = (self.start.clone(), Numbered::default(), Vec::new());
        for node in 0..state.nodes.len() {
            let moved = self.take(state.clone(), node, Happening::Restart, Halt::Never);
            self.note_sent(&state, moved.step, &mut numbered);
            state = moved.state;
        }
        for (at, what) in way.iter().chain(fair).enumerate() {
            if at == way.len() {
                lines.push("(from here on nothing goes wrong)".to_owned());
            }
            let moved = self.moved(&state, *what);
            let mut line = self.words_of(&state, *what, &numbered);
            if let Some(step) = moved.step {
                line += &self.words_of_step(step);
            }
            if let Move::Deliver { frame, keep: false, .. } | Move::Drop { frame } = *what {
                numbered.take_off(frame);
            }
            line += &self.note_sent(&state, moved.step, &mut numbered);
            lines.push(line);
            state = moved.state;
        }
        lines
    }

    fn name(&self, node: usize) -> &str {
        self.names.get(node).map_or("?", String::as_str)
    }

    fn frame(&self, frame: FrameId, numbered: &Numbered) -> String {
        let sent = &self.collapse.frames[frame as usize];
        let (from, to) = (self.name(sent.from.index()), self.name(sent.to.index()));
        format!("frame {} {from}→{to} ({})", numbered.number(frame), A::words_of_frame(sent.kind))
    }

    fn words_of(&self, state: &State, what: Move, numbered: &Numbered) -> String {
        let halted = |node: usize, halt| match halt {
            Halt::Never => String::new(),
            Halt::Uncommitted => format!("; {} crashes before its commit", self.name(node)),
            Halt::Sent(0) => format!("; {} crashes after its commit, before any frame", self.name(node)),
            Halt::Sent(sent) => format!("; {} crashes after {sent} of its frames", self.name(node)),
        };
        match what {
            Move::Deliver { frame, keep, halt } => {
                let sent = &self.collapse.frames[frame as usize];
                let (from, to) = (sent.from.index(), sent.to.index());
                let mut words = self.frame(frame, numbered);
                words += match (self.is_up(state, to), state.is_cut(from, to), keep) {
                    (false, ..) => " finds its receiver down",
                    (_, true, _) => " is lost at the cut",
                    (_, _, true) => " is doubled; one copy is delivered",
                    _ => " is delivered",
                };
                words + &halted(to, halt)
            }
            Move::Drop { frame } => format!("{} is lost", self.frame(frame, numbered)),
            Move::Write { node, halt } => {
                let node = usize::from(node);
                let at = usize::from(state.written[node]);
                let words = self.written[node].get(at).map_or("writes", String::as_str);
                format!("{} {words}{}", self.name(node), halted(node, halt))
            }
            Move::Timer { node, timer, early, halt } => {
                let node = usize::from(node);
                let at = self.collapse.locals[state.nodes[node] as usize].timers[&timer].at.max(state.now);
                let early = if early { " before what is on its way arrives" } else { "" };
                let timer = A::words_of_timer(timer);
                format!("{}'s timer {timer} runs out at {at}{early}{}", self.name(node), halted(node, halt))
            }
            Move::Crash { node } => format!("{} crashes", self.name(node.into())),
            Move::Restart { node } => format!("{} comes back", self.name(node.into())),
            Move::Cut { nodes: (a, b) } => {
                format!("the link between {} and {} is cut", self.name(a.into()), self.name(b.into()))
            }
            Move::Mend { nodes: (a, b) } => {
                format!("the link between {} and {} is mended", self.name(a.into()), self.name(b.into()))
            }
        }
    }

    fn words_of_step(&self, step: StepId) -> String {
        let Step { refused, notices, .. } = &self.collapse.steps[step as usize];
        let refused = refused.map(|cause| format!(" and has no effect: {}", cause.words()));
        let notices = notices.iter().filter_map(A::words_of_notice).map(|words| format!("; {words}"));
        refused.into_iter().chain(notices).collect()
    }

    /// Numbers the frames of a step and says so.
    fn note_sent(&self, before: &State, step: Option<StepId>, numbered: &mut Numbered) -> String {
        let Some(step) = step else { return String::new() };
        let mut words = String::new();
        for &frame in &self.collapse.steps[step as usize].sent {
            let sent = &self.collapse.frames[frame as usize];
            let NodeId(to) = sent.to;
            if before.is_cut(sent.from.index(), sent.to.index()) {
                words += &format!("; a frame to {} is lost at the cut", self.name(to as usize));
                continue;
            }
            let number = numbered.send(frame);
            let kind = A::words_of_frame(sent.kind);
            words += &format!("; frame {number} ({kind}) goes to {}", self.name(to as usize));
        }
        words
    }
}
