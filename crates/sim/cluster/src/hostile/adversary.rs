//! What an adversary sends instead of the frames that its honest replica would send.

use crate::hostile::forge::{AttackContext, PeerClaims};
use crate::hostile::{claims, deltas, random_mutation, states};
use std::collections::{BTreeMap, VecDeque};
use sync_sim_engine::actor::Outgoing;
use sync_sim_engine::faults::{Lie, Rate};
use sync_sim_engine::node_id::NodeId;
use syncline_replica::FrameKind;
use syncline_store::Bytes;
use syncline_sync::{Frame, Gate, Gossip, Message};
use syncline_types::{Choice, Entropy, ReplicaId, SimDuration, SimTime, limits};

/// Honest frames that an adversary remembers for replays.
const REPLAY_WINDOW: usize = 24;
/// How long [`Lie::SlowDrip`] delays a response, in milliseconds, both ends included.
const DRIP_MS: (u64, u64) = (150, 1_500);

/// Which lies a hostile node tells, and when.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct AttackPlan {
    /// The lies that it tells at random.
    pub(crate) lies: Vec<Lie>,
    /// The probability of a random lie, for each frame.
    pub(crate) rate: Rate,
    /// Scripted lies: the time from which on, the lie, and the number of frames still to alter.
    pub(crate) script: Vec<(SimTime, Lie, u64)>,
}

impl AttackPlan {
    /// Whether the plan has a lie that members take on trust.
    pub(crate) fn is_taken_on_trust(&self) -> bool {
        let scripted = self.script.iter().map(|(_, lie, _)| lie);
        self.lies.iter().chain(scripted).any(|lie| lie.is_taken_on_trust())
    }
}

/// Alters the frames of a hostile node. It survives crashes of its host, except for the frames that it delays.
#[derive(Clone, Debug, Default)]
pub struct Adversary {
    pub(crate) plan: AttackPlan,
    peer_claims: PeerClaims,
    /// The last [`REPLAY_WINDOW`] honest frames, oldest first.
    sent: VecDeque<Outgoing>,
    /// Delayed frames with the time at which each leaves.
    delayed: VecDeque<(SimTime, Outgoing)>,
    lie_counts: BTreeMap<Lie, u64>,
    /// Attempts to alter a frame so far.
    turn: u64,
}

/// The identity under which an adversary lies.
pub(crate) struct AdversaryIdentity<'a> {
    pub(crate) replica: ReplicaId,
    pub(crate) gate: &'a Gate,
}

/// The result of altering a frame that the replica sends.
enum AlteredFrame {
    /// Sends these bytes instead.
    Send(Bytes),
    /// Sends these bytes instead, after a delay.
    Delay(Bytes, SimDuration),
    /// Sends an earlier frame instead.
    Replay(Outgoing),
    /// Sends nothing.
    Withhold,
}

impl Adversary {
    pub(crate) fn new(plan: AttackPlan) -> Self {
        Self { plan, ..Self::default() }
    }

    /// Frames altered so far, by the kind of lie.
    pub const fn lie_counts(&self) -> &BTreeMap<Lie, u64> {
        &self.lie_counts
    }

    /// Records what a received frame claims about its sender.
    pub(crate) fn observe(&mut self, from: NodeId, bytes: &[u8], identity: &AdversaryIdentity<'_>) {
        if let Ok(frame) = Frame::from_wire(bytes, identity.gate.context) {
            self.peer_claims.observe(from.0, frame.message);
        }
    }

    /// The frames that leave now instead of the `honest` ones. Delayed frames wait for
    /// [`take_due`](Self::take_due).
    pub(crate) fn alter(
        &mut self,
        honest: Vec<Outgoing>,
        identity: &AdversaryIdentity<'_>,
        now: SimTime,
        entropy: &mut dyn Entropy,
    ) -> Vec<Outgoing> {
        let mut out = Vec::with_capacity(honest.len());
        for frame in honest {
            let altered = self.choose_lie(&frame, identity, now, entropy);
            // The frame is pushed after the choice, so a replay is always of an earlier frame.
            self.sent.push_back(frame.clone());
            if self.sent.len() > REPLAY_WINDOW {
                self.sent.pop_front();
            }
            match altered {
                None => out.push(frame),
                Some(AlteredFrame::Send(bytes)) => out.push(Outgoing { bytes, ..frame }),
                Some(AlteredFrame::Replay(earlier)) => out.push(earlier),
                Some(AlteredFrame::Delay(bytes, delay)) => {
                    self.delayed.push_back((now + delay, Outgoing { bytes, ..frame }));
                }
                Some(AlteredFrame::Withhold) => {}
            }
        }
        out
    }

    /// Passes on a delta that has just been gossiped to the node, with a damaged signature, if that is one of its lies. It
    /// may arrive before the delta itself.
    pub(crate) fn relay(
        &mut self,
        identity: &AdversaryIdentity<'_>,
        entropy: &mut dyn Entropy,
    ) -> Vec<Outgoing> {
        let Some((mut delta, others)) = self.peer_claims.take_heard() else { return Vec::new() };
        let rate = u64::from(self.plan.rate.as_ppm());
        if !self.plan.lies.contains(&Lie::ForgedDeltas) || entropy.below(Choice::Lie, 1_000_000) >= rate {
            return Vec::new();
        }
        let context = identity.gate.context;
        // Every frame says its incarnation.
        let last = self.sent.back().and_then(|sent| Frame::from_wire(&sent.bytes, context).ok());
        let Some(Frame { incarnation, .. }) = last.filter(|_| deltas::damage_signature(&mut delta, entropy))
        else {
            return Vec::new();
        };
        let message = Message::Gossip(Gossip::Delta(delta));
        let bytes: Bytes = Frame { incarnation, message }.to_wire(context).into();
        *self.lie_counts.entry(Lie::ForgedDeltas).or_default() += others.len() as u64;
        let kind = FrameKind::Delta.into();
        let to = |node| Outgoing { to: NodeId(node), bytes: bytes.clone(), kind, housekeeping: true };
        others.into_iter().map(to).collect()
    }

    /// Removes and returns the delayed frames that leave by `now`.
    pub(crate) fn take_due(&mut self, now: SimTime) -> Vec<Outgoing> {
        let (due, delayed) = std::mem::take(&mut self.delayed).into_iter().partition(|(at, _)| *at <= now);
        self.delayed = delayed;
        let due: VecDeque<(SimTime, Outgoing)> = due;
        due.into_iter().map(|(_, frame)| frame).collect()
    }

    /// When the next delayed frame leaves.
    pub(crate) fn next_due(&self) -> Option<SimTime> {
        self.delayed.iter().map(|(at, _)| *at).min()
    }

    /// The host went down and lost the delayed frames.
    pub(crate) fn crash(&mut self) {
        self.delayed.clear();
    }

    /// Chooses a lie for a frame: a scripted one that is due, or else a random one. `None` if the frame leaves as
    /// it is.
    fn choose_lie(
        &mut self,
        frame: &Outgoing,
        identity: &AdversaryIdentity<'_>,
        now: SimTime,
        entropy: &mut dyn Entropy,
    ) -> Option<AlteredFrame> {
        // A script goes first, so that it is independent of the rate of random lies.
        let scripted = self.plan.script.iter().position(|(at, _, left)| *at <= now && *left > 0);
        if let Some(at) = scripted
            && let Some((_, lie, _)) = self.plan.script.get(at).copied()
            && let Some(altered) = self.apply_lie(lie, frame, identity, now, entropy)
        {
            if let Some((_, _, left)) = self.plan.script.get_mut(at) {
                assert!(*left > 0, "a scripted lie alters no more frames than its script says");
                *left -= 1;
            }
            return Some(altered);
        }
        let rate = u64::from(self.plan.rate.as_ppm());
        if self.plan.lies.is_empty() || entropy.below(Choice::Lie, 1_000_000) >= rate {
            return None;
        }
        // All lies are tried from a random one on: where one does not apply to the frame, the next may.
        let lies = self.plan.lies.clone();
        let first = entropy.below(Choice::LieKind, lies.len() as u64) as usize;
        let in_turn = lies.iter().cycle().skip(first).take(lies.len());
        in_turn.copied().find_map(|lie| self.apply_lie(lie, frame, identity, now, entropy))
    }

    /// Alters a frame by one lie; `None` if the lie does not apply to it.
    fn apply_lie(
        &mut self,
        lie: Lie,
        frame: &Outgoing,
        identity: &AdversaryIdentity<'_>,
        now: SimTime,
        entropy: &mut dyn Entropy,
    ) -> Option<AlteredFrame> {
        let context = identity.gate.context;
        let Frame { incarnation, mut message } = Frame::from_wire(&frame.bytes, context).ok()?;
        self.turn += 1;
        let mut attack = AttackContext {
            gate: identity.gate,
            own: identity.replica,
            peer_root: self.peer_claims.root_of(frame.to.0),
            peer_handshake: self.peer_claims.handshake_from(frame.to.0),
            now,
            turn: self.turn,
            entropy,
        };
        let altered = match lie {
            Lie::ReplayedFrames => {
                let earlier = self.sent.get(attack.below(self.sent.len()))?;
                AlteredFrame::Replay(earlier.clone())
            }
            // A gossiped delta is the whole message: withholding it leaves nothing to send.
            Lie::WithheldDeltas if matches!(message, Message::Gossip(Gossip::Delta(_))) => {
                AlteredFrame::Withhold
            }
            Lie::Garbage => AlteredFrame::Send(garbage(&frame.bytes, context, &mut attack)),
            // One response in 16 exceeds the frame limit itself instead of the limits of its lists.
            Lie::OversizedPages if matches!(message, Message::Response { .. }) && attack.one_in(16) => {
                let mut bytes = frame.bytes.to_vec();
                bytes.resize(limits::MAX_FRAME_BYTES + 1, 0);
                AlteredFrame::Send(bytes.into())
            }
            lie => {
                if !alter_message(lie, &mut message, &mut attack) {
                    return None;
                }
                let bytes = Bytes::from(Frame { incarnation, message }.to_wire(context));
                if lie == Lie::SlowDrip {
                    let delay = attack.entropy.between(Choice::LieDetail, DRIP_MS.0, DRIP_MS.1);
                    AlteredFrame::Delay(bytes, SimDuration::from_millis(delay))
                } else {
                    AlteredFrame::Send(bytes)
                }
            }
        };
        *self.lie_counts.entry(lie).or_default() += 1;
        Some(altered)
    }
}

/// Alters a message by one lie. Returns whether the lie applied to the message.
fn alter_message(lie: Lie, message: &mut Message, attack: &mut AttackContext<'_>) -> bool {
    match lie {
        Lie::LyingRoot => {
            let root = attack.digest();
            claims::root(message, root, attack)
        }
        Lie::EchoedRoot => attack.peer_root.is_some_and(|root| claims::root(message, root, attack)),
        Lie::WrongHashes => states::hashes(message, attack),
        Lie::TamperedRecords => states::tamper(message, attack),
        Lie::BrokenRecords => states::break_records(message),
        Lie::WithheldDeltas => deltas::withheld(message),
        Lie::ForgedDeltas => deltas::forged(message, attack),
        Lie::ForgedParents => deltas::parents(message, attack),
        Lie::ForgedPositions => deltas::positions(message, attack),
        Lie::ForgedVersions => claims::versions(message, attack),
        Lie::OversizedPages => states::oversize(message, attack),
        Lie::EndlessLists => states::endless(message, attack),
        Lie::SlowDrip => states::drip(message),
        Lie::FalseCapabilities => claims::capabilities(message, attack),
        Lie::RandomChanges => random_mutation::at_random(message, attack),
        Lie::ReplayedFrames | Lie::Garbage => unreachable!("`apply_lie` handles lies about whole frames"),
    }
}

/// A frame with a valid checksum and header whose body does not decode.
fn garbage(bytes: &Bytes, context: syncline_types::ContextId, attack: &mut AttackContext<'_>) -> Bytes {
    /// Bytes of checksum, version and context.
    const HEAD: usize = 13;
    let mut altered = bytes.to_vec();
    altered.truncate(HEAD.max(altered.len().min(HEAD + 1 + attack.below(200))));
    for at in HEAD..altered.len() {
        if attack.one_in(2)
            && let Some(byte) = altered.get_mut(at)
        {
            *byte = attack.byte();
        }
    }
    seal(&mut altered);
    // Random bytes may decode by accident. No message begins with 0xff, after the incarnation 0.
    if Frame::from_wire(&altered, context).is_ok() {
        altered.truncate(HEAD);
        altered.extend([0, 0xff]);
        seal(&mut altered);
    }
    assert!(Frame::from_wire(&altered, context).is_err(), "the body of garbage does not decode");
    altered.into()
}

/// Writes the checksum of a frame, so that it is read.
fn seal(frame: &mut [u8]) {
    let (sum, rest) = frame.split_at_mut_checked(4).expect("every frame has room for its checksum");
    sum.copy_from_slice(&crc32fast::hash(rest).to_le_bytes());
}
