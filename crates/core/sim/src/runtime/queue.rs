//! What happens next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use syncline_types::SimTime;

/// Events ordered by time, and by the order of scheduling at equal times: a binary heap of small
/// keys over a slab, so that moving a key never moves an event. O(log n) to schedule and to take.
#[derive(Clone, Debug)]
pub struct EventQueue<E> {
    heap: BinaryHeap<Reverse<(SimTime, u64, u32)>>,
    slab: Vec<Option<E>>,
    free: Vec<u32>,
    scheduled: u64,
}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), slab: Vec::new(), free: Vec::new(), scheduled: 0 }
    }
}

impl<E> EventQueue<E> {
    /// Schedules `event` for `time`, after everything already scheduled for then. Gives its number in the
    /// order of scheduling.
    pub fn schedule(&mut self, time: SimTime, event: E) -> u64 {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slab.push(None);
                (self.slab.len() - 1) as u32
            }
        };
        if let Some(place) = self.slab.get_mut(slot as usize) {
            *place = Some(event);
        }
        self.heap.push(Reverse((time, self.scheduled, slot)));
        self.scheduled += 1;
        self.scheduled - 1
    }

    /// When the next event is due.
    pub fn peek_time(&self) -> Option<SimTime> {
        self.heap.peek().map(|Reverse((time, ..))| *time)
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(SimTime, E)> {
        self.pop_numbered().map(|(time, _, event)| (time, event))
    }

    /// As [`EventQueue::pop`], with the event's number in the order of scheduling.
    pub fn pop_numbered(&mut self) -> Option<(SimTime, u64, E)> {
        let Reverse((time, number, slot)) = self.heap.pop()?;
        self.free.push(slot);
        Some((time, number, self.slab.get_mut(slot as usize)?.take()?))
    }

    /// Lets go of the events that `keep` does not want. O(n).
    pub fn retain(&mut self, keep: impl Fn(&E) -> bool) {
        let Self { heap, slab, free, .. } = self;
        heap.retain(|Reverse((_, _, slot))| {
            let Some(place) = slab.get_mut(*slot as usize) else { return false };
            let kept = place.as_ref().is_some_and(&keep);
            if !kept {
                *place = None;
                free.push(*slot);
            }
            kept
        });
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn events_come_by_time_and_then_by_the_order_of_scheduling(times in proptest::collection::vec(0u64..5, 0..60)) {
            let mut queue = EventQueue::default();
            let mut expected: Vec<(u64, usize)> = Vec::new();
            let mut taken = Vec::new();
            for (at, time) in times.iter().enumerate() {
                queue.schedule((*time).into(), at);
                expected.push((*time, at));
                if at % 4 == 3 {
                    // Slots are reused while others wait.
                    expected.sort_unstable();
                    let (time, event) = queue.pop().unwrap();
                    prop_assert_eq!((time.as_millis(), event), expected.remove(0));
                    taken.push(event);
                }
            }
            expected.sort_unstable();
            for want in expected {
                let (time, event) = queue.pop().unwrap();
                prop_assert_eq!((time.as_millis(), event), want);
            }
            prop_assert!(queue.is_empty());
        }
    }
}
