//! One replica: the published storage on rows in memory, and gossip around it.

use crate::spread::{Delta, Spread};
use crate::{Kind, Storage};
use borsh::BorshDeserialize;
use calimero_storage::action::Action;
use calimero_storage::address::Id;
use calimero_storage::delta::clear_pending_delta;
use calimero_storage::entities::{ChildInfo, Metadata, StorageType};
use calimero_storage::env::{RuntimeEnv, with_runtime_env};
use calimero_storage::error::StorageError;
use calimero_storage::exports::{Digest as _, Sha256};
use calimero_storage::index::Index;
use calimero_storage::interface::{ApplyContext, Interface};
use calimero_storage::store::{Key, MainStorage};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use sync_sim::custom::*;

const CONTEXT: [u8; 32] = [0; 32];
/// How often a replica tells what it has.
const GOSSIP: SimDuration = SimDuration::from_millis(200);
const ACTIONS: u8 = 0;
const HAVE: u8 = 1;

/// What an application asks of a replica.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Write an entity.
    Put {
        /// Which.
        entity: u64,
        /// What.
        text: String,
    },
    /// Delete one, if it is there.
    Delete {
        /// Which.
        entity: u64,
    },
}

/// An action that was applied somewhere, in the terms of the specification.
pub struct Written {
    /// To which entity.
    pub entity: u64,
    /// With which stamp.
    pub stamp: u64,
    /// What it has then; `None` if it is deleted.
    pub data: Option<Vec<u8>>,
}

type Rows = BTreeMap<[u8; 32], Vec<u8>>;

/// One replica. All of it is on disk.
#[derive(Clone, Debug)]
pub struct Replica {
    own: NodeId,
    storage: Storage,
    peers: Vec<NodeId>,
    rows: Rows,
    spread: Spread,
    /// The stamp last given or seen, in nanoseconds.
    stamp: u64,
    /// What applying an action first ended in, if not well.
    refused: Option<String>,
    root: [u8; 32],
}

fn id_of(entity: u64) -> Id {
    let mut id = [1; 32];
    id[..8].copy_from_slice(&entity.to_be_bytes());
    Id::new(id)
}

/// The number of an entity.
fn entity_of(id: Id) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *id.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn root() -> ChildInfo {
    ChildInfo::new(Id::new(CONTEXT), [0; 32], Metadata::new(1, 1))
}

/// Runs something on rows, as the host of a node does.
fn on<R>(rows: &mut Rows, own: NodeId, run: impl FnOnce() -> R) -> R {
    let shared = Rc::new(RefCell::new(std::mem::take(rows)));
    let (read, write, remove) = (shared.clone(), shared.clone(), shared.clone());
    let mut executor = [0; 32];
    executor[..4].copy_from_slice(&own.0.to_be_bytes());
    let environment = RuntimeEnv::new(
        Rc::new(move |key: &Key| read.borrow().get(&key.to_bytes()).cloned()),
        Rc::new(move |key: Key, value: &[u8]| {
            write.borrow_mut().insert(key.to_bytes(), value.to_vec()).is_some()
        }),
        Rc::new(move |key: &Key| remove.borrow_mut().remove(&key.to_bytes()).is_some()),
        CONTEXT,
        executor,
    );
    let result = with_runtime_env(environment, run);
    // What it would send out by itself; the replica does that.
    clear_pending_delta();
    *rows = shared.take();
    result
}

fn apply(action: Action) -> Result<(), StorageError> {
    Interface::<MainStorage>::apply_action(action, &ApplyContext::empty())
}

fn root_hash() -> [u8; 32] {
    let hashes = Index::<MainStorage>::get_hashes_for(Id::new(CONTEXT)).expect("rows that it wrote itself");
    hashes.map_or([0; 32], |(full, _)| full)
}

impl Replica {
    /// One that has nothing but a root.
    pub fn new(own: NodeId, storage: Storage) -> Self {
        let mut rows = Rows::new();
        let root = on(&mut rows, own, || {
            Index::<MainStorage>::add_root(root()).expect("the first entity");
            root_hash()
        });
        let (peers, refused, spread) = (Vec::new(), None, Spread::new(own, storage.causal));
        Self { own, storage, peers, rows, spread, stamp: 0, refused, root }
    }

    /// What its index says is there, read as an application reads it.
    pub fn entries(&self) -> BTreeMap<u64, Vec<u8>> {
        on(&mut self.rows.clone(), self.own, || {
            let children = Index::<MainStorage>::get_children_of(Id::new(CONTEXT)).unwrap_or_default();
            let read = |child: &ChildInfo| {
                let data = Interface::<MainStorage>::find_by_id_raw(child.id())?;
                Some((entity_of(child.id()), data))
            };
            children.iter().filter_map(read).collect()
        })
    }

    /// All actions that it knows, its own and others'.
    pub fn written(&self) -> Vec<Written> {
        let written = |delta: &Delta| match decoded(&delta.action) {
            Action::Add { id, data, metadata, .. } | Action::Update { id, data, metadata, .. } => {
                Some(Written { entity: entity_of(id), stamp: metadata.updated_at(), data: Some(data) })
            }
            Action::DeleteRef { id, deleted_at, .. } => {
                Some(Written { entity: entity_of(id), stamp: deleted_at, data: None })
            }
            Action::Compare { .. } => None,
        };
        self.spread.all().filter_map(written).collect()
    }

    /// What applying an action first ended in, if not well.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    fn metadata(&self, created_at: u64) -> Metadata {
        let mut metadata = Metadata::new(created_at, self.stamp);
        metadata.crdt_type = self.storage.kind.crdt_type();
        if self.storage.kind == Kind::Frozen {
            metadata.storage_type = StorageType::Frozen;
        }
        metadata
    }

    /// The action that does what is asked for, if there is anything to do.
    fn action(&mut self, ask: &Ask) -> Option<Action> {
        let (Ask::Put { entity, .. } | Ask::Delete { entity }) = *ask;
        let id = id_of(entity);
        let known = on(&mut self.rows, self.own, || {
            let index = Index::<MainStorage>::get_index(id).ok().flatten();
            index.filter(|_| Interface::<MainStorage>::find_by_id_raw(id).is_some())
        });
        let created_at = known.as_ref().map_or(self.stamp, |index| index.metadata.created_at);
        let metadata = self.metadata(created_at);
        match (ask, known) {
            (Ask::Delete { .. }, None) => None,
            (Ask::Delete { .. }, Some(_)) => Some(Action::DeleteRef { id, deleted_at: self.stamp, metadata }),
            // What is frozen is written once.
            (Ask::Put { .. }, Some(_)) if self.storage.kind == Kind::Frozen => None,
            (Ask::Put { text, .. }, None) => {
                let data = self.data(id, text);
                Some(Action::Add { id, data, ancestors: vec![root()], metadata })
            }
            (Ask::Put { text, .. }, Some(_)) => {
                let data = self.data(id, text);
                Some(Action::Update { id, data, ancestors: vec![root()], metadata })
            }
        }
    }

    fn data(&self, id: Id, text: &str) -> Vec<u8> {
        let text = text.as_bytes();
        if self.storage.kind != Kind::Frozen {
            return text.to_vec();
        }
        // What is frozen begins with the digest of its value and ends with its id.
        [&Sha256::digest(text)[..], text, id.as_bytes()].concat()
    }

    fn write(&mut self, ask: &Ask, now: SimTime, effects: &mut Effects<()>) {
        // Nanoseconds, with the writer in the last three digits unless equal stamps are asked for.
        let (tick, writer) =
            self.storage.tick.map_or((1, u64::from(self.own.0)), |tick| (tick.as_micros(), 0));
        let clock = now.as_micros() / tick * tick;
        self.stamp = (self.stamp / 1_000 + 1).max(clock) * 1_000 + writer;
        let Some(action) = self.action(ask) else { return };
        let bytes = borsh::to_vec(&action).expect("an action can be written");
        let delta = self.spread.write(bytes);
        self.apply(action);
        self.send(&self.peers.clone(), ACTIONS, &vec![delta], effects);
    }

    fn apply(&mut self, action: Action) {
        let told = format!("{action:?}");
        let (applied, root) = on(&mut self.rows, self.own, || (apply(action), root_hash()));
        self.root = root;
        if let Err(error) = applied {
            self.refused.get_or_insert_with(|| format!("{error}: {told}"));
        }
    }

    fn take(&mut self, deltas: Vec<Delta>) {
        for delta in self.spread.take(deltas) {
            let action = decoded(&delta.action);
            if let Action::Add { metadata, .. } | Action::Update { metadata, .. } = &action {
                self.stamp = self.stamp.max(metadata.updated_at());
            }
            if let Action::DeleteRef { deleted_at, .. } = &action {
                self.stamp = self.stamp.max(*deleted_at);
            }
            self.apply(action);
        }
    }

    fn send(&self, to: &[NodeId], kind: u8, what: &impl borsh::BorshSerialize, effects: &mut Effects<()>) {
        let bytes = borsh::to_vec(&(kind, what)).expect("it can be written");
        // Nobody waits for a frame: what is lost is told again.
        for &to in to {
            let bytes = bytes.clone().into();
            effects.messages.push(Outgoing { to, bytes, kind, housekeeping: true });
        }
    }

    fn on_frame(&mut self, from: NodeId, mut bytes: &[u8], effects: &mut Effects<()>) -> Option<()> {
        match <u8 as BorshDeserialize>::deserialize(&mut bytes).ok()? {
            ACTIONS => self.take(borsh::from_slice(bytes).ok()?),
            HAVE => {
                let missing = self.spread.missing(&borsh::from_slice(bytes).ok()?);
                if !missing.is_empty() {
                    self.send(&[from], ACTIONS, &missing, effects);
                }
            }
            _ => return None,
        }
        Some(())
    }
}

fn decoded(action: &[u8]) -> Action {
    borsh::from_slice(action).expect("an action that a replica wrote")
}

impl Actor for Replica {
    type Op = Ask;
    type Notice = ();

    fn step(&mut self, input: Input<'_, Ask>, context: &mut Context<'_>, effects: &mut Effects<()>) {
        match input {
            Input::Peers { reachable, .. } => {
                self.peers = reachable.iter().copied().filter(|peer| *peer != self.own).collect();
            }
            Input::Start | Input::Timer(_) => {
                self.send(&self.peers.clone(), HAVE, &self.spread.have(), effects);
                let at = context.moment.now + GOSSIP;
                effects.timers.push(TimerChange::Set { id: 0, at, housekeeping: true });
            }
            Input::Op(ask) => self.write(ask, context.moment.now, effects),
            Input::Frame { from, bytes } => {
                if self.on_frame(from, bytes, effects).is_none() {
                    effects.refusal = Some(DropCause::Corrupt);
                }
            }
        }
    }

    fn crash(&mut self) {}

    fn restart(&mut self) {}

    /// The hash that its index has for the root, and which actions it has: replicas are done with each
    /// other only when they have the same.
    fn digest(&self) -> Digest {
        let have = borsh::to_vec(&self.spread.have()).expect("it can be written");
        Digest::of_parts(0, &[&self.root, &have])
    }

    fn unfinished(&self) -> Unfinished {
        Unfinished { sessions: 0, waiting: self.spread.waiting() }
    }
}
