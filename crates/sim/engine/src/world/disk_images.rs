//! Disks that are backed up, restored, copied and lost: a node that comes back with another disk than it had.
//!
//! The engine copies actors as wholes and leaves it to them what of a copy is on the disk.

use crate::actor::Actor;
use crate::node_id::NodeId;
use crate::random::Stream;
use crate::world::host_event::{HostEvent, RandomHostFault};
use crate::world::{StepReport, World};
use syncline_types::{Choice, SimDuration};

impl<A: Actor> World<A> {
    /// Draws what a random fault does: its kind and its lengths. `None` if the run has too few nodes for it.
    pub(super) fn drawn_host_event(&mut self, node: NodeId, fault: RandomHostFault) -> Option<HostEvent> {
        let faults = self.faults.hosts.clone();
        let stream = Stream::Disk(node.0);
        Some(match fault {
            RandomHostFault::Restore => {
                // Half of the times, and the first time, the disk is backed up.
                let backs_up = self.choices.below(stream, Choice::RestoreGap, 2) == 0;
                if backs_up || !self.backups.contains_key(&node) {
                    HostEvent::BackUp
                } else {
                    HostEvent::Restore(self.down_for(node))
                }
            }
            RandomHostFault::Clone => {
                let others = self.len() as u64 - 1;
                let number = self.choices.below(stream, Choice::CloneSource, others) as u32;
                if others == 0 {
                    return None;
                }
                let from = NodeId(number + u32::from(number >= node.0));
                HostEvent::Clone { from, down_for: self.down_for(node) }
            }
            RandomHostFault::LoseDisk => {
                let counted = self.choices.below(stream, Choice::LoseDiskGap, 2) == 0;
                HostEvent::LoseDisk { down_for: self.down_for(node), counted }
            }
            RandomHostFault::ClockAhead => {
                let stream = Stream::Clock(node.0);
                let ahead = self.length(stream, Choice::ClockAhead, &faults.clock_ahead_ms);
                let lasting = self.length(stream, Choice::ClockAhead, &faults.clock_ahead_for_ms);
                HostEvent::Ahead { by_us: ahead.as_micros() as i64, lasting }
            }
            _ => unreachable!("the other random faults are drawn where they happen"),
        })
    }

    /// Puts a copy of a node aside, which can restore its disk later.
    pub(super) fn on_back_up(&mut self, node: NodeId) -> StepReport<A::Notice> {
        let copy = self.slot(node).filter(|slot| slot.takes_part()).map(|slot| slot.actor.clone());
        if let Some(copy) = copy {
            self.backups.insert(node, Box::new(copy));
        }
        StepReport::at(Some(node))
    }

    /// Takes a node down and restores its disk from the backup.
    pub(super) fn on_restore(&mut self, node: NodeId, down_for: SimDuration) -> StepReport<A::Notice> {
        // Without a copy there is nothing to restore: shrinking may have removed the line that makes one.
        let Some(backup) = self.backups.get(&node).cloned() else { return StepReport::at(Some(node)) };
        self.hosts().effects.restored_disks += 1;
        self.replace_disk(node, down_for, |actor| actor.restore_disk(&backup))
    }

    /// Takes a node down and gives it a copy of the disk of another node.
    pub(super) fn on_clone(
        &mut self,
        node: NodeId,
        from: NodeId,
        down_for: SimDuration,
    ) -> StepReport<A::Notice> {
        let source = self.slot(from).filter(|slot| slot.takes_part() && from != node);
        let Some(source) = source.map(|slot| slot.actor.clone()) else { return StepReport::at(Some(node)) };
        self.hosts().effects.cloned_disks += 1;
        self.replace_disk(node, down_for, |actor| actor.restore_disk(&source))
    }

    /// Takes a node down and erases its disk.
    pub(super) fn on_lose_disk(
        &mut self,
        node: NodeId,
        down_for: SimDuration,
        counted: bool,
    ) -> StepReport<A::Notice> {
        self.hosts().effects.lost_disks += 1;
        self.replace_disk(node, down_for, |actor| actor.lose_disk(counted))
    }

    fn replace_disk(
        &mut self,
        node: NodeId,
        down_for: SimDuration,
        replace: impl FnOnce(&mut A),
    ) -> StepReport<A::Notice> {
        // Nothing happens to a node that has not joined, or is gone.
        let Some(slot) = self.slot(node).filter(|slot| slot.takes_part()) else {
            return StepReport::at(Some(node));
        };
        let was_up = slot.up;
        // A node that is down already stays down for as long as this fault says.
        self.take_down(node, Some(down_for));
        self.with_accounting(node, |slot| replace(&mut slot.actor));
        StepReport { crashed: was_up, disk_replaced: true, ..StepReport::at(Some(node)) }
    }
}
