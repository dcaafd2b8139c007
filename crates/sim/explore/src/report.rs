//! The result of a search.

use serde::Serialize;
use std::fmt;
use sync_sim_cluster::verdict::Check;

/// What a counterexample shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Defect {
    /// An invariant is violated.
    Violation(Check),
    /// The liveness check failed: no more faults occur, and the nodes still do not converge. The text lists
    /// what is pending.
    NotConverging(String),
    /// Two nodes that wrote the same state took different steps: see
    /// [`Scope::verify_determinism`](super::Scope::verify_determinism). The text names the step.
    Nondeterminism(String),
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(check) => write!(f, "a promise is broken: {check}"),
            Self::NotConverging(pending) => {
                write!(f, "from here it never converges, although no more faults occur: {pending}")
            }
            Self::Nondeterminism(step) => {
                write!(f, "equal states took different steps, so the search is not sound: {step}")
            }
        }
    }
}

/// A shortest path to a defect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counterexample {
    /// The defect at the end of the path.
    pub defect: Defect,
    /// One line of text for each move, and a last one for the defect.
    pub steps: Vec<String>,
}

/// Why a search is not exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// A defect was found, and the search ended there.
    Found,
    /// States beyond the greatest depth were not followed.
    Depth,
    /// The greatest number of states was reached.
    States,
    /// The caller stopped the search.
    Stopped,
}

/// How far a search has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SearchProgress {
    /// The distinct states that were reached.
    pub states: u64,
    /// The moves that were made from them; most lead to a state that was reached before.
    pub moves: u64,
    /// The states that were reached and not yet followed.
    pub frontier: u64,
    /// The number of moves from the start to the states that are followed now.
    pub depth: u32,
    /// The steps of nodes that were run on the real code, rather than looked up.
    pub steps: u64,
}

/// What a search found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SearchReport {
    /// How far the search came. The depth is that of the deepest state.
    pub progress: SearchProgress,
    /// The distinct states of single nodes.
    pub locals: u64,
    /// The distinct frames that were sent.
    pub frames: u64,
    /// The terminal states: those in which only faults were left to happen. Each of them converges.
    pub ends: u64,
    /// The number of distinct combinations of node digests in terminal states.
    pub outcomes: u64,
    /// Why the search is not exhaustive; `None` if it is.
    pub stop_cause: Option<StopCause>,
    /// A shortest counterexample, if the search found a defect.
    pub counterexample: Option<Counterexample>,
    /// The path to the deepest state, one line for each move. Empty if the search found a defect.
    pub deepest: Vec<String>,
}

impl SearchReport {
    /// Whether every state that the scope allows was reached and checked.
    pub const fn is_exhaustive(&self) -> bool {
        self.stop_cause.is_none()
    }
}
