//! A node's other side: what it makes of the frames that its replica would send.

use crate::hostile::forge::{Craft, Heard};
use crate::hostile::{claims, deltas, random_mutation as changes, states};
use std::collections::{BTreeMap, VecDeque};
use sync_sim_engine::actor::Outgoing;
use sync_sim_engine::faults::{Lie, Rate};
use sync_sim_engine::node_id::NodeId;
use syncline_store::Bytes;
use syncline_sync::{Frame, Gate, Gossip, Message};
use syncline_types::{Choice, Entropy, ReplicaId, SimDuration, SimTime, limits};

/// Frames that it remembers, to send them again.
const REMEMBERED: usize = 24;
/// How long an answer of one that drips takes, in milliseconds.
const DRIP_MS: (u64, u64) = (150, 1_500);

/// How a hostile node lies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Manner {
    /// What it says by chance.
    pub(crate) lies: Vec<Lie>,
    /// How often, for each frame.
    pub(crate) rate: Rate,
    /// What it says by script: from a time on, in so many frames.
    pub(crate) script: Vec<(SimTime, Lie, u64)>,
}

impl Manner {
    /// Whether it may say what a member is believed.
    pub(crate) fn is_taken_on_trust(&self) -> bool {
        let scripted = self.script.iter().map(|(_, lie, _)| lie);
        self.lies.iter().chain(scripted).any(|lie| lie.is_taken_on_trust())
    }
}

/// The means by which a node lies, and what it remembers. Lost with nothing: crashes teach it no better.
#[derive(Clone, Debug, Default)]
pub struct Liar {
    pub(crate) manner: Manner,
    heard: Heard,
    sent: VecDeque<Outgoing>,
    held: VecDeque<(SimTime, Outgoing)>,
    told: BTreeMap<Lie, u64>,
    turn: u64,
}

/// Who lies, and with what.
pub(crate) struct Identity<'a> {
    pub(crate) replica: ReplicaId,
    pub(crate) gate: &'a Gate,
}

/// What becomes of a frame.
enum Bent {
    Now(Bytes),
    Late(Bytes, SimDuration),
    Again(Outgoing),
    Never,
}

impl Liar {
    pub(crate) fn new(manner: Manner) -> Self {
        Self { manner, ..Self::default() }
    }

    /// How often it has told each lie.
    pub const fn told(&self) -> &BTreeMap<Lie, u64> {
        &self.told
    }

    /// Takes note of a frame that came.
    pub(crate) fn hear(&mut self, from: NodeId, bytes: &[u8], identity: &Identity<'_>) {
        if let Ok(frame) = Frame::from_wire(bytes, identity.gate.context) {
            self.heard.note(from.0, frame.message);
        }
    }

    /// What leaves instead of the frames that its replica would send.
    pub(crate) fn bend(
        &mut self,
        honest: Vec<Outgoing>,
        identity: &Identity<'_>,
        now: SimTime,
        chance: &mut dyn Entropy,
    ) -> Vec<Outgoing> {
        let mut out = Vec::with_capacity(honest.len());
        for frame in honest {
            let bent = self.lie_about(&frame, identity, now, chance);
            self.sent.push_back(frame.clone());
            if self.sent.len() > REMEMBERED {
                self.sent.pop_front();
            }
            match bent {
                None => out.push(frame),
                Some(Bent::Now(bytes)) => out.push(Outgoing { bytes, ..frame }),
                Some(Bent::Again(before)) => out.push(before),
                Some(Bent::Late(bytes, pause)) => {
                    self.held.push_back((now + pause, Outgoing { bytes, ..frame }));
                }
                Some(Bent::Never) => {}
            }
        }
        out
    }

    /// The frames held back until now.
    pub(crate) fn due(&mut self, now: SimTime) -> Vec<Outgoing> {
        let (due, held) = std::mem::take(&mut self.held).into_iter().partition(|(at, _)| *at <= now);
        self.held = held;
        let due: VecDeque<(SimTime, Outgoing)> = due;
        due.into_iter().map(|(_, frame)| frame).collect()
    }

    /// When the next frame that it holds back is due.
    pub(crate) fn next_due(&self) -> Option<SimTime> {
        self.held.iter().map(|(at, _)| *at).min()
    }

    /// What was held back is gone: its host went down.
    pub(crate) fn crash(&mut self) {
        self.held.clear();
    }

    fn lie_about(
        &mut self,
        frame: &Outgoing,
        identity: &Identity<'_>,
        now: SimTime,
        chance: &mut dyn Entropy,
    ) -> Option<Bent> {
        let scripted = self.manner.script.iter().position(|(at, _, left)| *at <= now && *left > 0);
        if let Some(at) = scripted
            && let Some((_, lie, _)) = self.manner.script.get(at).copied()
            && let Some(bent) = self.tell(lie, frame, identity, now, chance)
        {
            if let Some((_, _, left)) = self.manner.script.get_mut(at) {
                *left -= 1;
            }
            return Some(bent);
        }
        let rate = u64::from(self.manner.rate.as_ppm());
        if self.manner.lies.is_empty() || chance.below(Choice::Lie, 1_000_000) >= rate {
            return None;
        }
        // From one on, so that a frame that one lie says nothing to is bent by the next.
        let lies = self.manner.lies.clone();
        let first = chance.below(Choice::LieKind, lies.len() as u64) as usize;
        let in_turn = lies.iter().cycle().skip(first).take(lies.len());
        in_turn.copied().find_map(|lie| self.tell(lie, frame, identity, now, chance))
    }

    /// A frame bent by one lie, if that says something to it.
    fn tell(
        &mut self,
        lie: Lie,
        frame: &Outgoing,
        identity: &Identity<'_>,
        now: SimTime,
        chance: &mut dyn Entropy,
    ) -> Option<Bent> {
        let context = identity.gate.context;
        let Frame { incarnation, mut message } = Frame::from_wire(&frame.bytes, context).ok()?;
        self.turn += 1;
        let mut craft = Craft {
            gate: identity.gate,
            own: identity.replica,
            echo: self.heard.root_of(frame.to.0),
            asked: self.heard.asked_by(frame.to.0),
            now,
            turn: self.turn,
            chance,
        };
        let bent = match lie {
            Lie::ReplayedFrames => {
                let before = self.sent.get(craft.below(self.sent.len()))?;
                Bent::Again(before.clone())
            }
            Lie::WithheldDeltas if matches!(message, Message::Gossip(Gossip::Delta(_))) => Bent::Never,
            Lie::Garbage => Bent::Now(garbage(&frame.bytes, context, &mut craft)),
            Lie::OversizedPages if matches!(message, Message::Response { .. }) && craft.one_in(16) => {
                let mut bytes = frame.bytes.to_vec();
                bytes.resize(limits::MAX_FRAME_BYTES + 1, 0);
                Bent::Now(bytes.into())
            }
            lie => {
                if !say(lie, &mut message, &mut craft) {
                    return None;
                }
                let bytes = Bytes::from(Frame { incarnation, message }.to_wire(context));
                if lie == Lie::SlowDrip {
                    let pause = craft.chance.between(Choice::LieDetail, DRIP_MS.0, DRIP_MS.1);
                    Bent::Late(bytes, SimDuration::from_millis(pause))
                } else {
                    Bent::Now(bytes)
                }
            }
        };
        *self.told.entry(lie).or_default() += 1;
        Some(bent)
    }
}

/// Changes a message by one lie. Says whether there was anything to change.
fn say(lie: Lie, message: &mut Message, craft: &mut Craft<'_>) -> bool {
    match lie {
        Lie::LyingRoot => {
            let root = craft.digest();
            claims::root(message, root, craft)
        }
        Lie::EchoedRoot => craft.echo.is_some_and(|root| claims::root(message, root, craft)),
        Lie::WrongHashes => states::hashes(message, craft),
        Lie::TamperedRecords => states::tamper(message, craft),
        Lie::BrokenRecords => states::break_records(message),
        Lie::WithheldDeltas => deltas::withheld(message),
        Lie::ForgedDeltas => deltas::forged(message, craft),
        Lie::ForgedParents => deltas::parents(message, craft),
        Lie::ForgedPositions => deltas::positions(message, craft),
        Lie::ForgedVersions => claims::versions(message, craft),
        Lie::OversizedPages => states::oversize(message, craft),
        Lie::EndlessLists => states::endless(message, craft),
        Lie::SlowDrip => states::drip(message),
        Lie::FalseCapabilities => claims::capabilities(message, craft),
        Lie::RandomChanges => changes::at_random(message, craft),
        // These are no changes of a message.
        Lie::ReplayedFrames | Lie::Garbage => false,
    }
}

/// A frame of the right form with nothing in it that is a message.
fn garbage(bytes: &Bytes, context: syncline_types::ContextId, craft: &mut Craft<'_>) -> Bytes {
    /// Checksum, version and context.
    const HEAD: usize = 13;
    let mut bent = bytes.to_vec();
    bent.truncate(HEAD.max(bent.len().min(HEAD + 1 + craft.below(200))));
    for at in HEAD..bent.len() {
        if craft.one_in(2)
            && let Some(byte) = bent.get_mut(at)
        {
            *byte = craft.byte();
        }
    }
    loop {
        let sum = 4.min(bent.len());
        let (head, tail) = bent.split_at_mut(sum);
        head.copy_from_slice(&crc32fast::hash(tail).to_le_bytes());
        if Frame::from_wire(&bent, context).is_err() {
            return bent.into();
        }
        bent.push(0xff);
    }
}
