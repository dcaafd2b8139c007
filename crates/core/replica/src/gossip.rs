//! Writes going out, deltas coming in.

use crate::event::{Notice, Refusal, Timer};
use crate::operation::{Operation, OperationError};
use crate::replica::{Replica, Step};
use crate::vetting::refusal_of;
use syncline_storage::{Action, ApplyContext, ApplyError, Malformed, StorageError};
use syncline_store::{Bytes, ReadView};
use syncline_sync::{Delta, DeltaError, DeltaLog, DeltaRef, DeltaRefusal, Dot, Gossip, Message, PushOutcome};
use syncline_types::{Decode, Encode, Hlc, PeerId, canary, limits};

/// Peers asked for missing deltas before a sync of states is tried instead.
const MAX_FETCHES: u32 = 3;

impl<V: ReadView> Replica<V> {
    pub(crate) fn on_write(
        &mut self,
        operations: Vec<Operation>,
        step: &mut Step<'_, V>,
    ) -> Result<(), StorageError> {
        match self.try_write(&operations, step) {
            Ok(actions) => {
                step.out.notices.push(Notice::WriteAccepted { operations, actions });
                Ok(())
            }
            Err(OperationError::Storage(error)) => Err(error),
            Err(error) => {
                step.out.notices.push(Notice::WriteRefused { error });
                Ok(())
            }
        }
    }

    /// Applies the operations on a copy of the work, so that one that cannot be done undoes all.
    fn try_write(
        &mut self,
        operations: &[Operation],
        step: &mut Step<'_, V>,
    ) -> Result<Vec<Action>, OperationError> {
        let found = operations.len();
        if found > limits::MAX_ACTIONS_PER_DELTA {
            return Err(OperationError::TooMany { found });
        }
        let author = self.config.replica;
        if !self.config.membership.admits(author) {
            return Err(OperationError::NotAMember);
        }
        let seq = step.work.log.covered().of(author) + 1;
        if seq > limits::MAX_DELTA_SEQ {
            return Err(OperationError::SequenceExhausted);
        }
        let (mut state, mut clock) = (step.work.state.clone(), self.clock.clone());
        // Own stamps may be ahead of a wall clock that went back; they are never refused here.
        let own = ApplyContext { max_drift_ms: u64::MAX, ..step.work.context };
        let mut actions = Vec::with_capacity(found);
        for operation in operations {
            let action = operation.to_action(&mut state, &mut clock, step.moment)?;
            match state.apply_action(&action, &own) {
                Ok(_) => {
                    // Each write is small, but what they add up to must still fit a frame.
                    let grows = matches!(operation, Operation::InsertText { .. } | Operation::Merge { .. });
                    if grows && let Some(record) = state.record(action.id())? {
                        let (id, bytes) = (action.id(), record.to_bytes().len());
                        if bytes > limits::MAX_VALUE_BYTES {
                            return Err(Malformed::ValueTooLarge { id, bytes }.into());
                        }
                    }
                    actions.push(action);
                }
                Err(ApplyError::Malformed(error)) => return Err(error.into()),
                Err(ApplyError::Storage(error)) => return Err(error.into()),
                Err(_) => {
                    return Err(StorageError::Index { what: "an own write that can be applied" }.into());
                }
            }
        }
        let stamp = Hlc::new(clock.last() >> 16, clock.last() as u16, author);
        let delta = Delta::new(Dot { author, seq }, step.work.log.heads(), stamp, actions.clone());
        let delta = delta.signed(&step.work.gate);
        let bytes = delta.to_bytes().len();
        if bytes > limits::MAX_DELTA_BYTES {
            return Err(OperationError::TooLarge { bytes });
        }
        (step.work.state, self.clock) = (state, clock);
        step.work.log.append(&delta, &mut step.work.metadata_batch);
        self.spread(delta, None, step);
        Ok(actions)
    }

    fn spread(&self, delta: Delta, except: Option<PeerId>, step: &mut Step<'_, V>) {
        let peers = self.pick_peers(self.config.gossip_fanout, except, step.entropy);
        self.broadcast(&peers, Message::Gossip(Gossip::Delta(delta)), step);
    }

    /// Takes in one delta. The inner error says why it had no effect.
    pub(crate) fn on_delta(
        &mut self,
        from: PeerId,
        delta: Delta,
        step: &mut Step<'_, V>,
    ) -> Result<Result<(), Refusal>, StorageError> {
        if step.work.log.covered().covers(delta.dot) {
            if canary!(DuplicatesForwarded) {
                self.spread(delta, Some(from), step);
            }
            return Ok(Err(Refusal::Duplicate));
        }
        let own_descendant =
            |parent: &DeltaRef| parent.dot.author == delta.dot.author && parent.dot.seq >= delta.dot.seq;
        if delta.parents.iter().any(own_descendant) {
            return Ok(Err(Refusal::Malformed));
        }
        if self.is_syncing() || !step.work.log.is_ready(&delta) {
            if let Err(refusal) = step.work.let_in(&delta) {
                return Ok(Err(refusal_of(refusal)));
            }
            return Ok(match self.buffer.push(delta) {
                PushOutcome::Added => {
                    self.exhausted.clear();
                    Ok(())
                }
                PushOutcome::Duplicate => Err(Refusal::Duplicate),
                PushOutcome::Full => {
                    self.owe_forced(from, "the delta buffer was full", step);
                    Err(Refusal::BufferFull)
                }
            });
        }
        let applied = self.apply_delta(from, delta, step)?;
        self.replay(from, step)?;
        Ok(applied)
    }

    /// Applies a delta whose parents are here: all of it or nothing.
    fn apply_delta(
        &mut self,
        from: PeerId,
        delta: Delta,
        step: &mut Step<'_, V>,
    ) -> Result<Result<(), Refusal>, StorageError> {
        match step.work.apply_delta(&delta) {
            Ok(()) => {}
            Err(DeltaError::Refused(DeltaRefusal::Drift)) => {
                self.owe_forced(from, "a stamp is ahead of our clock", step);
                return Ok(Err(Refusal::Drift));
            }
            Err(DeltaError::Refused(DeltaRefusal::NoMerge)) => {
                self.owe_forced(from, "a merge function is not registered", step);
                return Ok(Err(Refusal::NoMerge));
            }
            Err(DeltaError::Refused(refusal)) => return Ok(Err(refusal_of(refusal))),
            Err(DeltaError::Storage(error)) => return Err(error),
        }
        step.out.notices.push(Notice::DeltaApplied { actions: delta.actions.len() as u64 });
        if self.reachable.len() > self.config.gossip_fanout {
            self.spread(delta, Some(from), step);
        }
        Ok(Ok(()))
    }

    /// Applies every waiting delta whose turn has come, in causal order (**I6**, **I8**).
    pub(crate) fn replay(&mut self, from: PeerId, step: &mut Step<'_, V>) -> Result<(), StorageError> {
        while let Some(delta) = self.buffer.take_ready(&step.work.log) {
            // One that is too early for our clock has left an owed sync behind.
            if let Err(refusal) = self.apply_delta(from, delta, step)? {
                step.out.notices.push(Notice::DeltaDiscarded { refusal });
            }
        }
        if self.buffer.is_empty() {
            self.fetches = 0;
            self.exhausted.clear();
            step.cancel(Timer::Fetch);
        }
        Ok(())
    }

    /// Asks `from` at once for what waiting deltas wait for.
    pub(crate) fn fetch_missing(&mut self, from: PeerId, step: &mut Step<'_, V>) {
        if self.is_syncing() || self.buffer.is_empty() || self.fetches > 0 {
            return;
        }
        self.fetch(from, step);
    }

    fn fetch(&mut self, from: PeerId, step: &mut Step<'_, V>) {
        let wanted = self.buffer.missing(&step.work.log);
        if wanted.is_empty() {
            self.give_up_circles(step);
            return;
        }
        if self.is_fresh() && !self.exhausted.contains(&from) {
            // Delta by delta it would come to a state of its own, that may lack what everyone has forgotten.
            self.owe_forced(from, "there is no state yet", step);
            return;
        }
        self.fetches += 1;
        self.send(from, Message::Gossip(Gossip::DeltaRequest { wanted }), step);
        let peer = self.peers.entry(from).or_default();
        let patience = peer.timeout(self.fetches, self.config.first_timeout, step.entropy);
        let at = step.now() + patience;
        step.set(Timer::Fetch, at);
    }

    /// Lets go of deltas that wait for each other. Ids are digests, so that no delta can follow one that follows
    /// it: places are held by what their author has made up.
    fn give_up_circles(&mut self, step: &mut Step<'_, V>) {
        if self.buffer.is_unsatisfiable(&step.work.log) {
            self.strand(step);
        }
    }

    pub(crate) fn on_fetch_timeout(&mut self, step: &mut Step<'_, V>) -> Result<(), StorageError> {
        let Some(&peer) = self.pick_peers(1, None, step.entropy).first() else { return Ok(()) };
        if !self.is_syncing() {
            self.replay(peer, step)?;
        }
        if self.buffer.is_empty() {
            self.fetches = 0;
            return Ok(());
        }
        if self.fetches >= MAX_FETCHES {
            self.fetches = 0;
            self.owe_forced(peer, "deltas are missing", step);
        } else if !self.is_syncing() {
            self.fetch(peer, step);
        }
        Ok(())
    }

    pub(crate) fn on_delta_request(
        &self,
        from: PeerId,
        wanted: &[Dot],
        step: &mut Step<'_, V>,
    ) -> Result<(), StorageError> {
        let (mut deltas, mut unavailable, mut bytes) = (Vec::new(), Vec::new(), 0);
        for &dot in wanted {
            match DeltaLog::read(step.work.state.view(), dot)? {
                Some(delta) if bytes == 0 || bytes + delta.len() <= limits::PAGE_BYTES => {
                    bytes += delta.len();
                    deltas.push(delta);
                }
                Some(_) => break,
                None => unavailable.push(dot),
            }
        }
        self.send(from, Message::Gossip(Gossip::DeltaReply { deltas, unavailable }), step);
        Ok(())
    }

    pub(crate) fn on_delta_reply(
        &mut self,
        from: PeerId,
        deltas: &[Bytes],
        unavailable: &[Dot],
        step: &mut Step<'_, V>,
    ) -> Result<(), StorageError> {
        let mut refusal = Some(Refusal::Duplicate);
        for bytes in deltas {
            let Ok(delta) = Delta::from_bytes(bytes) else {
                refusal = Some(Refusal::Malformed);
                break;
            };
            match self.on_delta(from, delta, step)? {
                Ok(()) => refusal = None,
                Err(Refusal::Duplicate) => {}
                Err(other) => refusal = Some(other),
            }
        }
        let needed = self.buffer.missing(&step.work.log);
        if unavailable.iter().any(|dot| needed.contains(dot)) {
            refusal = None;
            self.owe_forced(from, "deltas are missing", step);
        } else if !needed.is_empty() && refusal.is_none() && !self.is_syncing() {
            // This answer brought something; the next will bring more.
            self.fetches = 0;
            self.fetch(from, step);
        }
        step.out.refusal = refusal;
        Ok(())
    }
}
