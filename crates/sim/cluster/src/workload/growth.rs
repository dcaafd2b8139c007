//! Workloads that make one thing large: a document, a list, a tree, a value, the number of entities.
//!
//! The writes follow from the number of the write, so that what grows does grow; chance decides sizes, content and
//! mishaps. They are evenly spread over the time of the workload and keep their order.

use crate::workload::trace::{self, RecordedEdit};
use crate::workload::{PlannedWrite, Workload, Write};
use serde::{Deserialize, Serialize};
use sync_sim_engine::faults::FaultConfig;
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::random::{Choices, Stream};
use syncline_replica::{Collection, Item, Operation, Target};
use syncline_types::{Choice, SimDuration, SimTime};

/// What a workload makes large.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Growth {
    /// One text: [`Workload::size`] characters are pasted, then authors type and delete as recorded in real
    /// documents, an edit an operation.
    #[serde(rename = "document")]
    Document,
    /// Single values: registers, entries and pastes into one text, of up to [`Workload::size`] bytes, several nodes
    /// at the same instant.
    #[serde(rename = "large_values")]
    LargeValues,
    /// The number of entities: each write brings as many entries as it may have operations.
    #[serde(rename = "import")]
    Import,
    /// A sorted map with keys that begin each other: `a`, `aa`, `aaa`.
    #[serde(rename = "prefixes")]
    Prefixes,
    /// A list into which nodes insert in turn, each after the heading and before what the other inserted last.
    #[serde(rename = "list_in_turn")]
    ListInTurn,
    /// A list of up to [`Workload::size`] items, the first half appended by one author, the others put before them by a
    /// second one; then all edit it anywhere.
    #[serde(rename = "long_list")]
    LongList,
    /// Maps in maps, up to [`Workload::size`] deep.
    #[serde(rename = "deep_tree")]
    DeepTree,
}

impl Growth {
    /// All kinds of growth.
    pub const ALL: [Self; 7] = [
        Self::Document,
        Self::LargeValues,
        Self::Import,
        Self::Prefixes,
        Self::ListInTurn,
        Self::LongList,
        Self::DeepTree,
    ];

    /// How many writes are made at the same instant, by different nodes.
    const fn together(self, nodes: usize) -> usize {
        if matches!(self, Self::LargeValues) { nodes } else { 1 }
    }
}

/// The writes of one author at one time.
struct Turn {
    /// The number of the author; authors beyond the number of nodes share nodes.
    author: usize,
    operations: Vec<Operation>,
}

impl Workload {
    /// Draws `count` writes that make one thing large.
    pub(super) fn draw_growth(
        &self,
        growth: Growth,
        (count, nodes): (usize, usize),
        start: SimTime,
        faults: &FaultConfig,
        choices: &mut Choices,
    ) -> Vec<PlannedWrite> {
        if count == 0 || nodes == 0 {
            return Vec::new();
        }
        let content = choices.below(Stream::Workload, Choice::WriteValue, 1 << 32);
        let turns = self.turns(growth, count, nodes, content, choices);
        assert!(turns.len() <= count, "each turn is one write");
        let together = growth.together(nodes);
        let mut planned = Vec::with_capacity(turns.len());
        for (number, Turn { author, operations }) in turns.into_iter().enumerate() {
            let step = number / together * together;
            let offset = u128::from(self.over.as_micros()) * step as u128 / count as u128;
            let at = start + SimDuration::from_micros(offset as u64);
            let mishap = self.mishap(faults, choices);
            let write = Write { operations, wraps: true, context: 0 };
            planned.push(PlannedWrite { at, node: NodeId((author % nodes) as u32), write, mishap });
        }
        planned
    }

    fn turns(
        &self,
        growth: Growth,
        count: usize,
        nodes: usize,
        content: u64,
        choices: &mut Choices,
    ) -> Vec<Turn> {
        let most = self.operations.max(1) as usize;
        let size = self.size.max(1) as usize;
        match growth {
            Growth::Document => document(content as usize, size, most, count),
            Growth::LargeValues => large_values(self.keys.max(1), size as u64, count, content, choices),
            Growth::Import => (0..count).map(|number| import(number, most)).collect(),
            Growth::Prefixes => (0..count).map(|number| prefixes(number, most)).collect(),
            Growth::ListInTurn => (0..count).map(|number| list_in_turn(number, most, nodes)).collect(),
            Growth::LongList => {
                let size = size.min(count);
                (0..count).map(|number| long_list(number, size, content as usize, nodes)).collect()
            }
            Growth::DeepTree => deep_tree(size, most, count),
        }
    }
}

fn named(what: &str) -> Target {
    Target::named(what.as_bytes())
}

/// A document that begins with pasted text and is then edited as recorded. When the record ends it begins again: a
/// new chapter before the others.
fn document(number: usize, size: usize, most: usize, count: usize) -> Vec<Turn> {
    let target = named("document");
    let pasted = trace::prose(number, size);
    let paste = Operation::InsertText { target: target.clone(), at: 0, text: pasted };
    let mut turns = vec![Turn { author: 0, operations: vec![paste] }];
    let recorded = trace::edits(number);
    for RecordedEdit { author, at, deleted, inserted } in recorded.into_iter().cycle() {
        let mut operations = Vec::new();
        if deleted > 0 {
            operations.push(Operation::DeleteText { target: target.clone(), at, count: deleted });
        }
        if !inserted.is_empty() {
            operations.push(Operation::InsertText { target: target.clone(), at, text: inserted });
        }
        let is_full = turns.len() == count;
        match turns.last_mut().filter(|turn| turn.author == author && turn.operations.len() < most) {
            Some(turn) => turn.operations.extend(operations),
            None if is_full => break,
            None => turns.push(Turn { author, operations }),
        }
    }
    turns
}

/// Values of log-uniform sizes up to `size` bytes, the nodes taking turns.
fn large_values(keys: u64, size: u64, count: usize, content: u64, choices: &mut Choices) -> Vec<Turn> {
    const STREAM: Stream = Stream::Workload;
    /// Smaller values are those of other workloads.
    const LEAST: u64 = 256;
    let mut turns = Vec::with_capacity(count);
    for number in 0..count {
        let doublings = u64::from((size / LEAST).max(1).ilog2());
        let floor = LEAST << choices.between(STREAM, Choice::WriteValue, 0, doublings);
        let bytes = choices.between(STREAM, Choice::WriteValue, floor, (2 * floor).min(size).max(floor));
        let key = choices.below(STREAM, Choice::WriteKey, 2 + keys);
        let text = letters(content ^ number as u64, bytes as usize);
        let operation = match key {
            0 | 1 => Operation::InsertText { target: named("pasted"), at: 0, text },
            key if key % 2 == 0 => {
                Operation::Set { target: named(&format!("blob {key}")), bytes: text.into_bytes() }
            }
            key => {
                Operation::Set { target: named("blobs").child(&key.to_le_bytes()), bytes: text.into_bytes() }
            }
        };
        turns.push(Turn { author: number, operations: vec![operation] });
    }
    turns
}

/// Letters that do not compress well.
fn letters(seed: u64, count: usize) -> String {
    // Splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
    let mut state = seed;
    let mut text = String::with_capacity(count + 8);
    while text.len() < count {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        for byte in (mixed ^ (mixed >> 31)).to_le_bytes() {
            text.push(char::from(b'A' + byte % 58));
        }
    }
    text.truncate(count);
    text
}

/// New entries of two maps.
fn import(number: usize, most: usize) -> Turn {
    let map = named("imported");
    let sorted = named("imported, sorted");
    let entry = |at: usize| {
        let key = (at as u64).to_be_bytes();
        let target = if at.is_multiple_of(4) { sorted.ordered_child(&key) } else { map.child(&key) };
        Operation::Set { target, bytes: format!("imported value {at}").into_bytes() }
    };
    let first = number * most;
    Turn { author: number, operations: (first..first + most).map(entry).collect() }
}

/// The next keys of a sorted map in which each key begins the next.
fn prefixes(number: usize, most: usize) -> Turn {
    let target = named("prefixes");
    let mut operations = Vec::new();
    if number == 0 {
        operations.push(Operation::Create { target: target.clone(), collection: Collection::SortedMap });
    }
    let first = number * most + 1;
    let entry =
        |length: usize| Operation::Set { target: target.ordered_child(&vec![b'a'; length]), bytes: vec![1] };
    operations.extend((first..first + most).map(entry));
    Turn { author: number, operations }
}

/// The next items of a list, newest first under a heading.
fn list_in_turn(number: usize, most: usize, nodes: usize) -> Turn {
    let list = named("newest first");
    let item = |at, text: String| Operation::InsertItem {
        list: list.clone(),
        at,
        item: Item::Bytes(text.into_bytes()),
    };
    if number == 0 {
        let create = Operation::Create { target: list.clone(), collection: Collection::List };
        let operations = vec![create, item(0, "heading".into()), item(1, "footer".into())];
        return Turn { author: 0, operations };
    }
    let operations = (0..most).map(|at| item(1, format!("message {number}.{at}"))).collect();
    Turn { author: number % nodes.min(2), operations }
}

/// The next edit of a list that two authors fill, each in long runs, and all edit afterwards.
fn long_list(number: usize, size: usize, content: usize, nodes: usize) -> Turn {
    let list = named("long list");
    let insert = |at| Operation::InsertItem {
        list: list.clone(),
        at,
        item: Item::Bytes(format!("item {number}").into_bytes()),
    };
    let half = size.div_ceil(2);
    // The first author knows the length of the list, which nobody else writes yet.
    let (author, operation) = match number {
        _ if number < half => (0, insert(number)),
        _ if number < size => (1, insert(0)),
        _ => {
            let at = (content ^ number).wrapping_mul(0x9e37_79b9) >> 8;
            let deletes = at.is_multiple_of(3);
            (at % nodes, if deletes { Operation::DeleteItem { list: list.clone(), at } } else { insert(at) })
        }
    };
    let create = Operation::Create { target: list, collection: Collection::List };
    let first = if number == 0 { vec![create] } else { Vec::new() };
    Turn { author, operations: first.into_iter().chain([operation]).collect() }
}

/// Entries of maps in maps: each write goes on where the last one ended, from the top again at the bottom.
fn deep_tree(depth: usize, most: usize, count: usize) -> Vec<Turn> {
    let mut turns = Vec::with_capacity(count);
    let mut map = named("level 0");
    let mut level = 0;
    for number in 0..count {
        let mut operations = Vec::with_capacity(most);
        for _ in 0..most {
            let bytes = format!("write {number}").into_bytes();
            operations.push(Operation::Set { target: map.child(b"leaf"), bytes });
            level = (level + 1) % depth;
            map = if level == 0 { named("level 0") } else { map.child(format!("level {level}").as_bytes()) };
        }
        turns.push(Turn { author: number, operations });
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(growth: Growth, writes: usize, nodes: usize) -> Vec<PlannedWrite> {
        let workload = Workload {
            size: 2_000,
            operations: 3,
            ..Workload::growing(growth, writes, SimDuration::from_secs(9))
        };
        let faults = FaultConfig::none();
        workload.draw(writes, nodes, SimTime::ZERO, &faults, &mut Choices::seeded(7))
    }

    #[test]
    fn growth_draws_every_write_in_order() {
        for growth in Growth::ALL {
            let planned = drawn(growth, 40, 3);
            assert_eq!(planned.len(), 40, "{growth:?}");
            assert!(planned.is_sorted_by_key(|write| write.at), "{growth:?}");
            assert!(planned.iter().all(|write| write.at < SimTime::from_secs(9)), "{growth:?}");
            let writers = planned.iter().map(|write| write.node).collect::<std::collections::BTreeSet<_>>();
            assert!(writers.len() > 1, "{growth:?}: several nodes write");
            assert_eq!(planned, drawn(growth, 40, 3), "{growth:?}: a seed decides all");
        }
    }

    #[test]
    fn large_values_are_pasted_together() {
        let planned = drawn(Growth::LargeValues, 9, 3);
        let at: Vec<SimTime> = planned.iter().map(|write| write.at).collect();
        assert!(at[0] == at[2] && at[3] == at[5] && at[2] < at[3], "{at:?}");
    }

    #[test]
    fn keys_begin_each_other() {
        let mut last = Vec::new();
        for write in drawn(Growth::Prefixes, 5, 2) {
            for operation in &write.write.operations {
                let Operation::Set { target, .. } = operation else { continue };
                let key = target.label.bytes().unwrap().to_vec();
                assert!(key.len() == last.len() + 1 && key.starts_with(&last));
                last = key;
            }
        }
        assert_eq!(last.len(), 15);
    }
}
