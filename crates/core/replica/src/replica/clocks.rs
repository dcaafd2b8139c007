//! The wall clock of this host, those of the peers, and histories that are ahead of them.

use super::heartbeats::SETTLE;
use super::{Replica, StepContext};
use crate::clock_guard::{AheadOfTime, AnnouncedClock, ImplausibleClock};
use crate::effects::Notice;
use crate::event::{Event, Timer};
use syncline_store::ReadView;
use syncline_types::{Moment, PeerId, ReplicaId, SimDuration, SimTime};

impl<V: ReadView> Replica<V> {
    /// The moment of a step, with a wall clock that is plausible. The peers are consulted before each write, with each
    /// heartbeat, and whenever the clock does not go on evenly.
    pub(super) fn plausible_moment(&mut self, moment: Moment, event: &Event) -> Moment {
        if matches!(event, Event::TrustClock) {
            self.clock_guard.trust(moment);
        }
        let is_due = matches!(event, Event::Write(_) | Event::Timer(Timer::Heartbeat));
        if !is_due && self.clock_guard.is_steady(moment) {
            return moment;
        }
        let clocks: Vec<u64> =
            self.recent_clocks(moment.now).map(|clock| clock.wall_ms(moment.now)).collect();
        self.clock_guard.judge(moment, clocks.into_iter())
    }

    /// The clocks that peers that are members have announced recently.
    pub(super) fn recent_clocks(&self, now: SimTime) -> impl Iterator<Item = AnnouncedClock> {
        let clocks = self.peers.clocks().map(|(_, clock)| clock);
        clocks.filter(move |clock| clock.is_recent(now) && self.config.membership.admits(clock.replica()))
    }

    /// Handles the clocks that the member `replica` announces, from `from`.
    pub(super) fn on_clock_heard(
        &mut self,
        from: PeerId,
        replica: ReplicaId,
        (clock, wall_ms): (u64, u64),
        step: &mut StepContext<'_, V>,
    ) {
        let announced = AnnouncedClock::new(replica, step.now(), wall_ms, clock);
        self.peers.record(from).set_clock(announced);
        self.hasten_if_clocks_agree(from, step);
    }

    /// Handles a correction of the own clock, if there was one: stamps that were ahead of it may not be any more.
    pub(super) fn on_correction(&mut self, step: &mut StepContext<'_, V>) {
        if self.clock_guard.take_correction() {
            let peers: Vec<PeerId> = self.sync_queue.entries().keys().copied().collect();
            peers.into_iter().for_each(|peer| self.hasten_if_clocks_agree(peer, step));
        }
    }

    /// Starts the pending sync with `peer` soon, if it has waited for a clock that was set meanwhile.
    fn hasten_if_clocks_agree(&mut self, peer: PeerId, step: &mut StepContext<'_, V>) {
        if self.drift_ends_in(peer, step).is_none() && self.peers.record(peer).on_clocks_agree() {
            self.sync_queue.hasten(peer, step.now() + SETTLE);
            self.update_sync_timer(step);
        }
    }

    /// The time until the latest stamp of both sides is no longer ahead of either clock; `None` if it is not ahead as
    /// far as is known.
    pub(super) fn drift_ends_in(&self, peer: PeerId, step: &StepContext<'_, V>) -> Option<SimDuration> {
        let theirs = self.peers.clock_of(peer)?;
        let stamp_ms = theirs.stamp_ms().max(self.clock.last() >> 16);
        let accepted_from_ms = stamp_ms.saturating_sub(self.config.max_drift_ms);
        let wall_ms = theirs.wall_ms(step.now()).min(step.moment.wall_ms);
        let left_ms = accepted_from_ms.saturating_sub(wall_ms);
        (left_ms > 0).then(|| SimDuration::from_millis(left_ms.saturating_add(1)))
    }

    /// Reports that the history of this replica is ahead of time, once, when it begins.
    pub(super) fn note_own_history(&mut self, step: &mut StepContext<'_, V>) {
        let ahead = self.own_history_ahead(step.moment);
        if self.clock_guard.begins_ahead(ahead.is_some()) {
            step.out.notices.extend(ahead.map(Notice::AheadOfTime));
        }
    }

    pub(super) fn own_history_ahead(&self, moment: Moment) -> Option<AheadOfTime> {
        let stamp_ms = self.clock.last() >> 16;
        AheadOfTime::of(self.config.replica, None, stamp_ms, moment.wall_ms, self.config.max_drift_ms)
    }

    /// The history of `peer`, if it is ahead of the wall clock of `moment`.
    pub(super) fn peer_history_ahead(&self, peer: PeerId, moment: Moment) -> Option<AheadOfTime> {
        let clock = self.peers.clock_of(peer)?;
        let limit_ms = self.config.max_drift_ms;
        AheadOfTime::of(clock.replica(), Some(peer), clock.stamp_ms(), moment.wall_ms, limit_ms)
    }

    /// Why the wall clock was implausible when it was last judged, if it was. While it is, writes are refused with this
    /// error, and stamps of peers are compared with the plausible time.
    pub const fn clock_fault(&self) -> Option<ImplausibleClock> {
        self.clock_guard.verdict()
    }

    /// The replicas whose histories are so far ahead of the wall clock of `moment` that their writes are refused, and
    /// until when: this replica first, then the peers in their order. O(peers).
    ///
    /// The writes of a replica whose own history is ahead are acknowledged and stored here, and no peer takes them
    /// before that time. Until then only a new identity can make them known: see `docs/spec/clocks.md`.
    pub fn ahead_of_time(&self, moment: Moment) -> Vec<AheadOfTime> {
        let wall_ms =
            self.clock_fault().map_or(moment.wall_ms, |fault| fault.plausible_ms.min(moment.wall_ms));
        let moment = Moment { wall_ms, ..moment };
        let peers = self.peers.clocks().filter_map(|(peer, _)| self.peer_history_ahead(peer, moment));
        self.own_history_ahead(moment).into_iter().chain(peers).collect()
    }
}
