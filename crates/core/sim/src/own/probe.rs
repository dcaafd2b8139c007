//! What stands between the engine and a node: it says what was asked for and done, and is the disk.

use crate::engine::{Actor, Commit, Context, Effects, Input, Unfinished};
use syncline_types::Digest;

/// A node, with the states that it may have to go back to.
#[derive(Clone, Debug)]
pub(super) struct Probe<A> {
    pub(super) node: A,
    /// What is truly on disk, while that is not what the node has.
    durable: Option<Box<A>>,
}

impl<A> Probe<A> {
    pub(super) const fn new(node: A) -> Self {
        Self { node, durable: None }
    }
}

impl<A: Actor> Actor for Probe<A> {
    type Op = A::Op;
    /// What was asked for, and is done.
    type Notice = A::Op;

    fn step(&mut self, input: Input<'_, A::Op>, context: &mut Context<'_>) -> Effects<A::Op> {
        let asked = if let Input::Op(op) = &input { Some((*op).clone()) } else { None };
        let commit = context.commit;
        if commit == Commit::Durable {
            self.durable = None;
        } else if self.durable.is_none() {
            self.durable = Some(Box::new(self.node.clone()));
        }
        let before = (commit == Commit::Fails).then(|| self.node.digest());
        let Effects { messages, timers, refusal, notices: _, failed } = self.node.step(input, context);
        // Only one that had something to write notices that it cannot.
        let wrote = before.is_some_and(|before| asked.is_some() || before != self.node.digest());
        if before.is_some() && !wrote {
            self.durable = None;
        }
        Effects { messages, timers, refusal, notices: asked.into_iter().collect(), failed: failed || wrote }
    }

    fn crash(&mut self) {
        if let Some(durable) = self.durable.take() {
            self.node = *durable;
        }
        self.node.crash();
    }

    fn restart(&mut self) {
        self.node.restart();
    }

    fn rot(&mut self, place: u64) -> bool {
        self.node.rot(place)
    }

    fn scrub(&mut self) -> bool {
        self.node.scrub()
    }

    fn digest(&self) -> Digest {
        self.node.digest()
    }

    fn unfinished(&self) -> Unfinished {
        self.node.unfinished()
    }
}
