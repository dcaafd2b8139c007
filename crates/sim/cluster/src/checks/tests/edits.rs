//! The check of edits reports edits that were made elsewhere, and edits that were refused without a reason.

use super::*;
use syncline_replica::OperationError;

fn text(at: usize, text: &str) -> Operation {
    Operation::InsertText { target: Target::named(b"text"), at, text: text.to_owned() }
}

fn item(at: usize) -> Operation {
    Operation::InsertItem { list: Target::named(b"list"), at, item: Item::Bytes(b"item".to_vec()) }
}

/// What the check says if a node has done `done` and reports that it was asked for `asked`.
fn reported(pair: &mut Pair, done: Operation, asked: Operation) -> Option<Check> {
    let (_, actions) = pair.accept(A, done);
    pair.step(&mut CheckMemory::default(), A, &[Notice::WriteAccepted { operations: vec![asked], actions }])
}

/// Promises: C6
#[test]
fn deletions_of_others_are_found() {
    let delete_text = |at, count| Operation::DeleteText { target: Target::named(b"text"), at, count };
    let delete_item = |at| Operation::DeleteItem { list: Target::named(b"list"), at };
    let mut pair = Pair::new();
    pair.accept(A, text(0, "abcdef"));
    assert_eq!(reported(&mut pair, delete_text(1, 2), delete_text(1, 2)), None);
    let found = reported(&mut pair, delete_text(1, 2), delete_text(2, 2)).expect("a finding");
    assert!(found.to_string().contains("has deleted others"), "{found}");
    for _ in 0..4 {
        pair.accept(A, item(0));
    }
    assert_eq!(reported(&mut pair, delete_item(1), delete_item(1)), None);
    let found = reported(&mut pair, delete_item(1), delete_item(2)).expect("a finding");
    assert!(found.to_string().contains("the one at 1 was deleted"), "{found}");
}

/// Promises: C6
#[test]
fn operations_on_other_entities_are_found() {
    let set = |name: &str| Operation::Set { target: Target::named(name.as_bytes()), bytes: b"x".to_vec() };
    let mut pair = Pair::new();
    assert_eq!(reported(&mut pair, set("a"), set("a")), None);
    let found = reported(&mut pair, set("a"), set("b")).expect("a finding");
    assert!(found.to_string().contains("has changed"), "{found}");
}

/// Promises: C6
#[test]
fn refusal_of_a_fitting_edit_is_found() {
    let mut pair = Pair::new();
    let refused = [Notice::WriteRefused {
        error: OperationError::OutOfList { list: Target::named(b"list").id, at: 1, len: 0 },
    }];
    let mut memory = CheckMemory::default();
    // A write whose positions were not fitted to the state may lie beyond the end.
    pair.accept(A, item(0));
    assert_eq!(pair.step(&mut memory, A, &refused), None);
    let mut choices = Choices::seeded(1);
    let fitted = Write { operations: vec![item(7)], wraps: true, context: 0 };
    pair.nodes[0].write_before_start(&fitted, 0, &mut choices.source(Stream::Scenario)).expect("it fits");
    let found = pair.step(&mut memory, A, &refused).expect("a finding");
    assert!(matches!(found, Check::EditMisplaced { .. }), "{found}");
    let other = [Notice::WriteRefused { error: OperationError::NotAMember }];
    assert_eq!(pair.step(&mut memory, A, &other), None);
}
