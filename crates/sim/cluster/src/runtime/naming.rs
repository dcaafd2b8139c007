//! Members that learn of a late joiner at different moments.

use crate::runtime::sim_runtime::SimRuntime;
use sync_sim_engine::node_id::{NodeId, NodeRef};
use sync_sim_engine::random::{Choices, Stream};
use syncline_types::{Choice, SimDuration, SimTime};

/// The moment from which on a node counts another one as a member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Naming {
    /// The moment.
    pub at: SimTime,
    /// The node that learns of it.
    pub by: NodeId,
    /// The new member.
    pub joiner: NodeId,
}

impl SimRuntime {
    /// Has a node count another one as a member from a time on, and not before. Without this, all nodes know all
    /// members from the beginning.
    pub fn name_at(&mut self, at: SimTime, by: impl NodeRef, joiner: impl NodeRef) {
        let by = self.resolve(by);
        let joiner = self.resolve(joiner);
        self.world.change(by, |actor| actor.set_unnamed(joiner));
        self.namings.push(Naming { at, by, joiner });
        self.namings_left.push(Naming { at, by, joiner });
        self.namings_left.sort_unstable_by(|one, two| two.cmp(one));
    }

    /// Every naming of the run, in the order of scheduling.
    pub fn namings(&self) -> &[Naming] {
        &self.namings
    }

    /// Whether some node has still to learn of a member, or a frame that it refused before may still be in flight.
    pub(super) fn is_naming(&self) -> bool {
        const ON_THE_WAY: SimDuration = SimDuration::from_secs(10);
        self.namings.iter().map(|naming| naming.at).max().is_some_and(|last| self.now() < last + ON_THE_WAY)
    }

    /// Has each node learn of a late joiner at a moment of its own, at most half the spread of the settings before or
    /// after the joiner joins.
    pub(super) fn spread_namings(&mut self, joiner: NodeId, joins_at: SimTime) {
        let spread = self.config.naming_spread.as_micros();
        if spread == 0 {
            return;
        }
        // A source of its own: a run that replays this one draws the same, whatever else it draws.
        let mut choices = Choices::seeded(self.config.seed);
        for by in (0..self.world.len() as u32).map(NodeId).filter(|by| *by != joiner) {
            let stream = Stream::Churn(joiner.0);
            let offset = choices.below(stream, Choice::Naming, spread);
            let earliest = joins_at.as_micros().saturating_sub(spread / 2);
            self.name_at(SimTime::from_micros(earliest) + SimDuration::from_micros(offset), by, joiner);
        }
    }

    /// Has nodes learn of members whose moment has come before the event that is due at `at`.
    pub(super) fn name_before(&mut self, at: SimTime) {
        while let Some(naming) = self.namings_left.pop_if(|naming| naming.at <= at) {
            self.world.change(naming.by, |actor| actor.name_member(naming.joiner));
        }
    }
}
