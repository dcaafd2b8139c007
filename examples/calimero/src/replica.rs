//! One replica: the published storage over rows in memory, with gossip.

use crate::action_gossip::{ActionGossip, GossipedAction};
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
/// The interval at which a replica announces which actions it has.
const GOSSIP: SimDuration = SimDuration::from_millis(200);
const ACTIONS: u8 = 0;
const HAVE: u8 = 1;

/// An operation of the application.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Write an entity.
    Put {
        /// The number of the entity.
        entity: u64,
        /// The new text.
        text: String,
    },
    /// Delete an entity, if it exists.
    Delete {
        /// The number of the entity.
        entity: u64,
    },
}

/// An action that some replica applied, in terms of the specification.
pub struct Written {
    /// The number of the entity.
    pub entity: u64,
    /// The timestamp, in nanoseconds.
    pub stamp: u64,
    /// The data after the action; `None` after a deletion.
    pub data: Option<Vec<u8>>,
}

type Rows = BTreeMap<[u8; 32], Vec<u8>>;

/// One replica. All of its state is durable.
#[derive(Clone, Debug)]
pub struct Replica {
    own: NodeId,
    storage: Storage,
    peers: Vec<NodeId>,
    rows: Rows,
    gossip: ActionGossip,
    /// The newest timestamp that was assigned or received, in nanoseconds.
    stamp: u64,
    /// The first error of applying an action, with the action.
    refused: Option<String>,
    root: [u8; 32],
}

fn id_of(entity: u64) -> Id {
    let mut id = [1; 32];
    id[..8].copy_from_slice(&entity.to_be_bytes());
    Id::new(id)
}

/// The number of the entity with this id.
fn entity_of(id: Id) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *id.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn root() -> ChildInfo {
    ChildInfo::new(Id::new(CONTEXT), [0; 32], Metadata::new(1, 1))
}

/// Runs a function with access to the rows, as the host of a node does.
fn with_rows<R>(rows: &mut Rows, own: NodeId, run: impl FnOnce() -> R) -> R {
    let shared = Rc::new(RefCell::new(std::mem::take(rows)));
    let read = shared.clone();
    let write = shared.clone();
    let remove = shared.clone();
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
    // The storage collects a delta for its own network layer. Here the replica sends actions itself.
    clear_pending_delta();
    *rows = shared.take();
    result
}

fn apply(action: Action) -> Result<(), StorageError> {
    Interface::<MainStorage>::apply_action(action, &ApplyContext::empty())
}

fn root_hash() -> [u8; 32] {
    let hashes = Index::<MainStorage>::get_hashes_for(Id::new(CONTEXT)).expect("rows that the storage wrote");
    hashes.map_or([0; 32], |(full, _)| full)
}

impl Replica {
    /// A replica that has nothing but a root.
    pub fn new(own: NodeId, storage: Storage) -> Self {
        let mut rows = Rows::new();
        let root = with_rows(&mut rows, own, || {
            Index::<MainStorage>::add_root(root()).expect("the first entity");
            root_hash()
        });
        let gossip = ActionGossip::new(own, storage.causal);
        Self { own, storage, peers: Vec::new(), rows, gossip, stamp: 0, refused: None, root }
    }

    /// The entries in the index, read as an application reads them.
    pub fn entries(&self) -> BTreeMap<u64, Vec<u8>> {
        with_rows(&mut self.rows.clone(), self.own, || {
            let children = Index::<MainStorage>::get_children_of(Id::new(CONTEXT)).unwrap_or_default();
            let read = |child: &ChildInfo| {
                let data = Interface::<MainStorage>::find_by_id_raw(child.id())?;
                Some((entity_of(child.id()), data))
            };
            children.iter().filter_map(read).collect()
        })
    }

    /// All actions that the replica has, its own and those of others.
    pub fn written(&self) -> Vec<Written> {
        let written = |delta: &GossipedAction| match decoded(&delta.action) {
            Action::Add { id, data, metadata, .. } | Action::Update { id, data, metadata, .. } => {
                Some(Written { entity: entity_of(id), stamp: metadata.updated_at(), data: Some(data) })
            }
            Action::DeleteRef { id, deleted_at, .. } => {
                Some(Written { entity: entity_of(id), stamp: deleted_at, data: None })
            }
            Action::Compare { .. } => None,
        };
        self.gossip.all().filter_map(written).collect()
    }

    /// The first error of applying an action, with the action.
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

    /// The action for an operation; `None` if the operation changes nothing.
    fn action(&mut self, ask: &Ask) -> Option<Action> {
        let (Ask::Put { entity, .. } | Ask::Delete { entity }) = *ask;
        let id = id_of(entity);
        let known = with_rows(&mut self.rows, self.own, || {
            let index = Index::<MainStorage>::get_index(id).ok().flatten();
            index.filter(|_| Interface::<MainStorage>::find_by_id_raw(id).is_some())
        });
        let created_at = known.as_ref().map_or(self.stamp, |index| index.metadata.created_at);
        let metadata = self.metadata(created_at);
        match (ask, known) {
            (Ask::Delete { .. }, None) => None,
            (Ask::Delete { .. }, Some(_)) => Some(Action::DeleteRef { id, deleted_at: self.stamp, metadata }),
            // A frozen entity is written once.
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
        // The data of a frozen entity begins with the digest of its value and ends with its id.
        [&Sha256::digest(text)[..], text, id.as_bytes()].concat()
    }

    fn write(&mut self, ask: &Ask, now: SimTime, effects: &mut Effects<()>) {
        // Nanoseconds. The last three digits hold the writer, unless the experiment wants equal timestamps.
        let (tick, writer) =
            self.storage.tick.map_or((1, u64::from(self.own.0)), |tick| (tick.as_micros(), 0));
        let clock = now.as_micros() / tick * tick;
        self.stamp = (self.stamp / 1_000 + 1).max(clock) * 1_000 + writer;
        let Some(action) = self.action(ask) else { return };
        let bytes = borsh::to_vec(&action).expect("serialization into memory succeeds");
        let delta = self.gossip.write(bytes);
        self.apply(action);
        self.send(&self.peers.clone(), ACTIONS, &vec![delta], effects);
    }

    fn apply(&mut self, action: Action) {
        let description = format!("{action:?}");
        let (applied, root) = with_rows(&mut self.rows, self.own, || (apply(action), root_hash()));
        self.root = root;
        if let Err(error) = applied {
            self.refused.get_or_insert_with(|| format!("{error}: {description}"));
        }
    }

    fn take(&mut self, deltas: Vec<GossipedAction>) {
        for delta in self.gossip.take(deltas) {
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
        let bytes = borsh::to_vec(&(kind, what)).expect("serialization into memory succeeds");
        // Frames are housekeeping: gossip retransmits what is lost.
        for &to in to {
            let bytes = bytes.clone().into();
            effects.messages.push(Outgoing { to, bytes, kind, housekeeping: true });
        }
    }

    fn on_frame(&mut self, from: NodeId, mut bytes: &[u8], effects: &mut Effects<()>) -> Option<()> {
        match <u8 as BorshDeserialize>::deserialize(&mut bytes).ok()? {
            ACTIONS => self.take(borsh::from_slice(bytes).ok()?),
            HAVE => {
                let missing = self.gossip.missing(&borsh::from_slice(bytes).ok()?);
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
                self.send(&self.peers.clone(), HAVE, &self.gossip.have(), effects);
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

    /// The root hash of the index, and the set of actions: replicas have converged only if both are equal.
    fn digest(&self) -> Digest {
        let have = borsh::to_vec(&self.gossip.have()).expect("serialization into memory succeeds");
        Digest::of_parts(0, &[&self.root, &have])
    }

    fn unfinished(&self) -> Unfinished {
        Unfinished { sessions: 0, waiting: self.gossip.waiting() }
    }
}
