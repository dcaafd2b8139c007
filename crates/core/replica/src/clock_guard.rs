//! Whether the wall clock can be right, as far as the replica knows.
//!
//! Stamps are made from the wall clock, and peers refuse a stamp that is ahead of theirs. One write while the clock is
//! an hour ahead would mute the replica for an hour. So no stamp is made from a clock that is *implausible*:
//!
//! | what the replica knows | the clock is implausible if |
//! |---|---|
//! | the wall clocks that peers announce | it is ahead of most of them and itself by more than the limit |
//! | the monotonic clock since the start | it has jumped ahead of it by more than the limit |
//! | the time of the last write in its store | it is ahead of it by more than the longest absence |
//!
//! The limit is the drift limit of stamps, but not less than five seconds: what peers announce takes time.
//!
//! The peers decide where they can: if most of them agree with the clock, a jump ahead was a correction. A single peer
//! cannot declare the clock wrong, since the peer may be the one that is wrong, and a wrong or lying minority cannot
//! either. Without evidence the clock is plausible. A clock that is behind is never implausible: stamps ascend anyway,
//! and it holds up nobody.
//!
//! The host can tell the replica to go on ([`Event::TrustClock`](crate::Event::TrustClock)).

use std::fmt;
use syncline_types::{Moment, PeerId, ReplicaId, SimDuration, SimTime};

/// How long the announcement of a peer counts. Clocks of hosts drift by a few seconds a day at most.
const RECENT: SimDuration = SimDuration::from_secs(60 * 60);
/// How long the announcement that was the least delayed is preferred to later ones.
const LEAST_DELAYED: SimDuration = SimDuration::from_secs(10 * 60);
/// The least limit: announcements take time, and the clock seems to be ahead by that time.
const LEAST_LIMIT_MS: u64 = 5_000;

/// The clocks that a peer has announced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnnouncedClock {
    replica: ReplicaId,
    /// When the announcement arrived.
    at: SimTime,
    wall_ms: u64,
    /// The latest stamp that the peer may have, in milliseconds.
    stamp_ms: u64,
}

/// Without the time of arrival: announcements that say the same are equal in the hash of a state.
impl fmt::Debug for AnnouncedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset_ms = i128::from(self.wall_ms) - i128::from(self.at.as_millis());
        write!(f, "AnnouncedClock({}, {offset_ms}, {})", self.replica, self.stamp_ms)
    }
}

impl AnnouncedClock {
    /// An announcement of `replica` that arrived at `at`. `clock` is in packed HLC units.
    pub(crate) const fn new(replica: ReplicaId, at: SimTime, wall_ms: u64, clock: u64) -> Self {
        Self { replica, at, wall_ms, stamp_ms: clock >> 16 }
    }

    pub(crate) const fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// The latest stamp that the peer may have, in milliseconds.
    pub(crate) const fn stamp_ms(&self) -> u64 {
        self.stamp_ms
    }

    /// What the wall clock of the peer shows at `now`, or a little less: announcements take time.
    pub(crate) const fn wall_ms(&self, now: SimTime) -> u64 {
        self.wall_ms.saturating_add(now.since(self.at).as_millis())
    }

    /// Whether the announcement still says something about the wall clock of the peer.
    pub(crate) fn is_recent(&self, now: SimTime) -> bool {
        now.since(self.at) <= RECENT
    }

    /// This announcement and a later one: of the wall clocks, the one that was less delayed counts for a while.
    pub(crate) fn joined(self, later: Self) -> Self {
        let delay_ms = self.wall_ms(later.at).saturating_sub(later.wall_ms);
        let longest = LEAST_DELAYED.as_millis();
        // A clock that shows much less than before was set back.
        let is_less_delayed = (1..longest).contains(&delay_ms) && later.at.since(self.at) < LEAST_DELAYED;
        if is_less_delayed { Self { at: self.at, wall_ms: self.wall_ms, ..later } } else { later }
    }
}

/// A replica with a stamp that is so far ahead of time that the others refuse it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AheadOfTime {
    /// The replica whose history is ahead.
    pub replica: ReplicaId,
    /// The peer that it is; `None` if it is this replica itself.
    pub peer: Option<PeerId>,
    /// By how much its latest stamp is ahead of the wall clock, in milliseconds.
    pub ahead_ms: u64,
    /// The wall clock at which its latest stamp is accepted, in milliseconds.
    pub until_ms: u64,
}

impl AheadOfTime {
    /// A replica with the latest stamp `stamp_ms`, if that is ahead of `wall_ms` by more than `limit_ms`.
    pub(crate) fn of(
        replica: ReplicaId,
        peer: Option<PeerId>,
        stamp_ms: u64,
        wall_ms: u64,
        limit_ms: u64,
    ) -> Option<Self> {
        let ahead_ms = stamp_ms.saturating_sub(wall_ms);
        let until_ms = stamp_ms.saturating_sub(limit_ms);
        (ahead_ms > limit_ms).then_some(Self { replica, peer, ahead_ms, until_ms })
    }
}

impl fmt::Display for AheadOfTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replica, ahead_ms, until_ms, .. } = self;
        write!(
            f,
            "replica {replica} is ahead of time by {ahead_ms} ms, until its peers' clocks show {until_ms} ms"
        )
    }
}

/// What shows that the wall clock is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClockEvidence {
    /// Most peers that were heard recently announce an earlier time.
    Peers {
        /// The peers whose clocks are behind by more than the limit.
        behind: usize,
        /// The peers that were heard recently.
        heard: usize,
    },
    /// The clock has jumped ahead since the replica started.
    Jump,
    /// The replica would have been stopped for too long.
    Absence,
}

impl fmt::Display for ClockEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peers { behind, heard } => {
                write!(f, "{behind} of the {heard} peers that were heard recently announce an earlier time")
            }
            Self::Jump => write!(f, "the clock has jumped ahead while the replica was running"),
            Self::Absence => write!(f, "the store was last written too long ago"),
        }
    }
}

/// The wall clock is so far ahead of what the replica knows that peers would refuse its stamps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the clock of this host shows {wall_ms} ms, which is {} ms later than the plausible {plausible_ms} ms, and the \
     limit is {limit_ms} ms: {evidence}; set the clock, or tell the replica to trust it",
    self.ahead_ms()
)]
pub struct ImplausibleClock {
    /// What the wall clock shows, in milliseconds.
    pub wall_ms: u64,
    /// What it can show at most, as far as the replica knows, in milliseconds, without the limit.
    pub plausible_ms: u64,
    /// By how much the wall clock may be ahead of that, in milliseconds.
    pub limit_ms: u64,
    /// What shows that the clock is wrong.
    pub evidence: ClockEvidence,
}

impl ImplausibleClock {
    /// By how much the wall clock is ahead, in milliseconds.
    pub const fn ahead_ms(&self) -> u64 {
        self.wall_ms.saturating_sub(self.plausible_ms)
    }
}

/// The evidence about the wall clock of the host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ClockGuard {
    limit_ms: u64,
    absence_limit_ms: u64,
    /// The wall clock at the last write before the start; zero if there was none.
    stored_ms: u64,
    /// The latest plausible wall clock since the start, relative to the monotonic clock: a clock that was set back and
    /// is set right again does not jump ahead of it.
    line: Option<(SimTime, u64)>,
    /// Whether the host vouches for the clock, as long as the clock does not jump ahead again.
    is_trusted: bool,
    /// Why the clock was implausible when it was last judged.
    verdict: Option<ImplausibleClock>,
    /// Whether the clock was set ahead, and is plausible, since this was last asked.
    was_corrected: bool,
    /// Whether the own history was ahead of time at the last step.
    is_history_ahead: bool,
}

impl ClockGuard {
    /// The guard of a replica whose store was last written at `stored_ms`.
    pub(crate) fn new(drift_limit_ms: u64, absence_limit_ms: u64, stored_ms: u64) -> Self {
        Self {
            limit_ms: drift_limit_ms.max(LEAST_LIMIT_MS),
            absence_limit_ms,
            stored_ms,
            line: None,
            is_trusted: false,
            verdict: None,
            was_corrected: false,
            is_history_ahead: false,
        }
    }

    /// Whether the clock was plausible when it was last judged, and has gone on evenly since. O(1).
    pub(crate) fn is_steady(&mut self, moment: Moment) -> bool {
        let limit_ms = self.limit_ms;
        let is_even = |line_ms: u64| moment.wall_ms <= line_ms.saturating_add(limit_ms);
        let is_steady = self.verdict.is_none() && self.line_ms(moment.now).is_some_and(is_even);
        if is_steady {
            self.raise_line(moment);
        }
        is_steady
    }

    /// Judges the clock at `moment`, given the wall clocks of the peers. Returns the moment with the wall clock that is
    /// plausible: stamps of peers are compared with that. O(peers · log peers).
    pub(crate) fn judge(&mut self, moment: Moment, peers: impl Iterator<Item = u64>) -> Moment {
        let wall_ms = moment.wall_ms;
        let mut peers: Vec<u64> = peers.collect();
        peers.sort_unstable();
        let behind = peers.iter().filter(|peer| wall_ms > peer.saturating_add(self.limit_ms)).count();
        let is_confirmed = behind * 2 < peers.len();
        self.verdict = if is_confirmed { None } else { self.find_fault(moment, &peers, behind) };
        if let Some(fault) = self.verdict {
            return Moment { wall_ms: fault.plausible_ms.min(wall_ms), ..moment };
        }
        // A clock that has not reached the time of the last write is not set yet, and says nothing, unless it is that
        // write which was ahead of time.
        if is_confirmed || wall_ms.saturating_add(self.limit_ms) >= self.stored_ms {
            self.raise_line(moment);
        }
        moment
    }

    fn raise_line(&mut self, moment: Moment) {
        let Moment { now, wall_ms } = moment;
        let line_ms = self.line_ms(now);
        self.was_corrected |= line_ms.is_some_and(|line_ms| wall_ms > line_ms.saturating_add(self.limit_ms));
        if line_ms.is_none_or(|line_ms| wall_ms > line_ms) {
            self.line = Some((now, wall_ms));
        }
    }

    /// Whether the clock was set ahead, and is plausible, since the last call.
    pub(crate) const fn take_correction(&mut self) -> bool {
        std::mem::replace(&mut self.was_corrected, false)
    }

    /// Why the clock is implausible, if most peers do not agree with it. `behind` of the ascending clocks of the peers
    /// are behind it by more than the limit.
    fn find_fault(&self, moment: Moment, peers: &[u64], behind: usize) -> Option<ImplausibleClock> {
        let Moment { now, wall_ms } = moment;
        let fault = |plausible_ms: u64, limit_ms: u64, evidence| {
            (wall_ms > plausible_ms.saturating_add(limit_ms)).then_some(ImplausibleClock {
                wall_ms,
                plausible_ms,
                limit_ms,
                evidence,
            })
        };
        let limit_ms = self.limit_ms;
        let line_ms = self.line_ms(now);
        let jump = line_ms.and_then(|line_ms| fault(line_ms, limit_ms, ClockEvidence::Jump));
        if self.is_trusted && jump.is_none() {
            return None;
        }
        let heard = peers.len();
        if behind * 2 > heard + 1 {
            // The median of the peers and this clock, which is the latest of them; of two medians the later one.
            let median = peers.get(heard.div_ceil(2)).copied().unwrap_or(wall_ms);
            return fault(median, limit_ms, ClockEvidence::Peers { behind, heard });
        }
        let is_started_late = line_ms.is_none() && self.stored_ms > 0;
        let absence = is_started_late
            .then(|| fault(self.stored_ms, self.absence_limit_ms, ClockEvidence::Absence))
            .flatten();
        jump.or(absence)
    }

    /// What the wall clock can show at `now` if it has not jumped ahead.
    fn line_ms(&self, now: SimTime) -> Option<u64> {
        self.line.map(|(at, wall_ms)| wall_ms.saturating_add(now.since(at).as_millis()))
    }

    /// The host vouches for the clock as it is now.
    pub(crate) const fn trust(&mut self, moment: Moment) {
        self.line = Some((moment.now, moment.wall_ms));
        self.is_trusted = true;
        self.verdict = None;
    }

    /// Why the clock was implausible at the last step, if it was.
    pub(crate) const fn verdict(&self) -> Option<ImplausibleClock> {
        self.verdict
    }

    /// The wall clock to store with a write at `moment`, whose wall clock is plausible. A clock that is not set yet is
    /// not stored.
    pub(crate) const fn to_store(&self, moment: Moment) -> u64 {
        if self.line.is_some() { moment.wall_ms } else { self.stored_ms }
    }

    /// Records whether the own history is ahead of time now. Returns whether it was not before.
    pub(crate) const fn begins_ahead(&mut self, is_ahead: bool) -> bool {
        let begins = is_ahead && !self.is_history_ahead;
        self.is_history_ahead = is_ahead;
        begins
    }

    /// What decides later steps, without the times at which it was learned.
    pub(crate) fn write_state(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let offset_ms = self.line.map(|(at, wall_ms)| i128::from(wall_ms) - i128::from(at.as_millis()));
        let evidence = self.verdict.map(|fault| fault.evidence);
        write!(
            out,
            "{offset_ms:?} {} {evidence:?} {} {}",
            self.is_trusted, self.stored_ms, self.is_history_ahead
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 5_000;
    const YEAR: u64 = 365 * 86_400_000;
    const START: u64 = 1_000_000_000;

    fn guard(stored_ms: u64) -> ClockGuard {
        ClockGuard::new(LIMIT, YEAR, stored_ms)
    }

    /// A moment so many milliseconds after the start, with the clock ahead by `ahead_ms`.
    fn after(ms: u64, ahead_ms: i64) -> Moment {
        Moment { now: ms.into(), wall_ms: (START + ms).saturating_add_signed(ahead_ms) }
    }

    fn judged(guard: &mut ClockGuard, moment: Moment, peers: &[u64]) -> Option<ClockEvidence> {
        guard.judge(moment, peers.iter().copied());
        guard.verdict().map(|fault| fault.evidence)
    }

    #[test]
    fn no_evidence_is_plausible() {
        assert_eq!(judged(&mut guard(0), after(0, YEAR as i64 * 30), &[]), None);
        assert_eq!(judged(&mut guard(0), after(0, 0), &[0]), None, "one peer may be the one that is wrong");
    }

    #[test]
    fn jump_ahead_is_implausible_until_it_ends() {
        let mut guard = guard(0);
        assert_eq!(judged(&mut guard, after(0, 0), &[]), None);
        assert_eq!(judged(&mut guard, after(10_000, LIMIT as i64), &[]), None);
        let moment = guard.judge(after(20_000, 2 * LIMIT as i64 + 1), [].into_iter());
        let fault = guard.verdict().unwrap();
        assert_eq!(
            (fault.evidence, fault.ahead_ms(), fault.limit_ms),
            (ClockEvidence::Jump, LIMIT + 1, LIMIT)
        );
        assert_eq!(moment.wall_ms, fault.plausible_ms);
        assert!(fault.to_string().contains("is 5001 ms later than"), "{fault}");
        assert_eq!(judged(&mut guard, after(30_000, 0), &[]), None);
        assert_eq!(judged(&mut guard, after(40_000, -3_600_000), &[]), None);
        assert_eq!(judged(&mut guard, after(50_000, 0), &[]), None, "it was set back, and is right again");
    }

    #[test]
    fn peers_confirm_correction() {
        let mut guard = guard(0);
        assert_eq!(judged(&mut guard, after(0, 0), &[]), None);
        let moment = after(10_000, 3_600_000);
        assert_eq!(judged(&mut guard, moment, &[]), Some(ClockEvidence::Jump));
        assert!(!guard.take_correction());
        assert_eq!(judged(&mut guard, moment, &[moment.wall_ms - 10]), None);
        assert!(guard.take_correction() && !guard.take_correction());
        assert_eq!(judged(&mut guard, moment, &[]), None, "it stays confirmed");
    }

    #[test]
    fn majority_decides_and_minority_does_not() {
        let hour = 3_600_000;
        let moment = after(0, hour);
        let [right, lie] = [START, START + hour as u64];
        let peers = |behind, heard| Some(ClockEvidence::Peers { behind, heard });
        for (clocks, expected) in [
            (&[right, right][..], peers(2, 2)),
            (&[right, lie][..], None),
            (&[right, right, lie][..], None),
            (&[right, right, right, lie][..], peers(3, 4)),
        ] {
            assert_eq!(judged(&mut guard(0), moment, clocks), expected, "{clocks:?}");
        }
        let mut guard = guard(0);
        assert_eq!(guard.judge(moment, [right, right, lie, right].into_iter()).wall_ms, right);
        assert_eq!(
            judged(&mut guard, after(0, 0), &[0, 0, 0, right, right, right]),
            None,
            "it is with the median"
        );
    }

    #[test]
    fn absence_is_bounded() {
        assert_eq!(judged(&mut guard(START), after(0, YEAR as i64), &[]), None);
        let mut guard = guard(START);
        assert_eq!(judged(&mut guard, after(0, YEAR as i64 + 1), &[]), Some(ClockEvidence::Absence));
        assert_eq!(judged(&mut guard, after(9, 0), &[]), None);
        assert_eq!(judged(&mut guard, after(9, LIMIT as i64 + 1), &[]), Some(ClockEvidence::Jump));
    }

    #[test]
    fn clock_that_is_not_set_yet_may_be_set() {
        let mut guard = guard(START);
        assert_eq!(judged(&mut guard, Moment { now: SimTime::ZERO, wall_ms: 0 }, &[]), None);
        assert_eq!(judged(&mut guard, after(9, 86_400_000), &[]), None, "the host was off for a day");
        assert_eq!(guard.to_store(after(9, 86_400_000)), START + 9 + 86_400_000);
        let mut ahead = self::guard(START + YEAR);
        assert_eq!(judged(&mut ahead, after(9, 0), &[]), None);
        assert_eq!(ahead.to_store(after(9, 0)), START + YEAR, "it may not be set yet");
        assert_eq!(judged(&mut ahead, after(9, 0), &[START]), None);
        assert_eq!(ahead.to_store(after(9, 0)), START + 9, "the last write was ahead of time");
    }

    #[test]
    fn steady_clock_needs_no_peers() {
        let mut guard = guard(0);
        assert!(!guard.is_steady(after(0, 0)), "it was never judged");
        judged(&mut guard, after(0, 0), &[]);
        assert!(guard.is_steady(after(10, 4_000)) && guard.is_steady(after(20, 8_000)), "it drifts");
        assert!(!guard.is_steady(after(30, 8_001 + LIMIT as i64)));
        judged(&mut guard, after(30, 60_000), &[]);
        assert!(!guard.is_steady(after(40, 0)), "it has to be judged again");
    }

    #[test]
    fn history_begins_to_be_ahead_once() {
        let mut guard = guard(0);
        assert_eq!(
            [true, true, false, true].map(|ahead| guard.begins_ahead(ahead)),
            [true, false, false, true]
        );
        let of = |stamp_ms| AheadOfTime::of(ReplicaId::default(), None, stamp_ms, START, LIMIT);
        assert_eq!(of(START + LIMIT), None);
        assert_eq!(
            of(START + LIMIT + 1).map(|ahead| (ahead.ahead_ms, ahead.until_ms)),
            Some((LIMIT + 1, START + 1))
        );
    }

    #[test]
    fn trusted_clock_is_plausible_until_it_jumps_again() {
        let mut guard = guard(0);
        let wrong = after(10, 3_600_000);
        let right = START;
        guard.judge(after(0, 0), [].into_iter());
        assert_eq!(
            judged(&mut guard, wrong, &[right, right]),
            Some(ClockEvidence::Peers { behind: 2, heard: 2 })
        );
        guard.trust(wrong);
        assert_eq!(judged(&mut guard, wrong, &[right, right]), None);
        assert!(judged(&mut guard, after(20, 7_200_000), &[right, right]).is_some());
    }

    #[test]
    fn less_delayed_announcement_counts_for_a_while() {
        let announced = |at: u64, wall_ms, stamp_ms: u64| {
            AnnouncedClock::new(ReplicaId::default(), at.into(), wall_ms, stamp_ms << 16)
        };
        let first = announced(1_000, 1_000, 5);
        let late = announced(9_000, 2_000, 7);
        let joined = first.joined(late);
        assert_eq!((joined.wall_ms(9_000.into()), joined.stamp_ms()), (9_000, 7));
        let set_back = announced(9_000, 9_000_000, 7).joined(announced(10_000, 10_000, 7));
        assert_eq!(set_back.wall_ms(10_000.into()), 10_000, "no announcement is delayed by hours");
        let corrected = announced(601_000, 2_000, 7);
        assert_eq!(first.joined(corrected), corrected);
        assert!(first.is_recent(3_601_000.into()) && !first.is_recent(3_601_001.into()));
    }
}
