//! The records of peers, and the policy that follows from them: which peers are selected, how long a response
//! may take, and how long the replica backs off from a peer.

mod record;

pub(crate) use record::{Backoff, FailedSession, PeerRecord};

use crate::clock_guard::AnnouncedClock;
use crate::config::ReplicaConfig;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use syncline_sync::{KnownVectors, Membership, Rejection, SyncProtocolKind};
use syncline_types::{Choice, Digest, Entropy, PeerId, ReplicaId, SimDuration, SimTime};

/// The most peers of which a record is stored, apart from those that are reachable.
pub(crate) const MAX_PEERS: usize = 4_096;
/// The most peers of which version vectors are stored.
pub(crate) const MAX_VECTOR_PEERS: usize = 64;

/// The records of all peers seen so far, and which of them are reachable now.
#[derive(Clone, Debug)]
pub(crate) struct PeerTable {
    records: BTreeMap<PeerId, PeerRecord>,
    /// The peers of which version vectors are stored, the most recently used last.
    vector_peers: VecDeque<PeerId>,
    reachable: Arc<[PeerId]>,
    first_timeout: SimDuration,
    timeout_max: SimDuration,
    backoff_min: SimDuration,
    backoff_max: SimDuration,
}

impl PeerTable {
    /// An empty table with the timeouts and pauses of these settings.
    pub(crate) fn new(config: &ReplicaConfig) -> Self {
        Self {
            records: BTreeMap::new(),
            vector_peers: VecDeque::new(),
            reachable: Arc::from([]),
            first_timeout: config.first_timeout,
            timeout_max: config.timeout_max,
            backoff_min: config.backoff_min,
            backoff_max: config.backoff_max,
        }
    }

    pub(crate) fn reachable(&self) -> &[PeerId] {
        &self.reachable
    }

    pub(crate) fn is_reachable(&self, peer: PeerId) -> bool {
        self.reachable.contains(&peer)
    }

    /// Sets the peers that are reachable from now on. Returns whether one of them was not reachable before.
    pub(crate) fn set_reachable(&mut self, peers: Arc<[PeerId]>) -> bool {
        let mut any_new = false;
        for peer in peers.iter().filter(|peer| !self.reachable.contains(peer)) {
            self.records.entry(*peer).or_default().on_reachable();
            any_new = true;
        }
        self.reachable = peers;
        any_new
    }

    pub(crate) const fn records(&self) -> &BTreeMap<PeerId, PeerRecord> {
        &self.records
    }

    /// The record of a peer; an empty record if the peer is new.
    pub(crate) fn record(&mut self, peer: PeerId) -> &mut PeerRecord {
        if self.records.len() >= MAX_PEERS && !self.records.contains_key(&peer) {
            // Only the pace of syncs depends on these records. All of them go at once, so that a host that
            // names ever new peers does not cause a search for each.
            let reachable: BTreeSet<PeerId> = self.reachable.iter().copied().collect();
            self.records.retain(|other, _| reachable.contains(other));
            self.vector_peers.retain(|other| reachable.contains(other));
        }
        self.records.entry(peer).or_default()
    }

    /// Uses the version vectors that a peer and this replica both know.
    pub(crate) fn with_vectors<R>(&mut self, peer: PeerId, work: impl FnOnce(&mut KnownVectors) -> R) -> R {
        let vectors = self.record(peer).vectors_mut();
        let result = work(vectors);
        if !vectors.is_empty() && self.vector_peers.back() != Some(&peer) {
            self.vector_peers.retain(|other| *other != peer);
            self.vector_peers.push_back(peer);
            if self.vector_peers.len() > MAX_VECTOR_PEERS
                && let Some(oldest) = self.vector_peers.pop_front()
            {
                // The next handshake of one of the two sides is sent whole.
                *self.record(oldest).vectors_mut() = KnownVectors::default();
            }
        }
        result
    }

    /// The number of peers of which version vectors are stored.
    pub(crate) fn vector_peers(&self) -> usize {
        self.vector_peers.len()
    }

    /// The root that a peer last announced.
    pub(crate) fn root_of(&self, peer: PeerId) -> Option<Digest> {
        self.records.get(&peer)?.root()
    }

    /// The roots that all peers last announced, in the order of the peers.
    pub(crate) fn roots(&self) -> impl Iterator<Item = Digest> {
        self.records.values().filter_map(PeerRecord::root)
    }

    /// The clocks that a peer has announced, once it has.
    pub(crate) fn clock_of(&self, peer: PeerId) -> Option<AnnouncedClock> {
        self.records.get(&peer)?.clock()
    }

    /// The clocks that all peers have announced, in the order of the peers.
    pub(crate) fn clocks(&self) -> impl Iterator<Item = (PeerId, AnnouncedClock)> {
        self.records.iter().filter_map(|(peer, record)| Some((*peer, record.clock()?)))
    }

    /// The measured round-trip time of a peer, in microseconds.
    pub(crate) fn round_trip_us(&self, peer: PeerId) -> Option<u64> {
        self.records.get(&peer)?.round_trip_us()
    }

    /// The timeout of the `attempt`-th transmission of a request.
    pub(crate) fn timeout(&mut self, peer: PeerId, attempt: u32, entropy: &mut dyn Entropy) -> SimDuration {
        let longest = self.timeout_max;
        jittered(self.plain_timeout(peer, attempt).min(longest), entropy)
    }

    /// Whether the timeout of the `attempt`-th sending of a request is the longest one.
    pub(crate) fn is_longest_timeout(&mut self, peer: PeerId, attempt: u32) -> bool {
        self.plain_timeout(peer, attempt) >= self.timeout_max
    }

    /// The timeout before jitter and its upper bound.
    fn plain_timeout(&mut self, peer: PeerId, attempt: u32) -> SimDuration {
        let first = self.first_timeout;
        self.record(peer).timeout(attempt, first)
    }

    /// Whether the pause after the last failure of a peer was the longest one, after shorter ones.
    pub(crate) fn is_at_longest_backoff(&self, peer: PeerId) -> bool {
        let at_longest =
            |record: &PeerRecord| record.is_at_longest_backoff(self.backoff_min, self.backoff_max);
        self.records.get(&peer).is_some_and(at_longest)
    }

    /// Handles the failure of a session with a peer. Returns the pause before the next session.
    pub(crate) fn on_failure(
        &mut self,
        peer: PeerId,
        failed: FailedSession,
        entropy: &mut dyn Entropy,
    ) -> Backoff {
        let min = self.backoff_min;
        let max = self.backoff_max;
        self.record(peer).on_failure(min, max, failed, entropy)
    }

    /// Backs off from a peer, unless the replica does so already. Returns the time from which a session may
    /// start.
    pub(crate) fn back_off(&mut self, peer: PeerId, now: SimTime, entropy: &mut dyn Entropy) -> SimTime {
        if self.record(peer).not_before() <= now {
            let failed = FailedSession { started_at: now, ended_at: now, wasted: 0, stuck: 0 };
            let backoff = self.on_failure(peer, failed, entropy);
            self.record(peer).rest(now, backoff);
        }
        self.record(peer).not_before()
    }

    /// Whether so many sessions with a peer have failed in a row that nothing is expected from it now.
    pub(crate) fn is_given_up(&self, peer: PeerId) -> bool {
        self.records.get(&peer).is_some_and(PeerRecord::is_given_up)
    }

    /// Up to `count` reachable peers other than `except`, at random. If there are at most `count`, all of
    /// them in ascending order.
    pub(crate) fn pick(
        &self,
        count: usize,
        except: Option<PeerId>,
        entropy: &mut dyn Entropy,
    ) -> Vec<PeerId> {
        self.pick_among(count, |peer| Some(peer) != except, entropy)
    }

    /// Like [`PeerTable::pick`], among the reachable peers that `is_candidate` selects.
    pub(crate) fn pick_among(
        &self,
        count: usize,
        is_candidate: impl Fn(PeerId) -> bool,
        entropy: &mut dyn Entropy,
    ) -> Vec<PeerId> {
        let mut peers: Vec<PeerId> =
            self.reachable.iter().copied().filter(|peer| is_candidate(*peer)).collect();
        if peers.len() <= count {
            return peers;
        }
        // The first steps of a Fisher–Yates shuffle: as many draws as peers are needed.
        for at in 0..count {
            let other = entropy.between(Choice::PeerOrder, at as u64, peers.len() as u64 - 1) as usize;
            peers.swap(at, other);
        }
        peers.truncate(count);
        debug_assert!(peers.len() == count, "no more peers are picked than asked for");
        peers
    }

    /// Those of `protocols` that are offered to a peer. A peer whose deltas were refused is offered no
    /// exchange of deltas, only comparisons of states: it may be an honest peer with another view of the
    /// membership, and its state may contain writes that this replica lacks.
    pub(crate) fn offered(&self, peer: PeerId, protocols: &[SyncProtocolKind]) -> Vec<SyncProtocolKind> {
        let mut offered = protocols.to_vec();
        if self.records.get(&peer).is_some_and(PeerRecord::compares_only_states) {
            offered.retain(|protocol| *protocol != SyncProtocolKind::DeltaSync);
        }
        offered
    }

    /// The replica id of a peer, as far as its last handshake or its gossip tells it.
    pub(crate) fn replica_of(&self, peer: PeerId) -> Option<ReplicaId> {
        self.records.get(&peer)?.likely_replica()
    }

    /// Records the identity that a peer claims in a handshake, given the verdict on that handshake. After an
    /// implausible handshake the peer stays unknown, so its later requests are not served.
    pub(crate) fn identify(&mut self, peer: PeerId, replica: ReplicaId, vetted: Result<(), Rejection>) {
        let known = (vetted != Err(Rejection::Implausible)).then_some(replica);
        self.record(peer).set_replica(known);
    }

    /// Whether a request other than a handshake is served. Only the handshake before it identifies the peer:
    /// the host guarantees that all frames of one peer come from one replica.
    pub(crate) fn admit(&mut self, peer: PeerId, membership: &Membership) -> Result<(), Rejection> {
        let replica = self.record(peer).replica();
        if *membership == Membership::Open {
            return Ok(());
        }
        match replica {
            // This replica has restarted since the handshake: the peer must start again.
            None => Err(Rejection::NoHandshake),
            Some(replica) if membership.admits(replica) => Ok(()),
            Some(_) => Err(Rejection::NotAMember),
        }
    }
}

/// `span` plus a jitter of up to a quarter, so that replicas do not act at the same time.
pub(crate) fn jittered(span: SimDuration, entropy: &mut dyn Entropy) -> SimDuration {
    span + SimDuration::from_micros(entropy.below(Choice::TimerJitter, span.as_micros() / 4))
}

/// A time between `low` and `high` from `now`.
pub(crate) fn within(
    now: SimTime,
    low: SimDuration,
    high: SimDuration,
    entropy: &mut dyn Entropy,
) -> SimTime {
    now + SimDuration::from_micros(entropy.between(Choice::TimerJitter, low.as_micros(), high.as_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use syncline_types::ContextId;

    /// Draws the lowest number.
    struct Lowest;

    impl Entropy for Lowest {
        fn below(&mut self, _: Choice, _: u64) -> u64 {
            0
        }
    }

    const A: PeerId = PeerId(1);

    fn ms(count: u64) -> SimDuration {
        SimDuration::from_millis(count)
    }

    fn table() -> PeerTable {
        let config = ReplicaConfig::new(ContextId::default(), ReplicaId::from_u64(9));
        PeerTable::new(&ReplicaConfig { backoff_max: ms(1_000), ..config })
    }

    #[test]
    fn reports_newly_reachable_peers() {
        let mut table = table();
        assert!(table.set_reachable([A].into()));
        assert!(!table.set_reachable([A].into()) && table.is_reachable(A));
        assert!(!table.set_reachable([].into()) && !table.is_reachable(A));
        assert!(table.set_reachable([A].into()), "it was away");
    }

    #[test]
    fn picks_all_in_order_if_few() {
        let mut table = table();
        table.set_reachable([PeerId(3), A, PeerId(2)].into());
        assert_eq!(table.pick(3, None, &mut Lowest), [PeerId(3), A, PeerId(2)]);
        assert_eq!(table.pick(2, Some(PeerId(3)), &mut Lowest), [A, PeerId(2)]);
        assert_eq!(table.pick(1, None, &mut Lowest), [PeerId(3)]);
    }

    /// Promises: G1
    #[test]
    fn records_of_unreachable_peers_are_bounded() {
        let mut table = table();
        table.set_reachable([A].into());
        for peer in 0..3 * MAX_PEERS as u32 {
            table.record(PeerId(peer)).on_unauthorized_deltas();
            assert!(table.records().len() <= MAX_PEERS);
        }
        assert!(table.record(A).compares_only_states(), "a reachable peer is not forgotten");
    }

    #[test]
    fn backs_off_once_until_pause_ends() {
        let mut table = table();
        let now = SimTime::from_secs(1);
        assert_eq!(table.back_off(A, now, &mut Lowest), now + ms(250));
        assert_eq!(table.back_off(A, now + ms(100), &mut Lowest), now + ms(250), "it rests already");
        assert_eq!(table.back_off(A, now + ms(250), &mut Lowest), now + ms(750), "twice as long");
        assert_eq!(table.back_off(A, SimTime::from_secs(9), &mut Lowest), SimTime::from_secs(10));
        assert_eq!(table.back_off(A, SimTime::from_secs(20), &mut Lowest), SimTime::from_secs(21));
    }

    #[test]
    fn serves_only_members_after_handshake() {
        let mut table = table();
        let me = ReplicaId::from_u64(1);
        let membership = Membership::named([me]);
        assert_eq!(table.admit(A, &Membership::Open), Ok(()));
        assert_eq!(table.admit(A, &membership), Err(Rejection::NoHandshake));
        table.identify(A, me, Err(Rejection::Implausible));
        assert_eq!(table.admit(A, &membership), Err(Rejection::NoHandshake));
        table.identify(A, ReplicaId::from_u64(2), Err(Rejection::NotAMember));
        assert_eq!(table.admit(A, &membership), Err(Rejection::NotAMember));
        table.identify(A, me, Ok(()));
        assert_eq!(table.admit(A, &membership), Ok(()));
    }

    #[test]
    fn refused_deltas_leave_only_state_protocols() {
        let mut table = table();
        let all = [SyncProtocolKind::DeltaSync, SyncProtocolKind::Snapshot];
        assert_eq!(table.offered(A, &all), all);
        table.record(A).on_unauthorized_deltas();
        assert_eq!(table.offered(A, &all), [SyncProtocolKind::Snapshot]);
        table.record(A).on_converged(Digest::ZERO);
        assert_eq!(table.offered(A, &all), all);
    }
}
