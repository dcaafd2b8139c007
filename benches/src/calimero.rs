//! The same inserts in the published `calimero-storage` crate: its real `Interface::apply_action` with
//! runtime callbacks on a map in memory.

use calimero_storage::action::Action;
use calimero_storage::address::Id;
use calimero_storage::entities::{ChildInfo, Metadata};
use calimero_storage::env::{RuntimeEnv, with_runtime_env};
use calimero_storage::index::Index;
use calimero_storage::interface::{ApplyContext, Interface};
use calimero_storage::store::{Key, MainStorage};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};
use syncline_types::EntityId;

type Rows = Rc<RefCell<BTreeMap<[u8; 32], Vec<u8>>>>;

fn environment(rows: &Rows) -> RuntimeEnv {
    let read = rows.clone();
    let write = rows.clone();
    let remove = rows.clone();
    RuntimeEnv::new(
        Rc::new(move |key: &Key| read.borrow().get(&key.to_bytes()).cloned()),
        Rc::new(move |key: Key, value: &[u8]| {
            write.borrow_mut().insert(key.to_bytes(), value.to_vec()).is_some()
        }),
        Rc::new(move |key: &Key| remove.borrow_mut().remove(&key.to_bytes()).is_some()),
        [0; 32],
        [1; 32],
    )
}

/// Inserts `to` entities of 100 bytes into `collections` collections under the root, and returns the time of the
/// last `measured` inserts.
pub(crate) fn insert(collections: u64, to: u64, measured: u64) -> Duration {
    let rows = Rows::default();
    with_runtime_env(environment(&rows), || {
        let root = Id::new([0; 32]);
        let below = |id| vec![ChildInfo::new(id, [0; 32], Metadata::new(1, 1))];
        Index::<MainStorage>::add_root(ChildInfo::new(root, [0; 32], Metadata::new(1, 1))).expect("a root");
        let collection = |n: u64| Id::new(EntityId::child_of(EntityId::ROOT, &n.to_be_bytes()).0);
        let add = |id, data: Vec<u8>, parent| {
            let metadata = Metadata::new(2, 2);
            let action = Action::Add { id, data, ancestors: below(parent), metadata };
            Interface::<MainStorage>::apply_action(action, &ApplyContext::empty()).expect("an insert");
        };
        (0..collections).for_each(|n| add(collection(n), vec![1], root));
        let mut started = Instant::now();
        for n in 0..to {
            if n == to - measured {
                started = Instant::now();
            }
            let id = Id::new(EntityId::child_of(EntityId::ROOT, &n.to_le_bytes()).0);
            add(id, vec![n as u8; 100], collection(n % collections));
        }
        started.elapsed()
    })
}
