//! **L2**, one line per type: joining is idempotent, commutative and associative, and says
//! truthfully whether it changed anything.

use crate::{Element, GCounter, PnCounter, Presence, Register, Value};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use syncline_types::{Hlc, ReplicaId};

fn replica() -> impl Strategy<Value = ReplicaId> {
    (0u64..4).prop_map(ReplicaId::from_u64)
}

fn register() -> impl Strategy<Value = Value> {
    // Few distinct stamps and bytes, so that ties are common.
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

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Empty),
        Just(Value::Map),
        Just(Value::Set),
        register(),
        gcounter(),
        pncounter(),
        element()
    ]
}

fn joined(a: &Value, b: &Value) -> Value {
    let mut result = a.clone();
    let changed = result.join(b);
    assert_eq!(changed, result != *a, "join must say truthfully whether it changed anything");
    result
}

macro_rules! laws {
    ($($name:ident: $strategy:expr;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(2_000))]
            $(
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
    register_joins_by_the_laws: register();
    gcounter_joins_by_the_laws: gcounter();
    pncounter_joins_by_the_laws: pncounter();
    set_element_joins_by_the_laws: element();
    values_of_mixed_types_join_by_the_laws: any_value();
}
