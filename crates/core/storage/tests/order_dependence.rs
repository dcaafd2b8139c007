//! Cases in which `calimero-storage` ends in different states for different orders of arrival (`facts.md`
//! section 1.3). Here each ends in one state.

use syncline_crdt::{Custom, GCounter, OwnedRegister, Register, Value};
use syncline_storage::{Action, ApplyContext, Interface, Label, Malformed, Metadata, Record};
use syncline_store::MemoryStore;
use syncline_types::{Digest, EntityId, Hlc, Moment, ReplicaId, SimTime};

const CONTEXT: ApplyContext = ApplyContext::new(Moment::at(SimTime::from_millis(1_000)));

fn stamp(ms: u64, replica: u64) -> Hlc {
    Hlc::new(ms, 0, ReplicaId::from_u64(replica))
}

fn write(id: u64, ancestors: &[u64], at: Hlc, value: Value) -> Action {
    Action::Update {
        id: EntityId::from_u64(id),
        ancestors: ancestors.iter().map(|id| EntityId::from_u64(*id)).collect(),
        value,
        metadata: Metadata { created_at: at, updated_at: at, label: Label::None },
    }
}

fn register(at: Hlc, bytes: &[u8]) -> Value {
    Value::Lww(Register::new(at, bytes.to_vec()))
}

fn delete(id: u64, at: Hlc) -> Action {
    Action::DeleteRef { id: EntityId::from_u64(id), ancestors: vec![], deleted_at: at }
}

/// Applies the actions in every order; all must end in the same root. Returns the last state.
fn in_every_order(actions: &[Action]) -> Interface<MemoryStore> {
    fn orders(left: Vec<Action>, done: &mut Vec<Action>, each: &mut impl FnMut(&[Action])) {
        if left.is_empty() {
            each(done);
        }
        for at in 0..left.len() {
            let mut rest = left.clone();
            done.push(rest.remove(at));
            orders(rest, done, each);
            done.pop();
        }
    }
    let mut last: Option<(Digest, Interface<MemoryStore>)> = None;
    orders(actions.to_vec(), &mut Vec::new(), &mut |order| {
        let mut state = Interface::open(MemoryStore::default()).unwrap();
        for action in order {
            state.apply_action(action, &CONTEXT).unwrap();
        }
        let root = state.root_hash().unwrap();
        if let Some((expected, _)) = &last {
            assert_eq!(root, *expected, "{order:?}");
        }
        last = Some((root, state));
    });
    last.expect("at least one order").1
}

fn record(state: &mut Interface<MemoryStore>, id: u64) -> std::sync::Arc<Record> {
    state.record(EntityId::from_u64(id)).unwrap().expect("a record")
}

#[test]
fn delete_wins_at_equal_stamps() {
    let mut state = in_every_order(&[
        write(1, &[], stamp(1, 1), register(stamp(1, 1), b"old")),
        delete(1, stamp(5, 1)),
        write(1, &[], stamp(5, 1), register(stamp(5, 1), b"tie")),
    ]);
    assert!(!record(&mut state, 1).is_live());
}

#[test]
fn delete_before_its_add_deletes() {
    let mut state =
        in_every_order(&[delete(1, stamp(5, 2)), write(1, &[], stamp(1, 1), register(stamp(1, 1), b"late"))]);
    assert!(!record(&mut state, 1).is_live());
    assert!(state.visible().unwrap().is_empty());
}

#[test]
fn earlier_frozen_value_wins() {
    let frozen = |ms, replica, bytes: &[u8]| {
        let at = stamp(ms, replica);
        write(1, &[], at, Value::Frozen(Register::new(at, bytes.to_vec())))
    };
    let mut state =
        in_every_order(&[frozen(3, 1, b"second"), frozen(2, 2, b"first"), delete(1, stamp(9, 1))]);
    let record = record(&mut state, 1);
    assert!(matches!(&record.value, Value::Frozen(register) if register.bytes() == b"first"));
    assert!(record.is_live(), "and it cannot be deleted");
}

#[test]
fn values_at_equal_stamps_converge() {
    let at = stamp(4, 1);
    let owned =
        |bytes: &[u8]| Value::User(OwnedRegister { owner: at.replica(), register: Register::new(at, bytes) });
    for (one, two) in [
        (register(at, b"a"), register(at, b"b")),
        (Value::Opaque(Register::new(at, b"a".to_vec())), Value::Opaque(Register::new(at, b"b".to_vec()))),
        (owned(b"a"), owned(b"b")),
        (register(at, b"a"), Value::Map),
        (Value::Map, Value::Vector),
    ] {
        in_every_order(&[write(1, &[], at, one), write(1, &[], at, two)]);
    }
}

#[test]
fn custom_values_at_equal_stamps_converge() {
    let at = stamp(4, 1);
    let custom = |byte| Value::Custom(Custom::written("own", at, [byte]));
    let mut state = in_every_order(&[write(1, &[], at, custom(3)), write(1, &[], at, custom(7))]);
    assert_eq!(record(&mut state, 1).value, custom(7));
}

#[test]
fn operand_that_compaction_missed_stays() {
    let [first, missed, second] = [stamp(1, 1), stamp(2, 2), stamp(3, 1)];
    let operand = |at, bytes: &[u8]| Custom::written("own", at, bytes);
    let mut seen = operand(first, b"a");
    seen.join(&operand(second, b"b"));
    let compaction = seen.replacing(stamp(4, 3), *b"ab");
    let state = in_every_order(&[
        write(1, &[], first, Value::Custom(operand(first, b"a"))),
        write(1, &[], missed, Value::Custom(operand(missed, b"c"))),
        write(1, &[], second, Value::Custom(operand(second, b"b"))),
        write(1, &[], stamp(4, 3), Value::Custom(compaction)),
    ]);
    let found = record(&mut { state }, 1);
    let Value::Custom(custom) = &found.value else { panic!("{found}") };
    let operands: Vec<&[u8]> = custom.operands().into_iter().map(|(_, bytes)| &**bytes).collect();
    assert_eq!(operands, [&b"c"[..], b"ab"]);
}

#[test]
fn write_of_custom_value_carries_one_operand() {
    let at = stamp(4, 1);
    let refused = |custom: Custom| write(1, &[], at, Value::Custom(custom)).to_record().err();
    assert_eq!(refused(Custom::written("own", at, *b"a")), None);
    let id = EntityId::from_u64(1);
    let mut two = Custom::written("own", at, *b"a");
    two.join(&Custom::written("own", stamp(3, 2), *b"b"));
    assert_eq!(refused(two), Some(Malformed::Operands { id, found: 2 }));
    assert_eq!(
        refused(Custom::written("own", stamp(3, 1), *b"a")),
        Some(Malformed::Operands { id, found: 1 })
    );
    assert_eq!(refused(Custom::written("own", stamp(5, 1), *b"a")), Some(Malformed::ValueAfterRecord { id }));
}

#[test]
fn counter_with_older_stamp_counts() {
    let count = |ms, replica, n| {
        write(1, &[], stamp(ms, replica), Value::GCounter(GCounter::of(ReplicaId::from_u64(replica), n)))
    };
    let mut state = in_every_order(&[count(9, 1, 5), count(2, 2, 3), count(4, 3, 1)]);
    assert!(matches!(&record(&mut state, 1).value, Value::GCounter(counter) if counter.total() == 9));
}

#[test]
fn bytes_do_not_overwrite_counter() {
    let at = stamp(9, 1);
    let counter = Value::GCounter(GCounter::of(ReplicaId::from_u64(2), 3));
    let mut state =
        in_every_order(&[write(1, &[], stamp(2, 2), counter), write(1, &[], at, register(at, b"1234"))]);
    assert!(matches!(&record(&mut state, 1).value, Value::GCounter(counter) if counter.total() == 3));
}

#[test]
fn conflicting_positions_converge() {
    let at = stamp(3, 1);
    let mut state = in_every_order(&[
        write(1, &[2], at, register(at, b"x")),
        write(1, &[3, 4], at, register(at, b"y")),
        write(2, &[1], at, Value::Map),
        write(5, &[1], at, register(at, b"below")),
    ]);
    let all = state.visible().unwrap().len();
    assert_eq!(all, 3, "nobody is an orphan, and nothing is its own ancestor");
}

#[test]
fn text_of_many_writers_is_readable() {
    use syncline_crdt::{RunId, Text};
    use syncline_store::Store;
    let deletions = |from: u64| {
        let deleted = (from..from + 40_000).map(|n| (RunId { stamp: stamp(1, n), number: 0 }, vec![(0, 1)]));
        write(1, &[], stamp(2, from), Value::Rga(Text::from_parts([], deleted)))
    };
    let mut store = MemoryStore::default();
    for from in [0, 40_000] {
        let mut state = Interface::open(store.view()).unwrap();
        let _refused = state.apply_action(&deletions(from), &CONTEXT);
        store.apply(state.finish().unwrap()).unwrap();
    }
    let mut state = Interface::open(store.view()).unwrap();
    assert!(state.visible().is_ok());
    // A single write of that many writers is refused.
    let all = (0..70_000).map(|n| (RunId { stamp: stamp(1, n), number: 0 }, vec![(0, 1)]));
    let too_much = write(1, &[], stamp(3, 1), Value::Rga(Text::from_parts([], all)));
    assert!(state.apply_action(&too_much, &CONTEXT).is_err());
}
