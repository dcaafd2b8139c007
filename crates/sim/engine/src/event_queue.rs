//! What happens next.

use syncline_types::SimTime;

/// How many bits of the time one level tells apart.
const BITS: u32 = 8;
/// How many slots a level has.
const SLOTS: usize = 1 << BITS;
/// In how many words there is a bit for each slot.
const WORDS: usize = SLOTS / 64;
/// No place.
const NONE: u32 = u32::MAX;

/// Events ordered by time, and by the order of scheduling at equal times: a timing wheel.
///
/// Time never goes back, so an event is kept by how far its time is from that of the event taken last: on
/// the level of the highest byte in which the two differ, in the slot that this byte of its own time
/// names. All of a slot come before all of the next, and all of a level before all of the next. When a slot
/// of a higher level comes first, what is in it is dealt out anew, relative to the earliest; in a slot of
/// the lowest level all have one time. Events of one time are always in one slot, in the order of
/// scheduling.
///
/// Scheduling costs O(1). An event changes its slot once a level at most: one that is less than a
/// sixteenth of a second away mostly once.
#[derive(Clone, Debug)]
pub struct EventQueue<E> {
    levels: Vec<Level>,
    /// The levels that are not empty, as bits.
    occupied: u8,
    places: Vec<Place<E>>,
    /// The first place without an event.
    free: u32,
    /// The time of the event taken last.
    taken_at: u64,
    scheduled: u64,
    len: usize,
}

/// Where an event is kept, from when it is scheduled until it is taken.
#[derive(Clone, Debug)]
struct Place<E> {
    time: u64,
    number: u64,
    /// The place after this one in its slot, or among those without an event.
    next: u32,
    event: Option<E>,
}

#[derive(Clone, Debug)]
struct Level {
    /// The slots that are not empty, as bits.
    occupied: [u64; WORDS],
    /// Which words of those have any, as bits: asked one word at a time, since to look at all of them right
    /// after one was written costs more than the rest of a pop.
    words: u8,
    slots: [Slot; SLOTS],
}

impl Level {
    const EMPTY: Self =
        Self { occupied: [0; WORDS], words: 0, slots: [Slot { first: NONE, last: NONE }; SLOTS] };

    /// The first slot that is not empty.
    fn first_slot(&self) -> Option<usize> {
        let word = self.words.trailing_zeros() as usize;
        let bits = self.occupied.get(word)?;
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}

/// A list of places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    first: u32,
    last: u32,
}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        let (levels, places) = (Vec::new(), Vec::new());
        Self { levels, occupied: 0, places, free: NONE, taken_at: 0, scheduled: 0, len: 0 }
    }
}

impl<E> EventQueue<E> {
    /// Schedules `event` for `time`, or for that of the event taken last if it is past, after everything
    /// already scheduled for then. Gives its number in the order of scheduling.
    // Inlined, since the event is made in its place then: written in pieces and moved as a whole right after,
    // it would have to wait until all pieces are in the cache.
    #[inline(always)]
    pub fn schedule(&mut self, time: SimTime, event: E) -> u64 {
        let (time, number) = (time.as_micros().max(self.taken_at), self.scheduled);
        let place = Place { time, number, next: NONE, event: Some(event) };
        let at = match self.places.get_mut(self.free as usize) {
            Some(free) => {
                let at = self.free;
                self.free = free.next;
                *free = place;
                at
            }
            None => {
                self.places.push(place);
                (self.places.len() - 1) as u32
            }
        };
        self.link(at, time);
        self.scheduled += 1;
        self.len += 1;
        number
    }

    /// The number of something that is kept elsewhere, in the order of scheduling.
    pub const fn number(&mut self) -> u64 {
        let number = self.scheduled;
        self.scheduled += 1;
        number
    }

    /// When the next event is due.
    pub fn peek_time(&self) -> Option<SimTime> {
        let (level, slot) = self.first_slot()?;
        Some(SimTime::from_micros(self.earliest_in(level, slot)))
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Option<(SimTime, E)> {
        let mut event = None;
        let (time, _) = self.pop_into(&mut event)?;
        Some((time, event?))
    }

    /// Puts the next event where there was none, and gives its time and its number in the order of
    /// scheduling. An event is moved as a whole here, once: to take it apart and put it together again, as a
    /// result would be on its way up, costs as much as the rest of a pop.
    pub fn pop_into(&mut self, event: &mut Option<E>) -> Option<(SimTime, u64)> {
        debug_assert!(event.is_none(), "an event would be lost");
        let (level, slot, at) = loop {
            let (level, slot) = self.first_slot()?;
            let Slot { first, last } = self.levels[level].slots[slot];
            if level == 0 || first == last {
                break (level, slot, first);
            }
            // From the first time that belongs to it on, all in the slot belong to lower levels.
            let bits = BITS * level as u32;
            self.taken_at = self.places[first as usize].time >> bits << bits;
            self.deal_out(level, slot, |_| true);
        };
        let place = &mut self.places[at as usize];
        let next = std::mem::replace(&mut place.next, self.free);
        let (time, number) = (place.time, place.number);
        std::mem::swap(event, &mut place.event);
        self.free = at;
        self.taken_at = time;
        self.len -= 1;
        if next == NONE {
            self.empty(level, slot);
        } else {
            self.levels[level].slots[slot].first = next;
        }
        Some((SimTime::from_micros(time), number))
    }

    /// Lets go of the events that `keep` does not want. O(n).
    pub fn retain(&mut self, keep: impl Fn(&E) -> bool) {
        for level in 0..self.levels.len() {
            for slot in 0..SLOTS {
                self.deal_out(level, slot, &keep);
            }
        }
    }

    /// How many events wait.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Level and slot of the next event.
    fn first_slot(&self) -> Option<(usize, usize)> {
        let level = self.occupied.trailing_zeros() as usize;
        Some((level, self.levels.get(level)?.first_slot()?))
    }

    /// The earliest time in a slot that is not empty.
    fn earliest_in(&self, level: usize, slot: usize) -> u64 {
        let first = &self.places[self.levels[level].slots[slot].first as usize];
        let (mut earliest, mut next) = (first.time, first.next);
        // In a slot of the lowest level all are the same.
        while level > 0 && next != NONE {
            let place = &self.places[next as usize];
            earliest = earliest.min(place.time);
            next = place.next;
        }
        earliest
    }

    /// Puts the events of a slot where they belong by now, and lets go of those that `keep` does not want.
    fn deal_out(&mut self, level: usize, slot: usize, keep: impl Fn(&E) -> bool) {
        let mut next = self.levels[level].slots[slot].first;
        self.empty(level, slot);
        while next != NONE {
            let (at, place) = (next, &mut self.places[next as usize]);
            next = std::mem::replace(&mut place.next, NONE);
            if place.event.as_ref().is_some_and(&keep) {
                let time = place.time;
                self.link(at, time);
            } else {
                (place.event, place.next) = (None, self.free);
                self.free = at;
                self.len -= 1;
            }
        }
    }

    /// Puts a place at the end of the slot that its time belongs to.
    fn link(&mut self, at: u32, time: u64) {
        let level = ((time ^ self.taken_at) | 1).ilog2() / BITS;
        let slot = (time >> (BITS * level)) as usize % SLOTS;
        let level = level as usize;
        if self.levels.len() <= level {
            self.rise_to(level);
        }
        self.occupied |= 1 << level;
        let level = &mut self.levels[level];
        level.occupied[slot / 64] |= 1 << (slot % 64);
        level.words |= 1 << (slot / 64);
        let Slot { first, last } = &mut level.slots[slot];
        let before = match self.places.get_mut(*last as usize) {
            Some(before) => &mut before.next,
            None => first,
        };
        (*before, *last) = (at, at);
    }

    #[cold]
    #[inline(never)]
    fn rise_to(&mut self, level: usize) {
        self.levels.resize(level + 1, Level::EMPTY);
    }

    fn empty(&mut self, level: usize, slot: usize) {
        let emptied = &mut self.levels[level];
        emptied.slots[slot] = Slot { first: NONE, last: NONE };
        emptied.occupied[slot / 64] &= !(1 << (slot % 64));
        if emptied.occupied[slot / 64] == 0 {
            emptied.words &= !(1 << (slot / 64));
            if emptied.words == 0 {
                self.occupied &= !(1 << level);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How far away events are: together, near, and on every level.
    fn gap() -> impl Strategy<Value = u64> {
        prop_oneof![0..3u64, 0..5_000u64, 0..1u64 << 24, (0..64u32).prop_map(|bit| 1 << bit), Just(u64::MAX)]
    }

    proptest! {
        #[test]
        fn events_come_by_time_and_then_by_the_order_of_scheduling(
            steps in proptest::collection::vec((gap(), 0..3usize), 0..80),
        ) {
            let mut queue = EventQueue::default();
            let mut expected: Vec<(u64, u64)> = Vec::new();
            let mut now = 0u64;
            let take = |queue: &mut EventQueue<u64>, expected: &mut Vec<(u64, u64)>, now: &mut u64| {
                expected.sort_unstable();
                prop_assert_eq!(queue.len(), expected.len());
                prop_assert_eq!(queue.peek_time().map(SimTime::as_micros), expected.first().map(|(time, _)| *time));
                let mut event = None;
                let Some((time, number)) = queue.pop_into(&mut event) else { return Ok(()) };
                prop_assert_eq!((time.as_micros(), number), expected.remove(0));
                prop_assert_eq!(event, Some(number));
                *now = time.as_micros();
                Ok(())
            };
            for (number, (gap, taken)) in (0..).zip(steps) {
                let time = now.saturating_add(gap);
                prop_assert_eq!(queue.schedule(SimTime::from_micros(time), number), number);
                expected.push((time, number));
                for _ in 0..taken {
                    // Places are used again while others wait.
                    take(&mut queue, &mut expected, &mut now)?;
                }
            }
            while !queue.is_empty() {
                take(&mut queue, &mut expected, &mut now)?;
            }
            prop_assert!(expected.is_empty());
        }

        #[test]
        fn what_is_kept_stays_in_its_order(gaps in proptest::collection::vec(gap(), 0..60)) {
            let mut queue = EventQueue::default();
            for (event, gap) in (0u64..).zip(&gaps) {
                queue.schedule(SimTime::from_micros(*gap), event);
            }
            let mut thinned = queue.clone();
            thinned.retain(|event| event % 3 > 0);
            // What is scheduled where others were let go of is as any other.
            thinned.schedule(SimTime::from_micros(700), 1_000);
            queue.schedule(SimTime::from_micros(700), 1_000);
            let all = std::iter::from_fn(|| queue.pop()).filter(|(_, event)| event % 3 > 0);
            let kept: Vec<_> = std::iter::from_fn(|| thinned.pop()).collect();
            prop_assert_eq!(all.collect::<Vec<_>>(), kept);
        }
    }

    #[test]
    fn what_is_past_is_due_at_once() {
        let mut queue = EventQueue::default();
        queue.schedule(5.into(), 'a');
        queue.schedule(9.into(), 'c');
        assert_eq!(queue.pop(), Some((5.into(), 'a')));
        queue.schedule(4.into(), 'b');
        assert_eq!(queue.peek_time(), Some(5.into()));
        assert_eq!(queue.pop(), Some((5.into(), 'b')));
        assert_eq!(queue.pop(), Some((9.into(), 'c')));
        assert_eq!(queue.pop(), None);
    }
}
