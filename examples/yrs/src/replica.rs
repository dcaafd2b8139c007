//! One replica: a yrs document, synchronized with its peers by the messages of yrs's own sync protocol.

use crate::document::{Document, Removed, Shown};
use crate::{Edit, Experiment};
use sync_sim::custom::*;
use yrs::sync::{Message, SyncMessage};
use yrs::updates::decoder::Decode;
use yrs::updates::encoder::Encode;
use yrs::{Snapshot, StateVector};

/// The interval at which a replica sends its state vector.
const BEAT: SimDuration = SimDuration::from_millis(200);

/// The size of a frame's checksum, in bytes.
const CHECKSUM: usize = 8;

/// One replica. All of its state is durable.
#[derive(Clone)]
pub struct Replica {
    own: NodeId,
    experiment: Experiment,
    peers: Vec<NodeId>,
    document: Document,
    removed: Removed,
    digest: Digest,
}

impl Replica {
    /// A replica with an empty document.
    pub fn new(own: NodeId, experiment: Experiment) -> Self {
        let document = Document::new(u64::from(own.0));
        let mut new = Self {
            own,
            experiment,
            peers: Vec::new(),
            document,
            removed: Removed::default(),
            digest: Digest::ZERO,
        };
        new.update_digest();
        new
    }

    pub fn shown(&self) -> Shown {
        self.document.shown()
    }

    /// The state vector of the document, and its set of deletions.
    pub fn snapshot(&self) -> Snapshot {
        self.document.snapshot()
    }

    /// Everything that edits on this replica deleted.
    pub const fn removed(&self) -> &Removed {
        &self.removed
    }

    fn update_digest(&mut self) {
        self.digest = Digest::of(0, &self.document.summary());
    }

    fn send(&self, to: NodeId, message: SyncMessage, effects: &mut Effects<()>) {
        let kind = match message {
            SyncMessage::SyncStep1(_) => 0,
            SyncMessage::SyncStep2(_) => 1,
            SyncMessage::Update(_) => 2,
        };
        let message = Message::Sync(message).encode_v1();
        let bytes = match self.experiment {
            Experiment::Bare => message,
            _ => [&checksum(&message), message.as_slice()].concat(),
        };
        // Frames are housekeeping: the next state vector makes up for a lost one.
        effects.messages.push(Outgoing { to, bytes: bytes.into(), kind, housekeeping: true });
    }

    fn on_frame(&mut self, from: NodeId, bytes: &[u8], effects: &mut Effects<()>) -> Result<(), DropCause> {
        let bytes = match self.experiment {
            Experiment::Bare => bytes,
            _ => unsealed(bytes).ok_or(DropCause::Corrupt)?,
        };
        match Message::decode_v1(bytes) {
            Ok(Message::Sync(SyncMessage::SyncStep1(theirs))) => {
                if self.experiment != Experiment::Terse || has_more(&self.document.state_vector(), &theirs) {
                    let missing = self.document.missing(&theirs);
                    self.send(from, SyncMessage::SyncStep2(missing), effects);
                }
                Ok(())
            }
            Ok(Message::Sync(SyncMessage::SyncStep2(update) | SyncMessage::Update(update))) => {
                self.document.apply(&update).map_err(|_| DropCause::Corrupt)?;
                self.update_digest();
                Ok(())
            }
            _ => Err(DropCause::Corrupt),
        }
    }
}

fn checksum(message: &[u8]) -> [u8; CHECKSUM] {
    *Digest::of(1, message).0.first_chunk().expect("a digest is longer")
}

fn unsealed(bytes: &[u8]) -> Option<&[u8]> {
    let (sum, message) = bytes.split_first_chunk()?;
    (*sum == checksum(message)).then_some(message)
}

/// Whether the first state vector covers an edit that the second does not.
fn has_more(first: &StateVector, second: &StateVector) -> bool {
    first.iter().any(|(client, clock)| second.get(client) < *clock)
}

impl Actor for Replica {
    type Op = Edit;
    type Notice = ();

    fn step(&mut self, input: Input<'_, Edit>, context: &mut Context<'_>, effects: &mut Effects<()>) {
        match input {
            Input::Peers { reachable, .. } => {
                self.peers = reachable.iter().copied().filter(|peer| *peer != self.own).collect();
            }
            Input::Start | Input::Timer(_) => {
                if matches!(input, Input::Start) && self.experiment != Experiment::OneId {
                    // Like yrs's default, a random number of 53 bits, but drawn from the run's entropy.
                    let client = context.entropy.below(Choice::PeerOrder, 1 << 53);
                    self.document = self.document.reopened(client);
                }
                for &peer in &self.peers {
                    self.send(peer, SyncMessage::SyncStep1(self.document.state_vector()), effects);
                }
                let at = context.moment.now + BEAT;
                effects.timers.push(TimerChange::Set { id: 0, at, housekeeping: true });
            }
            Input::Op(edit) => {
                let (update, Removed { letters, items }) = self.document.edit(edit);
                self.removed.letters.extend(letters);
                self.removed.items.extend(items);
                for &peer in &self.peers {
                    self.send(peer, SyncMessage::Update(update.clone()), effects);
                }
                self.update_digest();
            }
            Input::Frame { from, bytes } => {
                effects.refusal = self.on_frame(from, bytes, effects).err();
            }
        }
    }

    /// The document is read again from its encoding. In the experiment without a store, it is empty instead.
    fn crash(&mut self) {
        if self.experiment == Experiment::Tab {
            *self = Self { peers: std::mem::take(&mut self.peers), ..Self::new(self.own, self.experiment) };
        } else {
            self.document = self.document.clone();
        }
    }

    fn restart(&mut self) {}

    fn digest(&self) -> Digest {
        self.digest
    }

    fn unfinished(&self) -> Unfinished {
        Unfinished { waiting: u32::from(self.document.waits()), ..Unfinished::default() }
    }
}
