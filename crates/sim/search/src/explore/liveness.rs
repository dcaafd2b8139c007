//! How a run goes on once nothing goes wrong any more.

use crate::explore::Explorable;
use crate::explore::collapse::Halt;
use crate::explore::invariants::Watch;
use crate::explore::search::{Explorer, Finding, Found};
use crate::explore::state::{Budget, State};
use crate::explore::transitions::Move;
use sync_sim_engine::actor::Unfinished;

/// Moves after which a continuation that has not converged is given up.
const ENDLESS: usize = 100_000;

impl<A: Explorable, W: Watch<A>> Explorer<A, W> {
    /// Goes on without faults, every frame arriving and every timer running out in its time, until all have
    /// converged. Gives what is wrong if they do not within the patience of the scope. What is known to
    /// converge is not run again.
    pub(super) fn continued(&mut self, from: &State) -> Option<Finding> {
        let mut state = from.clone();
        state.left = Budget::default();
        state.ticks.fill(0);
        let (mut path, mut moves) = (Vec::new(), Vec::new());
        let patience = from.now + self.scope.patience;
        let found = loop {
            let digest = state.digest(&mut self.scratch);
            if self.converging.find(digest).is_some() {
                break None;
            }
            path.push(digest);
            if self.is_settled(&state) && self.is_written(&state) {
                break self.judged(&state).map(Found::Broken);
            }
            let Some(next) = self.next_fair(&state) else { break Some(Found::Stuck(self.owed(&state))) };
            moves.push(next);
            let moved = self.moved(&state, next);
            if let Some(check) = moved.broken {
                break Some(Found::Broken(check));
            }
            state = State { ticks: vec![0; state.ticks.len()], ..moved.state };
            if state.now > patience || path.len() > ENDLESS {
                break Some(Found::Stuck(self.owed(&state)));
            }
        };
        if found.is_none() {
            for digest in path {
                self.converging.insert(digest, 0);
            }
        }
        found.map(|found| Finding::after(moves, found))
    }

    /// Whether every write was made.
    pub(super) fn is_written(&self, state: &State) -> bool {
        state.written.iter().zip(&self.written).all(|(done, all)| usize::from(*done) == all.len())
    }

    fn next_fair(&self, state: &State) -> Option<Move> {
        let halt = Halt::Never;
        if let Some(node) = (0..state.nodes.len()).find(|node| !self.is_up(state, *node)) {
            return Some(Move::Restart { node: node as u8 });
        }
        if let Some(nodes) = state.cuts.first() {
            return Some(Move::Mend { nodes: *nodes });
        }
        if let Some(frame) = state.flight.first() {
            return Some(Move::Deliver { frame: *frame, keep: false, halt });
        }
        let writes = |node: &usize| usize::from(state.written[*node]) < self.written[*node].len();
        if let Some(node) = (0..state.nodes.len()).find(writes) {
            return Some(Move::Write { node: node as u8, halt });
        }
        let (_, node, timer) = self.next_timers(state, true).into_iter().min()?;
        Some(Move::Timer { node, timer, early: false, halt })
    }

    /// What is unfinished, in words.
    fn owed(&self, state: &State) -> String {
        let mut words = Vec::new();
        for (name, id) in self.names.iter().zip(&state.nodes) {
            let local = &self.collapse.locals[*id as usize];
            let Unfinished { sessions, waiting } = local.unfinished;
            let timers = local.timers.values().filter(|armed| !armed.housekeeping).count();
            words.push(format!(
                "{name}: root {}, {sessions} sessions, {waiting} waiting, {timers} sync timers",
                local.digest
            ));
        }
        words.join("; ")
    }
}
