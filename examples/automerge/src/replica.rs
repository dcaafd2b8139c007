//! One replica: an automerge document and a sync state for each peer.

use crate::{Edit, Sessions, Shown};
use automerge::sync::{Message, State, SyncDoc};
use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, AutoCommit, ObjType, ROOT, ReadDoc, ScalarValue};
use std::collections::BTreeMap;
use sync_sim::custom::*;

/// The pause between two rounds of sync messages.
const BEAT: SimDuration = SimDuration::from_millis(200);

/// A session with a peer. A greater number denotes a newer session.
#[derive(Clone, Debug, Default)]
struct Session {
    number: u64,
    state: State,
}

/// One replica. Its document is durable; its sessions are not.
#[derive(Clone)]
pub struct Replica {
    own: NodeId,
    lifetime: Sessions,
    peers: Vec<NodeId>,
    document: AutoCommit,
    sessions: BTreeMap<NodeId, Session>,
    digest: Digest,
}

impl Replica {
    /// A replica with the initial document of all replicas: a text, a map and a counter.
    pub fn new(own: NodeId, lifetime: Sessions) -> Self {
        let mut document = AutoCommit::new().with_actor(ActorId::from([0xff]));
        document.put_object(ROOT, "text", ObjType::Text).expect("a new document");
        document.put_object(ROOT, "map", ObjType::Map).expect("a new document");
        document.put(ROOT, "count", ScalarValue::counter(0)).expect("a new document");
        document.commit_with(CommitOptions::default().with_time(0));
        document.set_actor(ActorId::from(own.0.to_be_bytes()));
        let mut new = Self {
            own,
            lifetime,
            peers: Vec::new(),
            document,
            sessions: BTreeMap::new(),
            digest: Digest::ZERO,
        };
        new.update_digest();
        new
    }

    /// The visible content of the document.
    pub fn shown(&self) -> Shown {
        let place =
            |name| self.document.get(ROOT, name).expect("readable").expect("created with the document");
        let (_, text) = place("text");
        let (_, map) = place("map");
        let pairs = self.document.keys(&map).map(|key| {
            let (value, _) = self.document.get(&map, &key).expect("readable").expect("a listed key");
            (key, value.as_u64().expect("a number"))
        });
        Shown {
            text: self.document.text(&text).expect("a text"),
            map: pairs.collect(),
            count: place("count").0.as_i64().expect("a counter") as u64,
        }
    }

    fn update_digest(&mut self) {
        let mut heads: Vec<[u8; 32]> = self.document.get_heads().into_iter().map(|head| head.0).collect();
        heads.sort_unstable();
        self.digest = Digest::of(0, &heads.concat());
    }

    fn edit(&mut self, edit: &Edit) {
        let (_, text) =
            self.document.get(ROOT, "text").expect("readable").expect("created with the document");
        let (_, map) = self.document.get(ROOT, "map").expect("readable").expect("created with the document");
        let edited = match edit {
            Edit::Type { at, word } => {
                let at = at % (self.document.length(&text) as u64 + 1);
                self.document.splice_text(&text, at as usize, 0, word)
            }
            Edit::Set { key, value } => self.document.put(&map, key.as_str(), *value),
            Edit::Add { by } => self.document.increment(ROOT, "count", *by as i64),
        };
        edited.expect("an edit of what is there");
        self.document.commit_with(CommitOptions::default().with_time(0));
    }

    /// Sends a peer the next sync message, if automerge has one.
    fn send_sync(&mut self, peer: NodeId, effects: &mut Effects<()>) {
        let session = self.sessions.entry(peer).or_default();
        let Some(message) = self.document.sync().generate_sync_message(&mut session.state) else { return };
        let bytes = [&session.number.to_be_bytes()[..], &message.encode()].concat().into();
        effects.messages.push(Outgoing { to: peer, bytes, kind: 0, housekeeping: true });
    }

    fn on_frame(&mut self, from: NodeId, bytes: &[u8], effects: &mut Effects<()>) -> Result<(), DropCause> {
        let (number, message) = bytes.split_first_chunk().ok_or(DropCause::Corrupt)?;
        let number = u64::from_be_bytes(*number);
        let message = Message::decode(message).map_err(|_| DropCause::Corrupt)?;
        let session = self.sessions.entry(from).or_default();
        if number < session.number {
            return Err(DropCause::StaleIncarnation);
        }
        if number > session.number {
            *session = Session { number, state: State::new() };
        }
        let received = self.document.sync().receive_sync_message(&mut session.state, message);
        received.map_err(|_| DropCause::Corrupt)?;
        self.send_sync(from, effects);
        Ok(())
    }
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
                for peer in self.peers.clone() {
                    // The lower node of each pair begins new sessions, and the other follows.
                    if self.lifetime == Sessions::Renewed && self.own < peer {
                        let number = context.moment.now.as_micros() + 1;
                        self.sessions.insert(peer, Session { number, state: State::new() });
                    }
                    self.send_sync(peer, effects);
                }
                let at = context.moment.now + BEAT;
                effects.timers.push(TimerChange::Set { id: 0, at, housekeeping: true });
            }
            Input::Op(edit) => {
                self.edit(edit);
                for peer in self.peers.clone() {
                    self.send_sync(peer, effects);
                }
            }
            Input::Frame { from, bytes } => {
                effects.refusal = self.on_frame(from, bytes, effects).err();
            }
        }
        self.update_digest();
    }

    fn crash(&mut self) {
        self.sessions.clear();
    }

    fn restart(&mut self) {}

    fn digest(&self) -> Digest {
        self.digest
    }

    fn unfinished(&self) -> Unfinished {
        Unfinished::default()
    }
}
