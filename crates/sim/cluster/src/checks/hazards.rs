//! Checks of runs in which identities or clocks are wrong.
//!
//! A replica that has lost a part of its own history, or shares its name, must not cost what was acknowledged: at the
//! end every write is visible that was still on some disk when a disk was replaced, or that was acknowledged later
//! (**A1**, **A2**). A replica that wrote while its clock was far ahead must be heard again once the clock is right, and
//! must hold up nobody (**A3**).

use super::ContextView;
use crate::budgets::Budget;
use crate::verdict::Check;

/// What is wrong in a run beside the network, crashes and hostile nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hazards {
    /// Whether the disk of some node was replaced by one without what the node had acknowledged last.
    pub replaced_disks: bool,
    /// Whether the clock of some node was far ahead for a while.
    pub clocks_ahead: bool,
    /// Whether some node counts a member as one later than others do.
    pub names_late: bool,
    /// Whether some node was brought back under a new id.
    pub returns: bool,
}

impl Hazards {
    /// None of them.
    pub const NONE: Self =
        Self { replaced_disks: false, clocks_ahead: false, names_late: false, returns: false };

    /// Whether what nobody sees may differ from the join of all writes, and be on no disk.
    pub(super) const fn may_differ_unseen(self) -> bool {
        self.replaced_disks || self.returns
    }
}

/// A run that has stopped without convergence, or at a check that a hazard may explain.
#[derive(Clone, Debug)]
pub struct UnfinishedRun {
    /// What is wrong in the run.
    pub hazards: Hazards,
    /// A node, and the acknowledged write that it lacks, in words, if it lacks one.
    pub unheard: Option<String>,
    /// How the run stopped, in words.
    pub pending: String,
}

/// Names the promise that a hazard has broken.
pub(super) fn held_up(run: &UnfinishedRun) -> Option<Check> {
    let UnfinishedRun { hazards, unheard, pending } = run.clone();
    if hazards.replaced_disks {
        return Some(Check::NotBroughtBack { unheard, pending });
    }
    Some(Check::Muted { unheard: unheard.filter(|_| hazards.clocks_ahead)?, pending })
}

/// A wrong value in a run in which disks were replaced, with the number that names two writes, if there is one.
pub(super) fn lost_history(view: &ContextView<'_>, wrong: &Check) -> Check {
    let reused = view.oracle.reused_number(|node| {
        let named = view.nodes.iter().find(|inspected| inspected.node == node);
        named.map_or_else(|| node.to_string(), |inspected| inspected.name.clone())
    });
    Check::HistoryLost { wrong: wrong.to_string(), reused: reused.map(|reused| reused.to_string()) }
}

/// Whether a replica that has lost a part of its history, shares its name or was ahead of time may cause this by the
/// way it looks to its peers.
pub fn may_be_explained(check: &Check) -> bool {
    let is_traffic = matches!(check, Check::OverBudget { over, .. } if over.budget == Budget::IdleBytes);
    is_traffic
        || matches!(
            check,
            Check::FalseSuccess { .. }
                | Check::UnprovenSuccess { .. }
                | Check::ImpossibleOutcome { .. }
                | Check::HonestFrameRefused { .. }
                | Check::StaleFrameAccepted { .. }
                | Check::StickyLoop { .. }
                | Check::EndlessPending { .. }
                | Check::NeedlessWalk { .. }
                | Check::GaveUp { .. }
                | Check::CausalGap { .. }
                | Check::StampWrong { .. }
                | Check::CollectionWrong { .. }
                | Check::HorizonWrong { .. }
                | Check::Storm { .. }
        )
}
