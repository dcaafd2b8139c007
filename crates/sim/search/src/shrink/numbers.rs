//! The pass over numbers: amounts and positions of operations, indices of flipped bits, and counts of rules.

use crate::case::{Case, FrameLine, RuleLine, ScriptAction};
use crate::shrink::minimizer::Minimizer;
use syncline_replica::Operation;

/// A number that can be lowered, and the least value that makes sense.
struct Number<'a> {
    least: u64,
    place: Place<'a>,
}

enum Place<'a> {
    Whole(&'a mut u64),
    Size(&'a mut usize),
    /// The sign stays.
    Signed(&'a mut i64),
}

impl Number<'_> {
    fn get(&self) -> u64 {
        match &self.place {
            Place::Whole(number) => **number,
            Place::Size(number) => **number as u64,
            Place::Signed(number) => number.unsigned_abs(),
        }
    }

    fn set(&mut self, to: u64) {
        match &mut self.place {
            Place::Whole(number) => **number = to,
            Place::Size(number) => **number = to as usize,
            Place::Signed(number) => {
                // `to` is below the magnitude of a number of this type.
                let magnitude = i64::try_from(to).unwrap_or(i64::MAX);
                **number = if **number < 0 { -magnitude } else { magnitude };
            }
        }
    }
}

/// The numbers of a case, in a fixed order.
fn numbers(case: &mut Case) -> Vec<Number<'_>> {
    let mut found = Vec::new();
    for node in &mut case.nodes {
        let later = node.contexts.iter_mut().flat_map(|context| &mut context.writes);
        for operation in node.writes.iter_mut().chain(later).flatten() {
            of_operation(operation, &mut found);
        }
    }
    for line in &mut case.script {
        if let ScriptAction::Write(write) = &mut line.what {
            write.ops.iter_mut().for_each(|operation| of_operation(operation, &mut found));
        }
    }
    let mut whole = |least, number| found.push(Number { least, place: Place::Whole(number) });
    for FrameLine { flipped, again_flipped, losses, .. } in &mut case.frames {
        flipped.iter_mut().chain(again_flipped).for_each(|bit| whole(0, bit));
        losses.iter_mut().for_each(|times| whole(1, times));
    }
    for RuleLine { after, one_in, at_most, .. } in &mut case.rules {
        after.iter_mut().for_each(|frames| whole(0, frames));
        one_in.iter_mut().chain(at_most).for_each(|frames| whole(1, frames));
    }
    found
}

fn of_operation<'a>(operation: &'a mut Operation, found: &mut Vec<Number<'a>>) {
    let mut size = |least, number| found.push(Number { least, place: Place::Size(number) });
    match operation {
        Operation::InsertItem { at, .. }
        | Operation::DeleteItem { at, .. }
        | Operation::InsertText { at, .. } => size(0, at),
        Operation::DeleteText { at, count, .. } => {
            size(0, at);
            size(1, count);
        }
        Operation::Increment { by, .. } => found.push(Number { least: 1, place: Place::Whole(by) }),
        Operation::Change { by, .. } => found.push(Number { least: 1, place: Place::Signed(by) }),
        _ => {}
    }
}

impl Minimizer<'_, '_> {
    /// Lowers each number to the least with which the case fails.
    pub(super) fn numbers(&mut self) {
        let mut at = 0;
        loop {
            let mut copy = self.best().clone();
            let found = numbers(&mut copy);
            let Some(number) = found.get(at) else { break };
            self.least(number.least, number.get(), |case, to| {
                if let Some(number) = numbers(case).get_mut(at) {
                    number.set(to);
                }
            });
            at += 1;
        }
        for at in 0..self.best().script.len() {
            // With small positions, nothing wraps around any more.
            self.change(|case| {
                if let Some(ScriptAction::Write(write)) = case.script.get_mut(at).map(|line| &mut line.what) {
                    write.wraps = false;
                }
            });
        }
    }
}
