//! The liveness check: once no more faults occur, all nodes converge.
//!
//! Liveness ("something good happens eventually": Alpern and Schneider, *Defining liveness*, 1985) holds only
//! under a fairness assumption. The continuation that is checked here is fair by construction: every node that
//! is down restarts, every cut is repaired, every frame in flight arrives and every timer fires at its deadline.
//! MaceMC (Killian, Anderson, Jhala and Vahdat, NSDI 2007) finds liveness bugs in the same way, with random
//! walks instead of one deterministic continuation.

use crate::Explorable;
use crate::collapse::CrashPlace;
use crate::invariants::Invariants;
use crate::report::Defect;
use crate::search::{Explorer, LocatedDefect};
use crate::state::{FaultBudget, WorldState};
use crate::transitions::Move;
use sync_sim_engine::actor::Unfinished;

/// The number of moves after which a continuation counts as one that never converges. It bounds a livelock in
/// which the time does not advance.
const MAX_MOVES: usize = 100_000;

impl<A: Explorable, I: Invariants<A>> Explorer<A, I> {
    /// Continues a state without faults until all nodes have converged. Returns the defect if they do not
    /// within [`Scope::patience`](super::Scope::patience), or if the continuation violates an invariant.
    pub(super) fn check_convergence(&mut self, from: &WorldState) -> Option<LocatedDefect> {
        let mut state = from.clone();
        state.budget = FaultBudget::default();
        state.ticks.fill(0);
        let mut path = Vec::new();
        let mut moves = Vec::new();
        let deadline = from.now + self.scope.patience;
        let defect = loop {
            // The continuation of a state is a function of the state. One that joins a path that is known to
            // converge therefore converges too.
            let digest = state.digest(&mut self.scratch);
            if self.converging.find(digest).is_some() {
                break None;
            }
            path.push(digest);
            if self.is_settled(&state) && self.is_written(&state) {
                break self.judge(&state).map(Defect::Violation);
            }
            let Some(next) = self.next_fair(&state) else {
                break Some(Defect::NotConverging(self.describe_pending(&state)));
            };
            assert!(!next.is_fault(), "a fair continuation has no faults");
            moves.push(next);
            let outcome = self.apply(&state, next);
            if let Some(check) = outcome.violation {
                break Some(Defect::Violation(check));
            }
            // Housekeeping is unlimited here: convergence may depend on timers that recur.
            state = WorldState { ticks: vec![0; state.ticks.len()], ..outcome.state };
            if state.now > deadline || path.len() > MAX_MOVES {
                break Some(Defect::NotConverging(self.describe_pending(&state)));
            }
        };
        if defect.is_none() {
            for digest in path {
                self.converging.insert(digest, 0);
            }
        }
        defect.map(|defect| LocatedDefect::after(moves, defect))
    }

    /// Whether every planned write was made.
    pub(super) fn is_written(&self, state: &WorldState) -> bool {
        state.writes_done.iter().zip(&self.planned).all(|(done, all)| usize::from(*done) == all.len())
    }

    /// The next move of a fair run; `None` if no timer is set and nothing else is left.
    fn next_fair(&self, state: &WorldState) -> Option<Move> {
        let crash = CrashPlace::Never;
        if let Some(node) = (0..state.nodes.len()).find(|node| !self.is_up(state, *node)) {
            return Some(Move::Restart { node: node as u8 });
        }
        if let Some(nodes) = state.cuts.first() {
            return Some(Move::Repair { nodes: *nodes });
        }
        // Frames before timers, as in the search: the network is faster than timers.
        if let Some(frame) = state.in_flight.first() {
            return Some(Move::Deliver { frame: *frame, duplicate: false, crash });
        }
        let has_writes = |node: &usize| usize::from(state.writes_done[*node]) < self.planned[*node].len();
        if let Some(node) = (0..state.nodes.len()).find(has_writes) {
            return Some(Move::Write { node: node as u8, crash });
        }
        let (_, node, timer) = self.next_timers(state, true).into_iter().min()?;
        Some(Move::Timer { node, timer, early: false, crash })
    }

    /// What is pending on each node, in words.
    fn describe_pending(&self, state: &WorldState) -> String {
        let mut words = Vec::new();
        for (name, id) in self.names.iter().zip(&state.nodes) {
            let local = &self.collapse.locals[*id as usize];
            let Unfinished { sessions, waiting } = local.unfinished;
            let timers = local.timers.values().filter(|timer| !timer.housekeeping).count();
            words.push(format!(
                "{name}: root {}, {sessions} sessions, {waiting} waiting, {timers} sync timers",
                local.digest
            ));
        }
        words.join("; ")
    }
}
