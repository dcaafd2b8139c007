//! The simulated disk of a custom node, and the record of the operations that the node acknowledged.

use sync_sim_engine::actor::{Actor, Commit, Context, Effects, Input, Unfinished};
use syncline_types::Digest;

/// A node, with the durable state that a crash takes it back to.
#[derive(Clone, Debug)]
pub(super) struct DiskShim<A> {
    pub(super) node: A,
    /// The durable state, while it differs from the node's: the disk has reported syncs that are not durable.
    durable: Option<Box<A>>,
    /// The operations that were acknowledged since the disk was last in sync.
    unsynced: usize,
    /// The acknowledged operations that crashes have undone, over the whole run.
    pub(super) undone: usize,
}

impl<A> DiskShim<A> {
    pub(super) const fn new(node: A) -> Self {
        Self { node, durable: None, unsynced: 0, undone: 0 }
    }
}

impl<A: Actor> Actor for DiskShim<A> {
    type Op = A::Op;
    /// An operation that was asked for and is done.
    type Notice = A::Op;

    fn step(&mut self, input: Input<'_, A::Op>, context: &mut Context<'_>, effects: &mut Effects<A::Op>) {
        let asked = if let Input::Op(op) = &input { Some((*op).clone()) } else { None };
        let commit = context.commit;
        let before = (commit != Commit::Durable).then(|| self.node.clone());
        // The node's notices have another type. Its other effects reuse the buffers of the engine.
        let mut inner = Effects {
            messages: std::mem::take(&mut effects.messages),
            timers: std::mem::take(&mut effects.timers),
            ..Effects::default()
        };
        self.node.step(input, context, &mut inner);
        let wrote = |before: &A| asked.is_some() || before.digest() != self.node.digest();
        // A step that writes nothing does not notice that the disk fails.
        let failed = inner.failed || commit == Commit::Fails && before.as_ref().is_some_and(wrote);
        match before {
            // A durable commit also makes every earlier write durable.
            None => {
                self.durable = None;
                self.unsynced = 0;
            }
            Some(_) if commit == Commit::Fails && !failed => {}
            // The oldest state that is not superseded is the durable one, so an existing one stays.
            Some(before) => {
                self.durable.get_or_insert_with(|| Box::new(before));
                self.unsynced += usize::from(commit == Commit::Unsynced && asked.is_some());
            }
        }
        assert!(
            self.unsynced == 0 || self.durable.is_some(),
            "unsynced operations have a state to go back to"
        );
        effects.notices.extend(asked);
        effects.messages = inner.messages;
        effects.timers = inner.timers;
        effects.refusal = inner.refusal;
        effects.failed = failed;
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
