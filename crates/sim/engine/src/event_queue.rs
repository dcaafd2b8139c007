//! The queue of future events.

use syncline_types::SimTime;

/// How many bits of the time select the slot within one level.
const BITS: u32 = 8;
/// The number of slots of a level.
const SLOTS: usize = 1 << BITS;
/// The number of words that have one bit for each slot.
const WORDS: usize = SLOTS / 64;
/// The index of no event.
const NONE: u32 = u32::MAX;

/// A queue of events, ordered by time and, at equal times, by the order of scheduling.
///
/// It is a hierarchical timing wheel (Varghese and Lauck 1987).
///
/// Let `now` be the time of the event that was taken last. Time never goes back, so every event in the queue
/// has a time of at least `now`, and it is stored by the difference of the two: on the level of the highest
/// byte in which they differ, in the slot that this byte of its own time selects.
///
/// Invariants:
///
/// - Every event of a level is earlier than every event of a higher level, since the higher level differs from
///   `now` in a higher byte. Within a level, slots are in the order of time.
/// - The events of a slot of level 0 all have the same time.
/// - Events of one time are in one slot, in the order of scheduling. A slot is a list to which events are
///   appended, and redistributing a slot keeps the order.
///
/// So the next event is in the first slot of the first level that is not empty. If that is not level 0, `now`
/// advances to the start of the slot and the slot is redistributed to lower levels.
///
/// Scheduling costs O(1). An event moves at most once per level, so taking it costs amortized O(1) moves; an
/// event that is less than a sixteenth of a second ahead mostly moves once.
#[derive(Clone, Debug)]
pub struct EventQueue<E> {
    levels: Vec<Level>,
    /// One bit for each level that is not empty.
    occupied: u8,
    events: Vec<QueuedEvent<E>>,
    /// The head of the list of free entries of `events`.
    free: u32,
    /// The time of the event taken last.
    taken_at: u64,
    scheduled: u64,
    len: usize,
}

/// An event in the queue, or a free entry. It stays at its index while it moves between slots.
#[derive(Clone, Debug)]
struct QueuedEvent<E> {
    time: u64,
    number: u64,
    /// The next event of the same slot, or the next free entry.
    next: u32,
    event: Option<E>,
}

#[derive(Clone, Debug)]
struct Level {
    /// One bit for each slot that is not empty.
    occupied: [u64; WORDS],
    /// One bit for each word of `occupied` that is not zero. It selects the one word to read: reading all of
    /// them right after one was written would stall on the store and cost more than the rest of a pop.
    words: u8,
    slots: [EventList; SLOTS],
}

impl Level {
    const EMPTY: Self =
        Self { occupied: [0; WORDS], words: 0, slots: [EventList { first: NONE, last: NONE }; SLOTS] };

    /// The first slot that is not empty.
    fn first_slot(&self) -> Option<usize> {
        // Without a set bit the result is 8, which is no index of a word: an empty level has no slot.
        let word = self.words.trailing_zeros() as usize;
        let bits = self.occupied.get(word)?;
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}

/// The list of the events of one slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventList {
    first: u32,
    last: u32,
}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        Self {
            levels: Vec::new(),
            occupied: 0,
            events: Vec::new(),
            free: NONE,
            taken_at: 0,
            scheduled: 0,
            len: 0,
        }
    }
}

impl<E> EventQueue<E> {
    /// Schedules `event` for `time`, or, if that is past, for the time of the event that was taken last. It
    /// comes after all events that were scheduled for that time before. Returns its number in the order of
    /// scheduling.
    // Inlined, so that the event is built in its final place. Otherwise it would be written in pieces and
    // then moved as a whole, and the move would wait until the pieces have reached the cache.
    #[inline(always)]
    pub fn schedule(&mut self, time: SimTime, event: E) -> u64 {
        // An event before `taken_at` would land in a slot that was passed, and break the order of time.
        let time = time.as_micros().max(self.taken_at);
        let number = self.scheduled;
        let queued = QueuedEvent { time, number, next: NONE, event: Some(event) };
        let at = match self.events.get_mut(self.free as usize) {
            Some(free) => {
                let at = self.free;
                self.free = free.next;
                *free = queued;
                at
            }
            None => {
                self.events.push(queued);
                (self.events.len() - 1) as u32
            }
        };
        self.link(at, time);
        self.scheduled += 1;
        self.len += 1;
        number
    }

    /// Takes a number in the order of scheduling for an event that is stored elsewhere.
    pub const fn number(&mut self) -> u64 {
        let number = self.scheduled;
        self.scheduled += 1;
        number
    }

    /// The time of the next event.
    pub fn peek_time(&self) -> Option<SimTime> {
        let (level, slot) = self.first_slot()?;
        Some(SimTime::from_micros(self.earliest_in(level, slot)))
    }

    /// Takes the next event and its time.
    pub fn pop(&mut self) -> Option<(SimTime, E)> {
        let mut event = None;
        let (time, _) = self.pop_into(&mut event)?;
        Some((time, event?))
    }

    /// Moves the next event into `event`, which is empty, and returns its time and its number in the order of
    /// scheduling. The event is moved as a whole and once: as a part of the result it would be taken apart
    /// and put together again, which costs as much as the rest of a pop.
    pub fn pop_into(&mut self, event: &mut Option<E>) -> Option<(SimTime, u64)> {
        debug_assert!(event.is_none(), "the event that is overwritten would be lost");
        let (level, slot, at) = loop {
            let (level, slot) = self.first_slot()?;
            let EventList { first, last } = self.levels[level].slots[slot];
            // A single event is taken from any level. Its slot is empty afterwards, so the invariants hold.
            if level == 0 || first == last {
                break (level, slot, first);
            }
            // Once `now` is the start of the slot, all its events differ from `now` in lower bytes only.
            let bits = BITS * level as u32;
            self.taken_at = self.events[first as usize].time >> bits << bits;
            self.redistribute(level, slot, |_| true);
        };
        let queued = &mut self.events[at as usize];
        let next = std::mem::replace(&mut queued.next, self.free);
        let time = queued.time;
        let number = queued.number;
        debug_assert!(time >= self.taken_at, "events come in the order of time");
        debug_assert!(queued.event.is_some(), "an entry in a slot holds an event");
        std::mem::swap(event, &mut queued.event);
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

    /// Removes the events that `keep` rejects. O(n).
    pub fn retain(&mut self, keep: impl Fn(&E) -> bool) {
        for level in 0..self.levels.len() {
            for slot in 0..SLOTS {
                // `taken_at` stays, so each event returns to its slot: once, and in the same order.
                self.redistribute(level, slot, &keep);
            }
        }
    }

    /// The number of events in the queue.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the queue has no event.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The level and the slot of the next event.
    fn first_slot(&self) -> Option<(usize, usize)> {
        let level = self.occupied.trailing_zeros() as usize;
        Some((level, self.levels.get(level)?.first_slot()?))
    }

    /// The earliest time in a slot that is not empty.
    fn earliest_in(&self, level: usize, slot: usize) -> u64 {
        let first = &self.events[self.levels[level].slots[slot].first as usize];
        let mut earliest = first.time;
        let mut next = first.next;
        // All events in a slot of level 0 have the same time.
        while level > 0 && next != NONE {
            let queued = &self.events[next as usize];
            earliest = earliest.min(queued.time);
            next = queued.next;
        }
        earliest
    }

    /// Moves the events of a slot to the slots where they belong now, in their order, and removes those that
    /// `keep` rejects.
    fn redistribute(&mut self, level: usize, slot: usize, keep: impl Fn(&E) -> bool) {
        let mut next = self.levels[level].slots[slot].first;
        self.empty(level, slot);
        while next != NONE {
            let at = next;
            let queued = &mut self.events[at as usize];
            next = std::mem::replace(&mut queued.next, NONE);
            if queued.event.as_ref().is_some_and(&keep) {
                let time = queued.time;
                self.link(at, time);
            } else {
                queued.event = None;
                queued.next = self.free;
                self.free = at;
                self.len -= 1;
            }
        }
    }

    /// Appends an event to the slot that its time selects.
    fn link(&mut self, at: u32, time: u64) {
        debug_assert!(time >= self.taken_at, "no event is scheduled before the one that was taken last");
        // The highest bit in which the two differ gives the level. Zero has no logarithm, so `| 1` puts equal
        // times on level 0.
        let level = ((time ^ self.taken_at) | 1).ilog2() / BITS;
        let slot = (time >> (BITS * level)) as usize % SLOTS;
        let level = level as usize;
        if self.levels.len() <= level {
            self.add_levels_up_to(level);
        }
        self.occupied |= 1 << level;
        let level = &mut self.levels[level];
        level.occupied[slot / 64] |= 1 << (slot % 64);
        level.words |= 1 << (slot / 64);
        let EventList { first, last } = &mut level.slots[slot];
        // Appending keeps events of one time in FIFO order. If `last` is `NONE`, the list is empty.
        let before = match self.events.get_mut(*last as usize) {
            Some(before) => &mut before.next,
            None => first,
        };
        *before = at;
        *last = at;
    }

    #[cold]
    #[inline(never)]
    fn add_levels_up_to(&mut self, level: usize) {
        self.levels.resize(level + 1, Level::EMPTY);
    }

    fn empty(&mut self, level: usize, slot: usize) {
        let emptied = &mut self.levels[level];
        emptied.slots[slot] = EventList { first: NONE, last: NONE };
        emptied.occupied[slot / 64] &= !(1 << (slot % 64));
        // Each mask summarizes the one below it: a bit is set exactly if something below it is not empty.
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

    /// Gaps between events: none, short ones, and some on every level.
    fn gap() -> impl Strategy<Value = u64> {
        prop_oneof![0..3u64, 0..5_000u64, 0..1u64 << 24, (0..64u32).prop_map(|bit| 1 << bit), Just(u64::MAX)]
    }

    proptest! {
        #[test]
        fn orders_by_time_then_by_scheduling(
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
                    // Free entries are reused while other events wait.
                    take(&mut queue, &mut expected, &mut now)?;
                }
            }
            while !queue.is_empty() {
                take(&mut queue, &mut expected, &mut now)?;
            }
            prop_assert!(expected.is_empty());
        }

        #[test]
        fn retained_events_stay_in_order(gaps in proptest::collection::vec(gap(), 0..60)) {
            let mut queue = EventQueue::default();
            for (event, gap) in (0u64..).zip(&gaps) {
                queue.schedule(SimTime::from_micros(*gap), event);
            }
            let mut thinned = queue.clone();
            thinned.retain(|event| event % 3 > 0);
            // Events in reused entries are as any others.
            thinned.schedule(SimTime::from_micros(700), 1_000);
            queue.schedule(SimTime::from_micros(700), 1_000);
            let all = std::iter::from_fn(|| queue.pop()).filter(|(_, event)| event % 3 > 0);
            let retained: Vec<_> = std::iter::from_fn(|| thinned.pop()).collect();
            prop_assert_eq!(all.collect::<Vec<_>>(), retained);
        }
    }

    #[test]
    fn past_events_are_due_at_once() {
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
