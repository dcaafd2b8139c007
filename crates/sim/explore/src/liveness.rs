//! The liveness check: once no more faults occur, all nodes converge.
//!
//! Liveness ("something good happens eventually": Alpern and Schneider, *Defining liveness*, 1985) holds only
//! under a fairness assumption. The continuation that is checked here is fair by construction: every node that
//! is down restarts, every cut is repaired, every frame in flight arrives and every timer fires at its deadline.
//! MaceMC (Killian, Anderson, Jhala and Vahdat, NSDI 2007) finds liveness bugs in the same way, with random
//! walks instead of one deterministic continuation.

use crate::Explorable;
use crate::collapse::CrashPlace;
use crate::invariants::{FairRun, Invariants};
use crate::report::Defect;
use crate::search::{Explorer, LocatedDefect};
use crate::state::{FaultBudget, LocalId, WorldState};
use crate::transitions::Move;
use sync_sim_cluster::checks::ProgressWatch;
use sync_sim_engine::actor::Unfinished;
use syncline_types::Digest;

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
        let mut watch = ProgressWatch::default();
        let mut fair = FairRun { now: from.now, ..FairRun::default() };
        watch.restart(fair.progress, fair.now, fair.now);
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
                break Some(self.stuck(&state));
            };
            assert!(!next.is_fault(), "a fair continuation has no faults");
            moves.push(next);
            let outcome = self.apply(&state, next);
            if let Some(check) = outcome.violation {
                break Some(Defect::Violation(check));
            }
            let digests = |state: &WorldState| state.nodes.iter().map(|id| self.digest(*id)).collect();
            let before: Vec<Digest> = digests(&state);
            let after: Vec<Digest> = digests(&outcome.state);
            fair.now = outcome.state.now;
            fair.progress.outside += u64::from(next.is_from_outside());
            fair.progress.changes += u64::from(before != after);
            fair.is_undisturbed = self.next_from_outside(&outcome.state).is_none();
            fair.is_quiet = self.is_quiet(&outcome.state);
            if let Some(step) = outcome.step {
                let invariants = &self.invariants[outcome.state.invariants as usize];
                let actors = self.actors(&outcome.state);
                let step = self.observed_step(step, &after, &actors);
                if let Some(check) = invariants.observe_fair(&mut watch, &step, &fair) {
                    break Some(Defect::Violation(check));
                }
            }
            // Housekeeping is unlimited here: convergence may depend on timers that recur.
            state = WorldState { ticks: vec![0; state.ticks.len()], ..outcome.state };
            if state.now > deadline || path.len() > MAX_MOVES {
                break Some(self.stuck(&state));
            }
        };
        if defect.is_none() {
            for digest in path {
                self.converging.insert(digest, 0);
            }
        }
        defect.map(|defect| LocatedDefect::after(moves, defect))
    }

    /// The defect of a continuation that does not converge.
    fn stuck(&self, state: &WorldState) -> Defect {
        let pending = self.describe_pending(state);
        let invariants = &self.invariants[state.invariants as usize];
        let explained = invariants.explain_stuck(&self.actors(state), &pending);
        explained.map_or_else(|| Defect::NotConverging(pending), Defect::Violation)
    }

    fn digest(&self, id: LocalId) -> Digest {
        self.collapse.locals[id as usize].digest
    }

    /// All nodes in a state.
    pub(super) fn actors(&self, state: &WorldState) -> Vec<&A> {
        state.nodes.iter().map(|id| &self.collapse.locals[*id as usize].actor).collect()
    }

    /// Whether every planned write was made.
    pub(super) fn is_written(&self, state: &WorldState) -> bool {
        state.writes_done.iter().zip(&self.planned).all(|(done, all)| usize::from(*done) == all.len())
    }

    /// The next move of a fair run that does not come from the nodes themselves: a restart, a repair or a write.
    fn next_from_outside(&self, state: &WorldState) -> Option<Move> {
        if let Some(node) = (0..state.nodes.len()).find(|node| !self.is_up(state, *node)) {
            return Some(Move::Restart { node: node as u8 });
        }
        if let Some(nodes) = state.cuts.first() {
            return Some(Move::Repair { nodes: *nodes });
        }
        let has_writes = |node: &usize| usize::from(state.writes_done[*node]) < self.planned[*node].len();
        let node = (0..state.nodes.len()).find(has_writes)?;
        Some(Move::Write { node: node as u8, crash: CrashPlace::Never })
    }

    /// The next move of a fair run; `None` if no timer is set and nothing else is left.
    fn next_fair(&self, state: &WorldState) -> Option<Move> {
        let crash = CrashPlace::Never;
        let outside = self.next_from_outside(state);
        let is_write = matches!(outside, Some(Move::Write { .. }));
        if outside.is_some() && !is_write {
            return outside;
        }
        // Frames before timers, as in the search: the network is faster than timers.
        if let Some(frame) = state.in_flight.first() {
            return Some(Move::Deliver { frame: *frame, duplicate: false, crash });
        }
        if is_write {
            return outside;
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
