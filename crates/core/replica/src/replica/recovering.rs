//! Recovers the legacy of a former id: a page in each step, once the replica has met a peer.

use super::{Replica, StepContext};
use crate::config::ReplicaConfig;
use crate::delta_fetch::AskPurpose;
use crate::effects::{Notice, ReplicaError, SyncActions};
use crate::event::Timer;
use crate::persisted;
use crate::recovery::{self, Branch, ForkSearch, FormerId, LegacyPart, LegacyWrite, Recovering, Reissued};
use crate::sync_queue::PendingReason;
use syncline_storage::{Action, StorageError};
use syncline_store::{Bytes, ReadView, Store};
use syncline_sync::{Delta, DeltaRefusal, Dot, HistoryConflict, staged};
use syncline_types::{Choice, Decode, Encode, PeerId, ReplicaId, SimDuration, SimTime, limits};

/// The most legacy writes in one step.
pub(super) const WRITES_PER_STEP: usize = 64;
/// The most rows of a legacy that are deleted in one step.
const ROWS_PER_STEP: usize = 1_024;
/// The pause before a recovery that waits for peers, or for the membership, is tried again.
const RETRY: SimDuration = SimDuration::from_secs(1);
/// The pause between two pages.
pub(super) const PAGE: SimDuration = SimDuration::from_millis(1);
/// How often a peer is asked for a delta that decides the fork, if it does not answer.
const ASKS: u32 = 10;
/// How long a recovery waits for sessions with all reachable peers, once it has met one.
const MEETING: SimDuration = SimDuration::from_secs(10);
/// The pause before a replica among others without any state restores its former id's writes, in milliseconds.
const ALONE_MIN_MS: u64 = 2_000;
const ALONE_MAX_MS: u64 = 20_000;

impl<V: ReadView> Replica<V> {
    /// Brings a replica back whose id has another life, under the new id of `config`: copies the records of the `old`
    /// store and what the `former` id has written into the empty `store`, and starts the replica. What of it others lack
    /// comes back once a peer is met: see [`Replica::is_recovering`]. The members must know the new id, and count the old
    /// one as a member for as long as its writes have not reached all.
    ///
    /// O(old store) time, and in memory and in each batch a few megabytes at most. The steps that follow take a page each.
    /// Idempotent: until the last batch is applied, the new store has no legacy; after a crash the host calls it again
    /// with the same stores, and the result is the same. Once it has returned and its actions are executed, the old store
    /// is not needed any more.
    ///
    /// # Errors
    /// [`ReplicaError::SameId`] if the new id is a former one.
    pub fn bring_back<O: ReadView, S: Store<View = V>>(
        config: ReplicaConfig,
        former: ReplicaId,
        old: &O,
        store: &mut S,
    ) -> Result<(Self, SyncActions), ReplicaError> {
        let replica = config.replica;
        if former == replica {
            return Err(ReplicaError::SameId { replica });
        }
        recovery::inherit(former, old, store)?;
        // Peers refuse frames of earlier incarnations than they have seen of this host.
        persisted::carry_over(&config, old, store)?;
        if FormerId::read(&store.view(), replica)?.is_some() {
            return Err(ReplicaError::SameId { replica });
        }
        Self::recover(config, &store.view())
    }

    /// The conflict that has stopped the replica of this store, if one has: see [`ReplicaError::History`].
    pub fn conflict_in(view: &V) -> Result<Option<HistoryConflict>, ReplicaError> {
        Ok(persisted::conflict(view)?)
    }

    /// Whether writes of a former id may have to be written again.
    pub const fn is_recovering(&self) -> bool {
        self.recovery.current.is_some()
    }

    /// The clock as peers may know it: all that this replica will ever write is later. Changes of a former id keep
    /// their times.
    pub(super) fn announced_clock(&self) -> u64 {
        let earliest = self.recovery.current.as_ref().map_or(u64::MAX, |current| current.earliest());
        self.clock.last().min(earliest.saturating_sub(1))
    }

    /// Handles a session that has converged.
    pub(super) fn on_peer_met(&mut self, peer: PeerId, step: &mut StepContext<'_, V>) {
        if self.recovery.current.is_some() {
            let now = step.now();
            self.recovery.met.insert(peer);
            self.recovery.waits_until.get_or_insert(now + MEETING);
            step.set_timer(Timer::Recovery, now);
        }
    }

    /// Goes on with the recovery: asks for the delta that decides next, or writes a page of the legacy again.
    pub(super) fn on_recovery_due(&mut self, step: &mut StepContext<'_, V>) -> Result<(), StorageError> {
        // A host may fire a timer of a recovery that has ended at the same instant.
        let Some(mut current) = self.recovery.current.take() else { return Ok(()) };
        let can_write = self.has_met_peers(step.now()) && !self.takes_snapshot;
        let mut is_over = false;
        if self.is_collecting() {
            // What is collected must not come back between two pages.
            self.recover_later(RETRY, step);
        } else if current.is_restoring() {
            is_over = self.restore_page(&mut current, step)?;
        } else if self.peers.reachable().is_empty() {
            // Nobody can be asked.
            self.recover_later(RETRY, step);
        } else if self.is_alone() && !current.rewrites_all() {
            self.restore_alone(&mut current, step)?;
        } else if !can_write || !self.config.membership.admits(self.config.replica) {
            if self.has_met_equals(step.now()) {
                self.give_up_snapshot(step)?;
            }
            self.recover_later(RETRY, step);
        } else {
            is_over = match current.known.branch {
                None => self.search_fork(&mut current, step)?,
                Some(branch) if branch.next_checked <= current.known.last => {
                    self.check_page(&mut current, branch, step)?
                }
                // With one life, counts are what the former id counted in all.
                Some(branch) if !current.known.has_one_life && branch.next_counted <= current.known.last => {
                    self.note_page(&mut current, branch, step)?
                }
                Some(branch) if !branch.has_joined => self.join_page(&mut current, branch, step)?,
                Some(branch) if current.known.first <= current.known.last => {
                    self.reissue_page(&mut current, &branch, step)?
                }
                Some(_) => self.delete_page(&current, step)?,
            };
        }
        self.recovery.current = if is_over { self.end_recovery(&current, step)? } else { Some(current) };
        if is_over {
            // No session could start while all was restored.
            self.update_sync_timer(step);
        }
        Ok(())
    }

    /// Goes on with the recovery after a pause.
    pub(super) fn recover_later(&self, pause: SimDuration, step: &mut StepContext<'_, V>) {
        let at = step.now() + pause;
        step.set_timer(Timer::Recovery, at);
    }

    /// Whether it is known what all reachable peers have of the former id, or has been waited for it long enough.
    fn has_met_peers(&self, now: SimTime) -> bool {
        let has_met_all = self.peers.reachable().iter().all(|peer| self.recovery.met.contains(peer));
        !self.recovery.met.is_empty()
            && (has_met_all || self.recovery.waits_until.is_some_and(|until| now >= until))
    }

    /// Whether all reachable peers have a state, and it is equal to this one: nobody can complete a snapshot that another
    /// state has begun.
    fn has_met_equals(&self, now: SimTime) -> bool {
        !self.root.is_zero()
            && self.has_met_peers(now)
            && self.peers.reachable().iter().all(|peer| self.peers.root_of(*peer) == Some(self.root))
    }

    /// A peer whose state is equal is met by a session, too: only its handshake says what it covers.
    pub(super) fn meet(&mut self, peer: PeerId, step: &mut StepContext<'_, V>) {
        if self.is_recovering() && !self.recovery.met.contains(&peer) && !self.root.is_zero() {
            self.enqueue_forced_sync(peer, PendingReason::ProgressUnknown, step);
        }
    }

    /// Whether all reachable peers have said that they have no state either.
    fn is_alone(&self) -> bool {
        let peers = self.peers.reachable();
        // What was staged of a snapshot is of no use where nobody has a state to complete it.
        self.root.is_zero()
            && (!self.takes_snapshot || self.sessions.len() == 0)
            && !peers.is_empty()
            && peers.iter().all(|peer| self.peers.root_of(*peer).is_some_and(|root| root.is_zero()))
    }

    /// Nobody has a state: all others have lost theirs, or have been brought back, too. After a random pause, in which
    /// another one may be the first, this replica begins to restore the legacy as the former id left it. Others then
    /// find the fork of their legacies from it.
    fn restore_alone(
        &mut self,
        current: &mut Recovering,
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        let now = step.now();
        if current.restores_at.is_none_or(|at| at > now) {
            let at = *current.restores_at.get_or_insert_with(|| {
                let pause = step.entropy.between(Choice::TimerJitter, ALONE_MIN_MS, ALONE_MAX_MS);
                now + SimDuration::from_millis(pause)
            });
            step.set_timer(Timer::Recovery, at);
            return Ok(());
        }
        let last = Dot { author: current.former, seq: current.known.last };
        if current.known.first <= last.seq {
            let latest = LegacyWrite::read(step.work.state.view(), last)?.delta.stamp;
            if latest.check_drift(step.moment, self.config.max_drift_ms).is_err() {
                // As the former id wrote it, nobody would take it: all of it is written again.
                self.recovery.waits_until = Some(now);
                self.recovery.met.extend(self.peers.reachable());
                current.known.branch = Some(self.branch_after(current, current.known.first - 1, step)?);
                current.known.write(current.former, &mut step.work.metadata_batch);
                self.recover_later(PAGE, step);
                return Ok(());
            }
        }
        self.give_up_snapshot(step)?;
        current.known.branch = Some(Branch::everything(current.former, current.known.last));
        current.known.write(current.former, &mut step.work.metadata_batch);
        self.recover_later(PAGE, step);
        Ok(())
    }

    /// Ends the snapshot that is being received, if there is one: nobody has what it would bring.
    fn give_up_snapshot(&self, step: &mut StepContext<'_, V>) -> Result<(), StorageError> {
        if self.takes_snapshot {
            let slot = step.work.state.slot().other();
            let rows = step.work.limits.sweep_rows();
            staged::end(step.work.state.view(), slot, rows, &mut step.work.metadata_batch)?;
        }
        Ok(())
    }

    /// Deletes a page of what is left of a legacy. Returns whether nothing was left.
    pub(super) fn delete_page(
        &self,
        current: &Recovering,
        step: &mut StepContext<'_, V>,
    ) -> Result<bool, StorageError> {
        let view = step.work.state.view();
        let batch = &mut step.work.metadata_batch;
        let found = LegacyPart::delete_some(view, current.former, ROWS_PER_STEP, batch)?;
        if found {
            self.recover_later(PAGE, step);
        }
        Ok(!found)
    }

    /// Ends the recovery of one former id, and begins the one of the next.
    fn end_recovery(
        &self,
        current: &Recovering,
        step: &mut StepContext<'_, V>,
    ) -> Result<Option<Recovering>, StorageError> {
        FormerId::delete(current.former, &mut step.work.metadata_batch);
        step.out.notices.push(Notice::LegacyRecovered { former: current.former });
        let next = current.following(step.work.state.view())?;
        if next.is_some() {
            let now = step.now();
            step.set_timer(Timer::Recovery, now);
        }
        Ok(next)
    }

    /// Searches for the last write of the former id that others have. The recovery is never over with it.
    fn search_fork(
        &mut self,
        current: &mut Recovering,
        step: &mut StepContext<'_, V>,
    ) -> Result<bool, StorageError> {
        let former = current.former;
        let FormerId { first, last, other_from, .. } = current.known;
        let covered = step.work.log.covered().of(former);
        let mut search = current.search.take().unwrap_or_else(|| ForkSearch::new(first - 1, last, covered));
        if let Some((peer, seq)) = current.asked.take() {
            current.unanswered += 1;
            if current.unanswered >= ASKS && search.fork().is_none() && search.probe() == seq {
                // The host calls it reachable, and it may have stopped.
                search.on_without(peer, false);
                current.unanswered = 0;
            }
        }
        while search.fork().is_none() {
            let dot = Dot { author: former, seq: search.probe() };
            let own = LegacyWrite::read(step.work.state.view(), dot)?;
            if recovery::is_lacking(&own, former, &mut step.work.state)? {
                search.on_lacking();
            }
            if let Some(known) = step.work.reference(dot)? {
                if known.id == own.delta.id() {
                    search.on_same(dot.seq);
                    continue;
                }
                search.on_another_known();
            } else if dot.seq >= other_from {
                search.on_another_known();
            }
            search.decide(self.peers.reachable());
            if search.fork().is_some() || search.probe() != dot.seq {
                continue;
            }
            // All whose deltas have reached this replica may store the delta; the next one that has not said otherwise
            // is asked.
            let peer = self.peers.reachable().iter().copied().find(|peer| !search.has_answered(*peer));
            if let Some(peer) = peer {
                current.asked = Some((peer, dot.seq));
                self.request_deltas(peer, vec![dot], AskPurpose::History, step);
            }
            let at = step.now() + RETRY;
            step.set_timer(Timer::Recovery, at);
            current.search = Some(search);
            return Ok(false);
        }
        let fork = search.fork().unwrap_or(first - 1);
        current.known.has_one_life &= !search.has_found_another();
        let branch = self.branch_after(current, fork, step)?;
        current.known.branch = Some(branch);
        current.known.write(former, &mut step.work.metadata_batch);
        let now = step.now();
        step.set_timer(Timer::Recovery, now);
        Ok(false)
    }

    /// The branch of the writes of the former id after number `fork`.
    pub(super) fn branch_after(
        &self,
        current: &Recovering,
        fork: u64,
        step: &StepContext<'_, V>,
    ) -> Result<Branch, StorageError> {
        let FormerId { first, last, .. } = current.known;
        let delta = |seq| {
            let is_there = (first..=last).contains(&seq);
            let read = || LegacyWrite::read(step.work.state.view(), Dot { author: current.former, seq });
            is_there.then(read).transpose()
        };
        let until = match delta(fork)? {
            Some(last_known) => last_known.delta.stamp.time(),
            // What others have is in time, although all of the branch may be ahead of it.
            None => current.earliest_write.saturating_sub(1).min(step.moment.wall_ms << 16),
        };
        let next = delta(fork + 1)?;
        let next = next.as_ref().map(|write| &write.delta);
        Ok(Branch::after(current.former, fork, until, next, first))
    }

    /// Handles the answer of a peer that was asked for the delta that decides next.
    pub(super) fn on_fork_answer(
        &mut self,
        from: PeerId,
        deltas: &[Bytes],
        unavailable: &[Dot],
        step: &mut StepContext<'_, V>,
    ) -> Result<(), StorageError> {
        // Nearly all answers are to other requests than this search's.
        let Some(current) = &mut self.recovery.current else { return Ok(()) };
        let (Some((peer, seq)), Some(search)) = (current.asked, &mut current.search) else { return Ok(()) };
        let dot = Dot { author: current.former, seq };
        if peer != from {
            return Ok(());
        }
        current.asked = None;
        current.unanswered = 0;
        let found = deltas.iter().filter_map(|bytes| Delta::from_bytes(bytes).ok());
        let found = found.into_iter().find(|delta| {
            // The signature of an id that is no member any more cannot be checked.
            let refused = step.work.gate.lets_in(delta).err();
            delta.dot == dot && refused.is_none_or(|refusal| refusal == DeltaRefusal::NotAMember)
        });
        if let Some(delta) = found {
            let own = LegacyWrite::read(step.work.state.view(), dot)?.delta.id();
            if delta.id() == own {
                search.on_same(seq);
            } else {
                let previous = delta.parents.iter().find(|parent| parent.dot.author == dot.author);
                if let Some(previous) = previous
                    && (current.known.first..seq).contains(&previous.dot.seq)
                    && LegacyWrite::read(step.work.state.view(), previous.dot)?.delta.id() != previous.id
                {
                    search.on_another_before(previous.dot.seq);
                }
                search.on_without(from, true);
            }
        } else if unavailable.contains(&dot) {
            search.on_without(from, false);
        }
        let now = step.now();
        step.set_timer(Timer::Recovery, now);
        Ok(())
    }

    /// Writes a page of the legacy again, and skips what others have.
    fn reissue_page(
        &mut self,
        current: &mut Recovering,
        branch: &Branch,
        step: &mut StepContext<'_, V>,
    ) -> Result<bool, StorageError> {
        let mut bytes = 0;
        for _ in 0..WRITES_PER_STEP {
            let seq = current.known.first;
            let is_full = bytes >= self.config.limits.page_bytes();
            if seq > current.known.last || is_full || !self.has_sequence_numbers(step) {
                break;
            }
            let dot = Dot { author: current.former, seq };
            if seq > branch.fork {
                let write = LegacyWrite::read(step.work.state.view(), dot)?;
                bytes += self.reissue_write(current, dot, &write, branch, step)?;
            }
            LegacyWrite::delete(dot, &mut step.work.metadata_batch);
            current.known.first += 1;
        }
        current.known.write(current.former, &mut step.work.metadata_batch);
        self.recover_later(PAGE, step);
        Ok(false)
    }

    fn has_sequence_numbers(&self, step: &StepContext<'_, V>) -> bool {
        step.work.log.covered().of(self.config.replica) < limits::MAX_DELTA_SEQ
    }

    /// Writes one legacy write again. Returns the bytes of its deltas.
    fn reissue_write(
        &mut self,
        current: &mut Recovering,
        dot: Dot,
        write: &LegacyWrite,
        branch: &Branch,
        step: &mut StepContext<'_, V>,
    ) -> Result<usize, StorageError> {
        let Reissued { state, clock, actions } =
            recovery::reissue(write, current, branch, &step.work.state, &self.clock, &step.work.context)?;
        for moved in std::mem::take(&mut current.just_moved) {
            recovery::write_time(current.former, moved, &mut step.work.metadata_batch);
        }
        let changes: Vec<Action> = actions.iter().flatten().cloned().collect();
        let mut bytes = 0;
        if !changes.is_empty() {
            step.work.state = state;
            self.clock = clock;
            // The changes may take a little more room than they did: then each gets a delta of its own.
            let is_small = self.next_delta(&changes, step).1 <= self.config.limits.delta_bytes();
            for part in changes.chunks(if is_small { changes.len() } else { 1 }) {
                let (delta, len) = self.next_delta(part, step);
                bytes += len;
                let work = &mut step.work;
                work.log.append(&delta, work.state.view(), &mut work.metadata_batch)?;
                self.spread(delta, None, step);
            }
        }
        let named = write.delta.actions.iter().map(|relative| relative.action.clone());
        // With their whole paths, as the former write was acknowledged.
        let former_actions =
            write.changes().zip(named).map(|(whole, named)| whole.unwrap_or(named)).collect();
        let delta = step.work.log.covered().of(self.config.replica);
        let delta = Dot { author: self.config.replica, seq: delta };
        step.out.notices.push(Notice::WriteReissued { former: dot, former_actions, delta, actions });
        Ok(bytes)
    }

    /// The next delta of this replica, and its length in bytes.
    fn next_delta(&mut self, changes: &[Action], step: &StepContext<'_, V>) -> (Delta, usize) {
        let author = self.config.replica;
        let dot = Dot { author, seq: step.work.log.covered().of(author) + 1 };
        let stamp = self.clock.tick(step.moment);
        let delta = Delta::new(dot, step.work.log.heads(), stamp, changes.to_vec())
            .after_collection(step.work.state.horizon())
            .signed(&step.work.gate);
        let bytes = delta.to_bytes().len();
        (delta, bytes)
    }
}
