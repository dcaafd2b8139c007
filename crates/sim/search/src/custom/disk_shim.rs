//! What stands between the engine and a node: it says what was asked for and done, and is the disk.

use sync_sim_engine::actor::{Actor, Commit, Context, Effects, Input, Unfinished};
use syncline_types::Digest;

/// A node, with the states that it may have to go back to.
#[derive(Clone, Debug)]
pub(super) struct Probe<A> {
    pub(super) node: A,
    /// What is truly on disk, while that is not what the node has.
    durable: Option<Box<A>>,
    /// How much it did of what was asked since its disk last told the truth.
    unsynced: usize,
    /// How much of that crashes have undone, so far.
    pub(super) undone: usize,
}

impl<A> Probe<A> {
    pub(super) const fn new(node: A) -> Self {
        Self { node, durable: None, unsynced: 0, undone: 0 }
    }
}

impl<A: Actor> Actor for Probe<A> {
    type Op = A::Op;
    /// What was asked for, and is done.
    type Notice = A::Op;

    fn step(&mut self, input: Input<'_, A::Op>, context: &mut Context<'_>, effects: &mut Effects<A::Op>) {
        let asked = if let Input::Op(op) = &input { Some((*op).clone()) } else { None };
        let commit = context.commit;
        let before = (commit != Commit::Durable).then(|| self.node.clone());
        let (messages, timers) = (std::mem::take(&mut effects.messages), std::mem::take(&mut effects.timers));
        let mut inner = Effects { messages, timers, ..Effects::default() };
        self.node.step(input, context, &mut inner);
        let wrote = |before: &A| asked.is_some() || before.digest() != self.node.digest();
        // Only one that had something to write notices that its disk cannot.
        let failed = inner.failed || commit == Commit::Fails && before.as_ref().is_some_and(wrote);
        match before {
            None => (self.durable, self.unsynced) = (None, 0),
            Some(_) if commit == Commit::Fails && !failed => {}
            Some(before) => {
                self.durable.get_or_insert_with(|| Box::new(before));
                self.unsynced += usize::from(commit == Commit::Unsynced && asked.is_some());
            }
        }
        effects.notices.extend(asked);
        let Effects { messages, timers, refusal, .. } = inner;
        (effects.messages, effects.timers, effects.refusal, effects.failed) =
            (messages, timers, refusal, failed);
    }

    fn crash(&mut self) {
        if let Some(durable) = self.durable.take() {
            self.node = *durable;
            self.undone += std::mem::take(&mut self.unsynced);
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
