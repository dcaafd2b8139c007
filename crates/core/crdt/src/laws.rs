//! **L2** for each type: the join is idempotent, commutative and associative, has [`Value::Empty`] as its
//! bottom, and returns truthfully whether it changed the value.

use crate::{
    CharId, CrdtType, Custom, Element, GCounter, Operands, OwnedRegister, PnCounter, Presence, Register,
    RunId, Side, Text, TextRun, Value,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use syncline_types::{Hlc, ReplicaId};

fn replica() -> impl Strategy<Value = ReplicaId> {
    (0u64..4).prop_map(ReplicaId::from_u64)
}

fn register() -> impl Strategy<Value = Value> {
    // There are few distinct stamps and bytes, so that ties are common.
    (0u64..3, replica(), vec(0u8..3, 0..3))
        .prop_map(|(ms, replica, bytes)| Value::Lww(Register::new(Hlc::new(ms, 0, replica), bytes)))
}

fn gcounter() -> impl Strategy<Value = Value> {
    btree_map(replica(), 0u64..5, 0..4).prop_map(|map| Value::GCounter(GCounter::from_entries(map)))
}

fn pncounter() -> impl Strategy<Value = Value> {
    btree_map(replica(), (0u64..5, 0u64..5), 0..4)
        .prop_map(|map| Value::PnCounter(PnCounter::from_entries(map)))
}

fn element() -> impl Strategy<Value = Value> {
    let presence = (0u64..4, 0u64..4).prop_map(|(added, removed)| Presence { added, removed });
    btree_map(replica(), presence, 0..4).prop_map(|map| Value::Element(Element::from_entries(map)))
}

fn text() -> impl Strategy<Value = Value> {
    // There are few run ids, so that two values often share one. Anchors and deletions may refer to
    // runs that do not exist: the laws must hold for partial states too.
    let run = |stamp, number| RunId { stamp, number };
    let id = || (0u64..3, replica(), 0u32..2).prop_map(move |(ms, r, n)| run(Hlc::new(ms, 0, r), n));
    let anchor = proptest::option::of((id(), 0u32..3).prop_map(|(run, at)| CharId { run, at }));
    let side = prop_oneof![Just(Side::Left), Just(Side::Right)];
    let body = ("[ab]{1,3}", anchor, side).prop_map(|(chars, anchor, side)| TextRun {
        chars: chars.into(),
        anchor,
        side,
    });
    let ranges = (0u32..3, 1u32..3, 1u32..3, 1u32..3)
        .prop_map(|(a, b, c, d)| vec![(a, a + b), (a + b + c, a + b + c + d)]);
    (btree_map(id(), body, 0..4), btree_map(id(), ranges, 0..3))
        .prop_map(|(runs, deleted)| Value::Rga(Text::from_parts(runs, deleted)))
}

fn user() -> impl Strategy<Value = Value> {
    (replica(), 0u64..3, vec(0u8..3, 0..3)).prop_map(|(owner, ms, bytes)| {
        Value::User(OwnedRegister { owner, register: Register::new(Hlc::new(ms, 0, owner), bytes) })
    })
}

fn frozen() -> impl Strategy<Value = Value> {
    (0u64..3, replica(), vec(0u8..3, 0..3))
        .prop_map(|(ms, replica, bytes)| Value::Frozen(Register::new(Hlc::new(ms, 0, replica), bytes)))
}

fn opaque() -> impl Strategy<Value = Value> {
    (0u64..3, replica(), vec(0u8..3, 0..3))
        .prop_map(|(ms, replica, bytes)| Value::Opaque(Register::new(Hlc::new(ms, 0, replica), bytes)))
}

fn custom() -> impl Strategy<Value = Value> {
    // There are few times and bytes, so that operands are often covered elsewhere, and sometimes forged: two with
    // one stamp.
    let operands = (0u64..3, btree_map(0u64..4, vec(0u8..3, 0..2), 0..3)).prop_map(|(covered, gaps)| {
        let live = gaps.into_iter().map(|(gap, bytes)| (covered + 1 + gap, bytes.into())).collect();
        Operands { covered, live }
    });
    let name = prop_oneof![4 => Just("known"), 1 => Just("unknown")];
    (name, btree_map(replica(), operands, 1..4))
        .prop_filter_map("a value that writes make", |(name, writers)| {
            Custom::from_writers(name, writers).map(Value::Custom)
        })
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Empty),
        Just(Value::Map),
        Just(Value::Set),
        register(),
        gcounter(),
        pncounter(),
        element(),
        text(),
        user(),
        frozen(),
        custom(),
        opaque(),
        (0usize..17).prop_map(|at| match CrdtType::ALL[at] {
            CrdtType::SortedMap => Value::SortedMap,
            CrdtType::SortedSet => Value::SortedSet,
            CrdtType::Vector => Value::Vector,
            CrdtType::UserStorage => Value::UserStorage,
            CrdtType::FrozenStorage => Value::FrozenStorage,
            _ => Value::Empty,
        }),
    ]
}

fn joined(a: &Value, b: &Value) -> Value {
    let mut result = a.clone();
    let changed = result.join(b);
    assert_eq!(changed, result != *a, "join must return whether it changed the value");
    result
}

macro_rules! laws {
    ($($name:ident: $strategy:expr;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(10_000))]
            $(
                /// Promises: L2
                #[test]
                fn $name(a in $strategy, b in $strategy, c in $strategy) {
                    prop_assert_eq!(joined(&a, &a), a.clone());
                    prop_assert_eq!(joined(&a, &b), joined(&b, &a));
                    prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
                    prop_assert_eq!(joined(&Value::Empty, &a), a);
                }
            )*
        }
    };
}

laws! {
    register_join_obeys_laws: register();
    gcounter_join_obeys_laws: gcounter();
    pncounter_join_obeys_laws: pncounter();
    set_element_join_obeys_laws: element();
    text_join_obeys_laws: text();
    user_value_join_obeys_laws: user();
    frozen_value_join_obeys_laws: frozen();
    custom_join_obeys_laws: custom();
    opaque_join_obeys_laws: opaque();
    mixed_types_join_obeys_laws: any_value();
}
