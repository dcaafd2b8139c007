//! Every type against a naive specification: three replicas write through typed handles and sometimes
//! exchange all they have. The specification knows only who wrote what, when, and which writes the author
//! had seen; it has no tree, no join and no tombstone.

use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use syncline_replica::model::*;
use syncline_replica::{Merges, Operation};
use syncline_storage::{Action, ApplyContext, Interface};
use syncline_store::{MemoryStore, Store};
use syncline_types::{Hlc, HlcClock, Moment, ReplicaId, SimTime};

type State = Interface<MemoryStore>;

const MOMENT: Moment = Moment::at(SimTime::from_millis(1_000));

struct Replica {
    store: MemoryStore,
    clock: HlcClock,
    /// The numbers of the writes that it has seen.
    seen: BTreeSet<usize>,
}

/// A write as the specification knows it.
struct Written {
    action: Action,
    stamp: Hlc,
    by: usize,
    saw: BTreeSet<usize>,
}

struct Cluster {
    replicas: Vec<Replica>,
    writes: Vec<Written>,
}

fn merges() -> Merges {
    let bits = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a | b).collect();
    Merges::default().with("bits", &[&[1, 2], &[4, 3], &[0, 8]], bits).unwrap()
}

fn replica_id(at: usize) -> ReplicaId {
    ReplicaId::from_u64(at as u64 + 1)
}

impl Cluster {
    fn new() -> Self {
        let replica = |at| Replica {
            store: MemoryStore::default(),
            clock: HlcClock::new(replica_id(at)),
            seen: BTreeSet::new(),
        };
        Self { replicas: (0..3).map(replica).collect(), writes: Vec::new() }
    }

    fn state(&self, at: usize) -> State {
        State::open_with(self.replicas[at].store.view(), merges()).unwrap()
    }

    /// Writes at a replica; gives the number of the write, or `None` if it cannot be done.
    fn write(&mut self, at: usize, operation: &Operation) -> Option<usize> {
        let mut state = self.state(at);
        let own = &mut self.replicas[at];
        let action = operation.to_action(&mut state, &mut own.clock, MOMENT).ok()?;
        let number = self.writes.len();
        let stamp = Hlc::new(own.clock.last() >> 16, own.clock.last() as u16, replica_id(at));
        self.writes.push(Written { action, stamp, by: at, saw: own.seen.clone() });
        self.receive(at, number);
        Some(number)
    }

    fn receive(&mut self, at: usize, number: usize) {
        let mut state = self.state(at);
        let written = &self.writes[number];
        state.apply_action(&written.action, &ApplyContext::new(MOMENT)).unwrap();
        let own = &mut self.replicas[at];
        own.clock.observe(written.stamp);
        own.store.apply(state.finish().unwrap()).unwrap();
        own.seen.insert(number);
    }

    /// Brings everything that one replica has to another, backwards if asked.
    fn exchange(&mut self, from: usize, to: usize, backwards: bool) {
        let mut lacking: Vec<usize> =
            self.replicas[from].seen.difference(&self.replicas[to].seen).copied().collect();
        if backwards {
            lacking.reverse();
        }
        lacking.into_iter().for_each(|number| self.receive(to, number));
    }

    fn settle(&mut self) {
        for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 1)] {
            self.exchange(from, to, from == 1);
        }
        let roots: BTreeSet<_> = (0..3).map(|at| self.state(at).root_hash().unwrap()).collect();
        assert_eq!(roots.len(), 1, "all replicas have the same root");
    }

    /// The latest of these writes.
    fn latest(&self, of: impl Iterator<Item = usize>) -> Option<usize> {
        of.max_by_key(|number| self.writes[*number].stamp)
    }
}

/// A write at a replica, and perhaps an exchange after it.
#[derive(Clone, Debug)]
struct Step {
    at: usize,
    key: u8,
    what: u8,
    value: u8,
    exchange: Option<(usize, bool)>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let exchange = prop::option::weighted(0.3, (0usize..3, any::<bool>()));
    let step = (0usize..3, 0u8..4, 0u8..8, 0u8..6, exchange)
        .prop_map(|(at, key, what, value, exchange)| Step { at, key, what, value, exchange });
    vec(step, 1..40)
}

/// Runs the steps; `operation` says what each writes. Gives the writes that could be done.
fn run<T>(
    steps: &[Step],
    mut operation: impl FnMut(&Step, &mut State) -> (Operation, T),
) -> (Cluster, Vec<(usize, T)>) {
    let mut cluster = Cluster::new();
    let mut done = Vec::new();
    for step in steps {
        let (operation, note) = operation(step, &mut cluster.state(step.at));
        if let Some(number) = cluster.write(step.at, &operation) {
            done.push((number, note));
        }
        if let Some((to, backwards)) = step.exchange {
            cluster.exchange(step.at, to, backwards);
        }
    }
    cluster.settle();
    (cluster, done)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn map_holds_last_write_per_key(steps in steps()) {
        let map: Map<u32, Register<u32>> = Map::named("map");
        let sorted: SortedMap<u32, Register<u32>> = SortedMap::named("sorted");
        let (cluster, done) = run(&steps, |step, _| {
            let key = u32::from(step.key);
            let value = u32::from(step.value);
            let in_sorted = step.what % 2 == 1;
            let delete = step.what >= 6;
            let operation = match (in_sorted, delete) {
                (false, false) => map.entry(&key).set(&value),
                (false, true) => map.remove(&key),
                (true, false) => sorted.entry(&key).set(&value),
                (true, true) => sorted.remove(&key),
            };
            (operation, (in_sorted, key, (!delete).then_some(value)))
        });
        for in_sorted in [false, true] {
            let mut expected = BTreeMap::new();
            for key in 0..4u32 {
                let of_key = done.iter().filter(|(_, (s, k, _))| *s == in_sorted && *k == key);
                let last = cluster.latest(of_key.map(|(number, _)| *number));
                let value = last.and_then(|last| done.iter().find(|(number, _)| *number == last)?.1.2);
                expected.extend(value.map(|value| (key, value)));
            }
            let mut state = cluster.state(0);
            let keys: Vec<u32> = expected.keys().copied().collect();
            if in_sorted {
                prop_assert_eq!(&sorted.keys(&mut state, None, 99).unwrap(), &keys);
                let from: Vec<u32> = keys.iter().copied().filter(|key| *key >= 2).collect();
                prop_assert_eq!(sorted.keys(&mut state, Some(&2), 99).unwrap(), from);
            } else {
                let mut found = map.keys(&mut state).unwrap();
                found.sort_unstable();
                prop_assert_eq!(&found, &keys);
            }
            for key in 0..4u32 {
                let entry = if in_sorted { sorted.entry(&key) } else { map.entry(&key) };
                prop_assert_eq!(entry.get(&mut state).unwrap(), expected.get(&key).copied());
            }
        }
    }

    #[test]
    fn counters_sum_every_increment(steps in steps()) {
        let grow = GrowCounter::named("grow");
        let both = Counter::named("both");
        let (cluster, done) = run(&steps, |step, _| {
            let by = i64::from(step.value) - 2;
            if step.what % 2 == 0 { (grow.add(u64::from(step.value)), (u128::from(step.value), 0)) }
            else { (both.add(by), (0, i128::from(by))) }
        });
        let mut state = cluster.state(1);
        prop_assert_eq!(grow.get(&mut state).unwrap(), done.iter().map(|(_, (n, _))| n).sum::<u128>());
        prop_assert_eq!(both.get(&mut state).unwrap(), done.iter().map(|(_, (_, n))| n).sum::<i128>());
    }

    #[test]
    fn set_add_wins_over_unseen_remove(steps in steps()) {
        let plain: Set<u32> = Set::named("plain");
        let sorted: SortedSet<u32> = SortedSet::named("sorted");
        let (cluster, done) = run(&steps, |step, _| {
            let element = u32::from(step.key);
            let in_sorted = step.what % 2 == 1;
            let remove = step.what >= 5;
            let operation = match (in_sorted, remove) {
                (false, false) => plain.insert(&element),
                (false, true) => plain.remove(&element),
                (true, false) => sorted.insert(&element),
                (true, true) => sorted.remove(&element),
            };
            (operation, (in_sorted, element, remove))
        });
        for in_sorted in [false, true] {
            let of = |element| done.iter().filter(move |(_, (s, e, _))| *s == in_sorted && *e == element);
            let present = |element: &u32| of(*element).filter(|(_, (.., remove))| !remove).any(|(add, _)| {
                !of(*element).any(|(number, (.., remove))| *remove && cluster.writes[*number].saw.contains(add))
            });
            let expected: Vec<u32> = (0..4).filter(present).collect();
            let mut state = cluster.state(2);
            if in_sorted {
                prop_assert_eq!(sorted.elements(&mut state, None, 99).unwrap(), expected);
            } else {
                let mut found = plain.elements(&mut state).unwrap();
                found.sort_unstable();
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn user_storage_last_frozen_storage_first(steps in steps()) {
        let own: UserStorage<u32> = UserStorage::named("own");
        let frozen: FrozenStorage<u32, u32> = FrozenStorage::named("frozen");
        let (cluster, done) = run(&steps, |step, _| {
            let key = u32::from(step.key);
            let value = u32::from(step.value);
            match step.what {
                0..=3 => (own.set(&value), (None, value)),
                4..=6 => (frozen.entry(&key).freeze(&value), (Some(key), value)),
                _ => (frozen.entry(&key).delete(), (Some(99), value)),
            }
        });
        let mut state = cluster.state(0);
        let value_of = |number| done.iter().find(|(n, _)| *n == number).map(|(_, (_, value))| *value);
        for at in 0..3 {
            let writes = done.iter().filter(|(n, (key, _))| key.is_none() && cluster.writes[*n].by == at);
            let last = cluster.latest(writes.map(|(n, _)| *n)).and_then(value_of);
            prop_assert_eq!(own.get(&mut state, replica_id(at)).unwrap(), last);
        }
        for key in 0..4u32 {
            let writes = done.iter().filter(|(_, (k, _))| *k == Some(key)).map(|(n, _)| *n);
            let first = writes.min_by_key(|n| cluster.writes[*n].stamp).and_then(value_of);
            // A place that was only ever deleted holds nothing of a type.
            prop_assert_eq!(frozen.entry(&key).get(&mut state).ok().flatten(), first);
        }
    }

    #[test]
    fn custom_values_merge_all_states(steps in steps()) {
        let flags = Merged::named("flags");
        let (cluster, done) = run(&steps, |step, _| {
            let bits = vec![1 << step.value, step.key];
            (flags.merge("bits", &bits), bits)
        });
        let expected = done.iter().fold([0, 0], |all, (_, bits)| [all[0] | bits[0], all[1] | bits[1]]);
        prop_assert_eq!(flags.get(&mut cluster.state(0)).unwrap(), Some(expected.to_vec()));
    }

    /// A list keeps every item that nobody deleted, in an order that agrees with what every replica
    /// ever saw. So does a text.
    #[test]
    fn lists_and_texts_keep_observed_order(steps in steps()) {
        let list: List<Register<u32>> = List::named("list");
        let text: Text = Text::named("text");
        let mut orders: Vec<Vec<u32>> = Vec::new();
        let mut next = 0u32;
        let mut inserted = BTreeSet::new();
        let mut deleted = BTreeSet::new();
        let char_of = |n: u32| char::from_u32(0x4e00 + n).expect("a character");
        let items = |state: &mut State| -> Vec<u32> {
            let items = list.items(state, 0, 99).unwrap();
            items.iter().map(|item| item.get(state).unwrap().expect("a value")).collect()
        };
        let (cluster, _) = run(&steps, |step, state| {
            let seen = items(state);
            orders.push(seen.clone());
            let chars: Vec<u32> = text.get(state).unwrap().chars().map(|c| c as u32 - 0x4e00).collect();
            orders.push(chars.clone());
            let at = |len: usize| (usize::from(step.key) * 7 + usize::from(step.value)) % (len + 1);
            next += 1;
            let operation = match step.what {
                0..=2 => {
                    inserted.insert(next);
                    list.insert(at(seen.len()), next)
                }
                3 => {
                    let at = at(seen.len());
                    deleted.extend(seen.get(at));
                    list.remove(at)
                }
                4..=6 => {
                    inserted.insert(next);
                    text.insert(at(chars.len()), &char_of(next).to_string())
                }
                _ => {
                    let at = at(chars.len());
                    let count = usize::from(step.value).min(chars.len() - at);
                    deleted.extend(&chars[at..at + count]);
                    text.remove(at, count)
                }
            };
            (operation, ())
        });
        let mut state = cluster.state(1);
        let chars: Vec<u32> = text.get(&mut state).unwrap().chars().map(|c| c as u32 - 0x4e00).collect();
        let items = items(&mut state);
        let found: BTreeSet<u32> = chars.iter().chain(&items).copied().collect();
        prop_assert_eq!(found.len(), chars.len() + items.len(), "nothing is there twice");
        prop_assert_eq!(&found, &inserted.difference(&deleted).copied().collect::<BTreeSet<_>>());
        prop_assert_eq!(list.len(&mut state).unwrap(), items.len());
        let place: BTreeMap<u32, usize> = items.iter().chain(&chars).enumerate().map(|(at, n)| (*n, at)).collect();
        for order in orders {
            let places: Vec<usize> = order.iter().filter_map(|n| place.get(n).copied()).collect();
            prop_assert!(places.is_sorted(), "{:?} was seen, {:?} {:?} is", order, items, chars);
        }
    }
}

#[test]
fn deleting_nested_collection_hides_contents() {
    let mut cluster = Cluster::new();
    let boards: Map<String, List<Map<String, Counter>>> = Map::named("boards");
    let home = boards.entry(&"home".to_owned());
    cluster.write(0, &home.insert(0, ())).unwrap();
    let first = home.items(&mut cluster.state(0), 0, 1).unwrap().remove(0);
    cluster.write(0, &first.entry(&"votes".to_owned()).add(2)).unwrap();
    cluster.exchange(0, 1, true);
    cluster.write(1, &first.entry(&"votes".to_owned()).add(3)).unwrap();
    cluster.settle();
    let mut state = cluster.state(2);
    assert_eq!(
        boards.keys(&mut state).unwrap(),
        Vec::<String>::new(),
        "nobody created the list of the board"
    );
    assert_eq!(first.keys(&mut state).unwrap(), ["votes"]);
    assert_eq!(first.entry(&"votes".to_owned()).get(&mut state).unwrap(), 5);
    cluster.write(2, &boards.remove(&"home".to_owned())).unwrap();
    cluster.settle();
    let mut state = cluster.state(0);
    assert_eq!(home.len(&mut state).unwrap(), 0);
    assert_eq!(first.entry(&"votes".to_owned()).get(&mut state).unwrap(), 0);
}

#[test]
fn opaque_bytes_are_stored_and_counted() {
    let mut cluster = Cluster::new();
    let blob: Opaque<String> = Opaque::named("blob");
    cluster.write(0, &blob.set(&"one".to_owned())).unwrap();
    cluster.write(1, &blob.set(&"two".to_owned())).unwrap();
    cluster.settle();
    let mut state = cluster.state(2);
    assert_eq!(blob.get(&mut state).unwrap().as_deref(), Some("two"));
    assert_eq!(state.stats().unwrap().opaque, 1);
    cluster.write(2, &blob.delete()).unwrap();
    assert_eq!(cluster.state(2).stats().unwrap().opaque, 0);
}

#[test]
fn wrong_type_error_names_both_types() {
    let mut cluster = Cluster::new();
    cluster.write(0, &Counter::named("n").add(1)).unwrap();
    let error = Register::<u32>::named("n").get(&mut cluster.state(0)).unwrap_err();
    assert!(error.to_string().contains("PnCounter") && error.to_string().contains("LwwRegister"), "{error}");
    assert!(cluster.write(0, &Text::named("n").insert(0, "x")).is_none());
    cluster.write(0, &Register::named("short").set(&vec![1u8])).unwrap();
    assert!(matches!(
        Register::<u64>::named("short").get(&mut cluster.state(0)),
        Err(ReadError::Data { .. })
    ));
}

#[test]
fn writes_of_unregistered_type_are_taken_and_not_shown() {
    let mut store = MemoryStore::default();
    let mut clock = HlcClock::new(replica_id(0));
    let flags = Merged::named("flags");
    for bits in [[1, 0], [0, 2], [0, 1]] {
        let mut state = State::open(store.clone()).unwrap();
        let action = flags.merge("bits", &bits).to_action(&mut state, &mut clock, MOMENT).unwrap();
        state.apply_action(&action, &ApplyContext::new(MOMENT)).unwrap();
        store.apply(state.finish().unwrap()).unwrap();
    }
    let error = flags.get(&mut State::open(store.clone()).unwrap()).unwrap_err();
    assert!(matches!(&error, ReadError::Unmerged { unmerged, .. } if unmerged.operands == 3), "{error}");
    assert!(error.to_string().contains("3 operands of the type \"bits\" are not merged"), "{error}");
    let mut knowing = State::open_with(store, merges()).unwrap();
    let operands = flags.operands(&mut knowing).unwrap();
    let operands: Vec<Vec<u8>> = operands.into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(operands, [[1, 0], [0, 2], [0, 1]]);
    assert_eq!(flags.get(&mut knowing).unwrap(), Some(vec![1, 3]));
}

#[test]
fn deleted_text_does_not_come_back() {
    let mut cluster = Cluster::new();
    let text = Text::named("text");
    cluster.write(0, &text.insert(0, "secret")).unwrap();
    cluster.write(0, &text.delete()).unwrap();
    assert!(cluster.write(0, &text.insert(3, "x")).is_none(), "there is nothing to count in");
    cluster.write(0, &text.insert(0, "new")).unwrap();
    cluster.settle();
    assert_eq!(text.get(&mut cluster.state(2)).unwrap(), "new");
}

#[test]
fn freezing_twice_is_an_error() {
    let mut cluster = Cluster::new();
    let storage: FrozenStorage<u32, u32> = FrozenStorage::named("frozen");
    cluster.write(0, &storage.entry(&1).freeze(&5)).unwrap();
    assert!(cluster.write(0, &storage.entry(&1).freeze(&6)).is_none());
    assert_eq!(storage.entry(&1).get(&mut cluster.state(0)).unwrap(), Some(5));
}

#[test]
fn forged_item_cannot_block_list() {
    use syncline_crdt::{Register as Value0, Value};
    use syncline_storage::{Label, Metadata};
    use syncline_types::EntityId;
    let mut cluster = Cluster::new();
    let list: List<Register<u32>> = List::named("list");
    cluster.write(0, &list.insert(0, 1)).unwrap();
    let target = list.target().clone();
    let made_up: [&[u8]; 2] = [&[0xff], &[0]];
    for (n, label) in made_up.into_iter().enumerate() {
        for id in [EntityId::from_u64(99 + n as u64), EntityId::child_of(target.id, label)] {
            let at = Hlc::new(9, 0, replica_id(2));
            let action = Action::Add {
                id,
                ancestors: vec![target.id],
                value: Value::Lww(Value0::new(at, vec![0])),
                metadata: Metadata { created_at: at, updated_at: at, label: Label::Ordered(label.into()) },
            };
            let mut state = cluster.state(0);
            state.apply_action(&action, &ApplyContext::new(MOMENT)).unwrap();
            cluster.replicas[0].store.apply(state.finish().unwrap()).unwrap();
        }
    }
    cluster.write(0, &list.insert(1, 2)).unwrap();
    cluster.write(0, &list.insert(0, 0)).unwrap();
    let mut state = cluster.state(0);
    let items = list.items(&mut state, 0, 9).unwrap();
    let values: Vec<u32> = items.iter().map(|item| item.get(&mut state).unwrap().unwrap()).collect();
    assert_eq!(values, [0, 1, 2]);
    cluster.write(0, &list.remove(1)).unwrap();
    assert_eq!(list.len(&mut cluster.state(0)).unwrap(), 2);
}
