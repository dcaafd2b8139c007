//! What tests and runtimes change in a world from outside: rules, partitions, links, scripts.

use crate::actor::Actor;
use crate::event::SimEvent;
use crate::history::EntryKind;
use crate::network::{
    FrameFault, FrameFaultScript, FrameName, LinkProperties, PartitionId, PartitionSpec, Rule, RuleId,
    RuleUse,
};
use crate::node_id::NodeId;
use crate::random::Choices;
use crate::world::World;
use syncline_types::SimDuration;

impl<A: Actor> World<A> {
    /// The randomness of the run.
    pub const fn choices(&self) -> &Choices {
        &self.choices
    }

    /// The randomness of the run, to draw from for a workload or a scenario.
    pub const fn choices_mut(&mut self) -> &mut Choices {
        &mut self.choices
    }

    /// Adds a rule. It sees every frame from now on, after all other rules.
    pub fn add_rule(&mut self, rule: Rule) -> RuleId {
        self.router.rules_mut().add(rule)
    }

    /// Removes a rule. Returns how often it was used, or `None` if it was removed before.
    pub fn remove_rule(&mut self, rule: RuleId) -> Option<RuleUse> {
        self.router.rules_mut().remove(rule)
    }

    /// How often a rule in force was used.
    pub fn rule_use(&self, rule: RuleId) -> Option<RuleUse> {
        self.router.rules().used(rule)
    }

    /// Starts a partition now, for `lasting` or until it is ended.
    pub fn start_partition(&mut self, spec: PartitionSpec, lasting: Option<SimDuration>) -> PartitionId {
        let end = lasting.map(|lasting| self.now() + lasting);
        let cut = self.is_recording().then(|| spec.clone());
        let partition = self.router.partitions_mut().add(spec, self.clock.now(), end);
        self.record_outside(EntryKind::PartitionStart { partition: partition.0, cut });
        if let Some(end) = end {
            self.schedule(end, SimEvent::PartitionEnd { partition });
        }
        partition
    }

    /// Ends a partition now.
    pub fn end_partition(&mut self, partition: PartitionId) {
        self.record_outside(EntryKind::PartitionEnd { partition: partition.0 });
        self.router.partitions_mut().heal(partition);
    }

    /// Ends every partition between exactly these two nodes, in either direction.
    pub fn end_partitions_between(&mut self, a: NodeId, b: NodeId) {
        self.router.partitions_mut().heal_between(a, b);
    }

    /// Ends all partitions now.
    pub fn end_all_partitions(&mut self) {
        self.router.partitions_mut().heal_all();
    }

    /// Sets the properties of one direction of a link from now on; with `None`, the seed decides again.
    /// Returns the properties that were set before.
    pub fn set_link(
        &mut self,
        from: NodeId,
        to: NodeId,
        properties: Option<LinkProperties>,
    ) -> Option<LinkProperties> {
        self.router.set_link(from, to, properties, &mut self.choices)
    }

    /// Breaks the connection between two nodes. Returns whether there was one.
    pub fn break_connection(&mut self, a: NodeId, b: NodeId) -> bool {
        self.router.break_connection(a, b)
    }

    /// Sets the faults of single frames, and whether they are recorded.
    pub fn set_frame_script(&mut self, script: Option<Box<FrameFaultScript>>) {
        self.router.set_frame_script(script);
    }

    /// The faults of single frames that were recorded so far, in the order of sending.
    pub fn recorded_frame_faults(&self) -> &[(FrameName, FrameFault)] {
        self.router.recorded_frame_faults()
    }
}
