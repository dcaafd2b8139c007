//! The breadth-first search.

use crate::Explorable;
use crate::collapse::{Collapse, CrashPlace, LocalEvent};
use crate::invariants::Invariants;
use crate::report::{Counterexample, Defect, SearchProgress, SearchReport, StopCause};
use crate::scope::Scope;
use crate::state::{FaultBudget, WorldState};
use crate::state_hash::{HashIndex, StateHasher};
use crate::transitions::Move;
use sync_sim_cluster::verdict::Check;
use sync_sim_engine::node_id::NodeId;
use syncline_types::SimTime;

/// A write that an application will make.
#[derive(Clone, Debug)]
pub struct ExploredWrite<Op> {
    /// The operation that the node is asked for.
    pub op: Op,
    /// The operation in words, to follow the name of the node: `sets the title to "a"`.
    pub words: String,
}

/// Explores a scope: see the [module](super).
pub struct Explorer<A: Explorable, I> {
    pub(super) scope: Scope,
    pub(super) names: Vec<String>,
    /// The planned writes in words, by node.
    pub(super) planned: Vec<Vec<String>>,
    pub(super) collapse: Collapse<A>,
    /// The distinct values of the invariants' memory, by number.
    pub(super) invariants: Vec<I>,
    pub(super) invariants_ids: HashIndex,
    /// The results of [`Invariants::observe`], by the hash of its arguments.
    pub(super) observed: HashIndex,
    pub(super) observations: Vec<Result<u32, Box<Check>>>,
    /// The results of [`Invariants::judge`], by the hash of its arguments.
    pub(super) judged: HashIndex,
    pub(super) judgements: Vec<Option<Check>>,
    /// States from which the liveness check is known to succeed.
    pub(super) converging: HashIndex,
    pub(super) scratch: StateHasher,
    pub(super) start: WorldState,
}

/// The search in progress.
#[derive(Default)]
struct SearchState {
    visited: HashIndex,
    /// For each state, by number: the state from which it was reached first, and the move that led to it.
    /// Breadth-first order makes the chain of these a shortest path.
    reached_by: Vec<(u32, Move)>,
    outcomes: HashIndex,
    moves: u64,
    ends: u64,
    outcome_count: u64,
}

/// A defect, and the path that shows it.
pub(super) struct LocatedDefect {
    /// The last visited state on the path, by its number.
    state: u32,
    /// The move from that state that shows the defect, if it is not in the state itself.
    last: Option<Move>,
    /// The moves of the liveness check that show it.
    continuation: Vec<Move>,
    defect: Defect,
}

impl LocatedDefect {
    pub(super) const fn here(defect: Defect) -> Self {
        Self { state: 0, last: None, continuation: Vec::new(), defect }
    }

    pub(super) fn after(continuation: Vec<Move>, defect: Defect) -> Self {
        Self { continuation, ..Self::here(defect) }
    }

    fn at(self, state: u32) -> Self {
        Self { state, ..self }
    }
}

/// The predecessor of the initial state, which has none.
const START: u32 = u32::MAX;
/// The number of moves that a report shows of a continuation that never converges.
const SHOWN_MOVES: usize = 40;
/// The number of states that are followed between two calls that report progress.
const PROGRESS_INTERVAL: usize = 64;

impl<A: Explorable, I: Invariants<A>> Explorer<A, I> {
    /// Prepares the exploration of some nodes, from before their start. All nodes are linked to each other.
    ///
    /// # Panics
    ///
    /// If there are more than 255 nodes.
    pub fn new(nodes: Vec<(String, A)>, invariants: I, scope: Scope) -> Self {
        assert!(nodes.len() <= 255, "{} nodes are more than can be explored", nodes.len());
        let names: Vec<String> = nodes.iter().map(|(name, _)| name.clone()).collect();
        let count = nodes.len();
        let mut collapse = Collapse::new(names.clone(), scope.verify_determinism);
        let added = (0..).map(NodeId).zip(nodes).map(|(node, (_, actor))| collapse.add_node(node, actor));
        let start = WorldState {
            now: SimTime::ZERO,
            nodes: added.collect(),
            in_flight: Vec::new(),
            invariants: 0,
            budget: FaultBudget::of(&scope),
            ticks: vec![0; count],
            writes_done: vec![0; count],
            cuts: Vec::new(),
            backups: vec![None; count],
        };
        let mut explorer = Self {
            scope,
            names,
            planned: vec![Vec::new(); count],
            collapse,
            invariants: Vec::new(),
            invariants_ids: HashIndex::default(),
            observed: HashIndex::default(),
            observations: Vec::new(),
            judged: HashIndex::default(),
            judgements: Vec::new(),
            converging: HashIndex::default(),
            scratch: StateHasher::default(),
            start,
        };
        explorer.start.invariants = explorer.intern_invariants(invariants);
        explorer
    }

    /// Plans a write of a node's application. It happens at any point after the node's earlier writes.
    ///
    /// # Panics
    ///
    /// If there is no such node, or it has 255 writes already.
    pub fn write(&mut self, node: NodeId, write: ExploredWrite<A::Op>) {
        let planned = &mut self.planned[node.index()];
        assert!(planned.len() < 255, "{node} has 255 writes, as many as a state can count");
        planned.push(write.words);
        self.collapse.plan_write(node, write.op);
    }

    /// Searches until no state is left, a defect is found, a bound of the scope is reached, or `go_on`
    /// returns `false`. `go_on` is called regularly with the progress. Memory is O(states), time O(states ×
    /// moves).
    pub fn run(&mut self, go_on: &mut dyn FnMut(&SearchProgress) -> bool) -> SearchReport {
        let mut search = SearchState::default();
        let mut depth = 0;
        let (start, mut found) = self.begin();
        let mut stop_cause = None;
        let digest = start.digest(&mut self.scratch);
        search.visited.insert(digest, 0);
        // The move of the initial state is never read: paths end at its predecessor.
        search.reached_by.push((START, Move::Restart { node: 0 }));
        if found.is_none() {
            found = self.check_new_state(&start, &mut search);
        }
        // Only one layer of full states is in memory; of all others, the hash and the predecessor are.
        let mut layer = vec![(0, start)];
        'search: while found.is_none() && !layer.is_empty() {
            if depth >= self.scope.depth {
                stop_cause = Some(StopCause::Depth);
                break;
            }
            let mut next = Vec::new();
            let waiting = layer.len();
            for (at, (id, state)) in layer.into_iter().enumerate() {
                if at % PROGRESS_INTERVAL == 0 {
                    let frontier = (waiting - at + next.len()) as u64;
                    if !go_on(&self.progress(&search, frontier, depth)) {
                        stop_cause = Some(StopCause::Stopped);
                        break 'search;
                    }
                }
                found = self.expand(id, &state, &mut search, &mut next);
                // Nondeterminism takes precedence: it makes every other finding unreliable.
                if let Some(step) = self.collapse.nondeterminism.take() {
                    found = Some(LocatedDefect::here(Defect::Nondeterminism(step)).at(id));
                }
                if found.is_some() {
                    break 'search;
                }
                if search.reached_by.len() >= self.scope.states as usize {
                    stop_cause = Some(StopCause::States);
                    break 'search;
                }
            }
            depth += u32::from(!next.is_empty());
            layer = next;
        }
        let stop_cause = if found.is_some() { Some(StopCause::Found) } else { stop_cause };
        let mut deepest = Vec::new();
        if found.is_none() {
            let last = search.reached_by.len() as u32 - 1;
            deepest = self.describe_path(&path_to(&search.reached_by, last, None), &[]);
        }
        let counterexample = found.map(|located| self.counterexample(&search, located));
        SearchReport {
            progress: self.progress(&search, 0, depth),
            locals: self.collapse.locals.len() as u64,
            frames: self.collapse.frames.len() as u64,
            ends: search.ends,
            outcomes: search.outcome_count,
            stop_cause,
            counterexample,
            deepest,
        }
    }

    fn counterexample(&mut self, search: &SearchState, located: LocatedDefect) -> Counterexample {
        let LocatedDefect { state, last, mut continuation, defect } = located;
        // A continuation that does not converge has no natural end.
        if matches!(defect, Defect::NotConverging(_)) {
            continuation.truncate(SHOWN_MOVES);
        }
        let mut steps = self.describe_path(&path_to(&search.reached_by, state, last), &continuation);
        steps.push(defect.to_string());
        Counterexample { defect, steps }
    }

    fn progress(&self, search: &SearchState, frontier: u64, depth: u32) -> SearchProgress {
        SearchProgress {
            states: search.reached_by.len() as u64,
            moves: search.moves,
            frontier,
            depth,
            steps: self.collapse.steps.len() as u64,
        }
    }

    /// Starts all nodes, one after the other.
    fn begin(&mut self) -> (WorldState, Option<LocatedDefect>) {
        let mut state = self.start.clone();
        let mut found = None;
        for node in 0..state.nodes.len() {
            let outcome = self.take_step(state, node, LocalEvent::Restart, CrashPlace::Never);
            state = outcome.state;
            if let Some(check) = outcome.violation {
                found.get_or_insert_with(|| LocatedDefect::here(Defect::Violation(check)));
            }
        }
        (state, found)
    }

    /// Makes every move from a state, and checks the states that were not visited before. Returns the first
    /// defect.
    fn expand(
        &mut self,
        id: u32,
        state: &WorldState,
        search: &mut SearchState,
        next: &mut Vec<(u32, WorldState)>,
    ) -> Option<LocatedDefect> {
        for what in self.moves(state) {
            search.moves += 1;
            let outcome = self.apply(state, what);
            // A violation belongs to the move, not to the state that it leads to: it counts even if the state
            // was visited before.
            if let Some(check) = outcome.violation {
                let defect = LocatedDefect::here(Defect::Violation(check));
                return Some(LocatedDefect { last: Some(what), ..defect.at(id) });
            }
            let number = search.reached_by.len() as u32;
            let digest = outcome.state.digest(&mut self.scratch);
            if !search.visited.insert(digest, number) {
                continue;
            }
            search.reached_by.push((id, what));
            if let Some(found) = self.check_new_state(&outcome.state, search) {
                return Some(found.at(number));
            }
            next.push((number, outcome.state));
        }
        None
    }

    /// Checks a state that was not visited before: safety in every state, liveness in terminal states.
    ///
    /// Liveness is checked only where the scope leaves nothing but faults to happen. A continuation from every
    /// state in between would mostly repeat the suffixes of those from terminal states.
    fn check_new_state(&mut self, state: &WorldState, search: &mut SearchState) -> Option<LocatedDefect> {
        if let Some(check) = self.judge(state) {
            return Some(LocatedDefect::here(Defect::Violation(check)));
        }
        if self.moves(state).into_iter().any(|what| !what.is_fault()) {
            return None;
        }
        search.ends += 1;
        for id in &state.nodes {
            self.scratch.bytes(&self.collapse.locals[*id as usize].digest.0);
        }
        let outcome = self.scratch.finish();
        search.outcome_count += u64::from(search.outcomes.insert(outcome, 0));
        self.check_convergence(state)
    }
}

/// The moves from the initial state to a state, and one more. O(depth).
fn path_to(reached_by: &[(u32, Move)], mut id: u32, last: Option<Move>) -> Vec<Move> {
    let mut path: Vec<Move> = last.into_iter().collect();
    while let Some((before, what)) = reached_by.get(id as usize)
        && *before != START
    {
        assert!(*before < id, "a state is reached from one that was visited earlier");
        path.push(*what);
        id = *before;
    }
    path.reverse();
    path
}
