//! The search, breadth first.

use crate::explore::Explorable;
use crate::explore::collapse::{Collapse, Halt, Happening};
use crate::explore::fingerprint::{Fingerprint, Table};
use crate::explore::invariants::Watch;
use crate::explore::scope::Scope;
use crate::explore::state::{Budget, State};
use crate::explore::transitions::Move;
use serde::Serialize;
use std::fmt;
use sync_sim_cluster::verdict::Check;
use sync_sim_engine::node_id::NodeId;
use syncline_types::SimTime;

/// Something that an application writes.
#[derive(Clone, Debug)]
pub struct Write<Op> {
    /// What.
    pub op: Op,
    /// The same in words, after the name of the node: `sets the title to "a"`.
    pub words: String,
}

/// What was found to be wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// A promise is broken.
    Broken(Check),
    /// From here on nothing goes wrong any more, and still it does not converge. What is unfinished then.
    Stuck(String),
    /// Two nodes that wrote the same state took different steps: see [`Scope::doubt`].
    Blurred(String),
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(check) => write!(f, "a promise is broken: {check}"),
            Self::Blurred(step) => {
                write!(f, "equal states took different steps, so nothing here can be relied upon: {step}")
            }
            Self::Stuck(owed) => {
                write!(f, "from here it never converges, although nothing goes wrong: {owed}")
            }
        }
    }
}

/// A shortest way to something wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counterexample {
    /// What is wrong at its end.
    pub found: Found,
    /// The moves, in words.
    pub steps: Vec<String>,
}

/// Why a search is not exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// Something was found: the search ended there.
    Found,
    /// Nothing was followed beyond the greatest depth.
    Depth,
    /// There was no room for more states.
    States,
    /// It was told to stop.
    Stopped,
}

/// How far a search has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Progress {
    /// Different states reached.
    pub states: u64,
    /// Moves made from them, which led to these states again and again.
    pub moves: u64,
    /// States that were reached and not yet followed.
    pub frontier: u64,
    /// Moves from the start to those that are followed now.
    pub depth: u32,
    /// Steps of nodes that were run on the real code.
    pub steps: u64,
}

/// What a search found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// How far it came. The depth is that of the deepest state.
    pub progress: Progress,
    /// Different states of single nodes.
    pub locals: u64,
    /// Different frames.
    pub frames: u64,
    /// States in which nothing was left to happen that need not go wrong; each of them converges.
    pub ends: u64,
    /// How many different digests all nodes had at such ends.
    pub outcomes: u64,
    /// Why it is not exhaustive, if it is not.
    pub cut: Option<Cut>,
    /// A shortest counterexample, if there is one.
    pub found: Option<Counterexample>,
    /// Where nothing was found, the way to the deepest state: where it was cut, if it was.
    pub deepest: Vec<String>,
}

impl Report {
    /// Whether every state that the scope allows was reached and checked.
    pub const fn is_exhaustive(&self) -> bool {
        self.cut.is_none()
    }
}

/// Explores a scope: see the [module](super).
pub struct Explorer<A: Explorable, W> {
    pub(super) scope: Scope,
    pub(super) names: Vec<String>,
    pub(super) written: Vec<Vec<String>>,
    pub(super) collapse: Collapse<A>,
    pub(super) watches: Vec<W>,
    pub(super) watch_ids: Table,
    pub(super) watch_steps: Table,
    pub(super) watch_results: Vec<Result<u32, Box<Check>>>,
    pub(super) judged: Table,
    pub(super) judgements: Vec<Option<Check>>,
    /// States from which a fair run is known to converge.
    pub(super) converging: Table,
    pub(super) scratch: Fingerprint,
    pub(super) start: State,
}

/// The search under way.
#[derive(Default)]
struct Search {
    seen: Table,
    /// How each state was reached first.
    ways: Vec<(u32, Move)>,
    outcomes: Table,
    moves: u64,
    ends: u64,
    outcome_count: u64,
}

/// Something wrong, and where.
pub(super) struct Finding {
    /// The last state before it that was seen.
    at: u32,
    /// The move from there that showed it.
    last: Option<Move>,
    /// The moves of a fair run that showed it.
    fair: Vec<Move>,
    found: Found,
}

impl Finding {
    pub(super) const fn here(found: Found) -> Self {
        Self { at: 0, last: None, fair: Vec::new(), found }
    }

    pub(super) fn after(fair: Vec<Move>, found: Found) -> Self {
        Self { fair, ..Self::here(found) }
    }

    fn at(self, at: u32) -> Self {
        Self { at, ..self }
    }
}

const START: u32 = u32::MAX;
/// Moves of a run that never converges that are told; it has no end.
const TOLD: usize = 40;

impl<A: Explorable, W: Watch<A>> Explorer<A, W> {
    /// Explores what these nodes can do, beginning before they start. All can reach each other.
    ///
    /// # Panics
    ///
    /// If there are more than 255 nodes.
    pub fn new(nodes: Vec<(String, A)>, watch: W, scope: Scope) -> Self {
        assert!(nodes.len() <= 255, "{} nodes are more than can be explored", nodes.len());
        let names: Vec<String> = nodes.iter().map(|(name, _)| name.clone()).collect();
        let count = nodes.len();
        let mut collapse = Collapse::new(names.clone(), scope.doubt);
        let admitted = (0..).map(NodeId).zip(nodes).map(|(node, (_, actor))| collapse.admit(node, actor));
        let start = State {
            now: SimTime::ZERO,
            nodes: admitted.collect(),
            flight: Vec::new(),
            watch: 0,
            left: Budget::of(&scope),
            ticks: vec![0; count],
            written: vec![0; count],
            cuts: Vec::new(),
        };
        let mut explorer = Self {
            scope,
            names,
            written: vec![Vec::new(); count],
            collapse,
            watches: Vec::new(),
            watch_ids: Table::default(),
            watch_steps: Table::default(),
            watch_results: Vec::new(),
            judged: Table::default(),
            judgements: Vec::new(),
            converging: Table::default(),
            scratch: Fingerprint::default(),
            start,
        };
        explorer.start.watch = explorer.remember(watch);
        explorer
    }

    /// Has a node's application write, at any moment after what it was given to write before.
    ///
    /// # Panics
    ///
    /// If there is no such node.
    pub fn write(&mut self, node: NodeId, write: Write<A::Op>) {
        self.written[node.index()].push(write.words);
        self.collapse.write(node, write.op);
    }

    /// Searches until nothing is left, something is found, the scope is full, or `go_on`, which is asked from
    /// time to time, says no.
    pub fn run(&mut self, go_on: &mut dyn FnMut(&Progress) -> bool) -> Report {
        let mut search = Search::default();
        let mut depth = 0;
        let (start, mut found) = self.begin();
        let mut cut = None;
        let digest = start.digest(&mut self.scratch);
        search.seen.insert(digest, 0);
        search.ways.push((START, Move::Restart { node: 0 }));
        if found.is_none() {
            found = self.examined(&start, &mut search);
        }
        let mut layer = vec![(0, start)];
        'search: while found.is_none() && !layer.is_empty() {
            if depth >= self.scope.depth {
                cut = Some(Cut::Depth);
                break;
            }
            let mut next = Vec::new();
            let waiting = layer.len();
            for (at, (id, state)) in layer.into_iter().enumerate() {
                if at % 1_024 == 0 {
                    let frontier = (waiting - at + next.len()) as u64;
                    if !go_on(&self.progress(&search, frontier, depth)) {
                        cut = Some(Cut::Stopped);
                        break 'search;
                    }
                }
                found = self.follow(id, &state, &mut search, &mut next);
                if let Some(step) = self.collapse.blurred.take() {
                    found = Some(Finding::here(Found::Blurred(step)).at(id));
                }
                if found.is_some() {
                    break 'search;
                }
                if search.ways.len() >= self.scope.states as usize {
                    cut = Some(Cut::States);
                    break 'search;
                }
            }
            depth += u32::from(!next.is_empty());
            layer = next;
        }
        let cut = if found.is_some() { Some(Cut::Found) } else { cut };
        let mut deepest = Vec::new();
        if found.is_none() {
            let last = search.ways.len() as u32 - 1;
            deepest = self.story(&way_to(&search.ways, last, None), &[]);
        }
        let found = found.map(|finding| self.told(&search, finding));
        Report {
            progress: self.progress(&search, 0, depth),
            locals: self.collapse.locals.len() as u64,
            frames: self.collapse.frames.len() as u64,
            ends: search.ends,
            outcomes: search.outcome_count,
            cut,
            found,
            deepest,
        }
    }

    fn told(&mut self, search: &Search, finding: Finding) -> Counterexample {
        let Finding { at, last, mut fair, found } = finding;
        if matches!(found, Found::Stuck(_)) {
            fair.truncate(TOLD);
        }
        let mut steps = self.story(&way_to(&search.ways, at, last), &fair);
        steps.push(found.to_string());
        Counterexample { found, steps }
    }

    fn progress(&self, search: &Search, frontier: u64, depth: u32) -> Progress {
        let (states, steps) = (search.ways.len() as u64, self.collapse.steps.len() as u64);
        Progress { states, moves: search.moves, frontier, depth, steps }
    }

    /// Starts all nodes, one after the other.
    fn begin(&mut self) -> (State, Option<Finding>) {
        let (mut state, mut found) = (self.start.clone(), None);
        for node in 0..state.nodes.len() {
            let moved = self.take(state, node, Happening::Restart, Halt::Never);
            state = moved.state;
            if let Some(check) = moved.broken {
                found.get_or_insert_with(|| Finding::here(Found::Broken(check)));
            }
        }
        (state, found)
    }

    /// Makes every move from a state. Gives what was found to be wrong, and where.
    fn follow(
        &mut self,
        id: u32,
        state: &State,
        search: &mut Search,
        next: &mut Vec<(u32, State)>,
    ) -> Option<Finding> {
        for what in self.moves(state) {
            search.moves += 1;
            let moved = self.moved(state, what);
            if let Some(check) = moved.broken {
                return Some(Finding { last: Some(what), ..Finding::here(Found::Broken(check)).at(id) });
            }
            let reached = search.ways.len() as u32;
            let digest = moved.state.digest(&mut self.scratch);
            if !search.seen.insert(digest, reached) {
                continue;
            }
            search.ways.push((id, what));
            if let Some(found) = self.examined(&moved.state, search) {
                return Some(found.at(reached));
            }
            next.push((reached, moved.state));
        }
        None
    }

    /// Looks at a state that was not seen before.
    fn examined(&mut self, state: &State, search: &mut Search) -> Option<Finding> {
        if let Some(check) = self.judged(state) {
            return Some(Finding::here(Found::Broken(check)));
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
        self.continued(state)
    }
}

/// The moves that lead to a state, and one more.
fn way_to(ways: &[(u32, Move)], mut id: u32, last: Option<Move>) -> Vec<Move> {
    let mut way: Vec<Move> = last.into_iter().collect();
    while let Some((before, what)) = ways.get(id as usize)
        && *before != START
    {
        way.push(*what);
        id = *before;
    }
    way.reverse();
    way
}
