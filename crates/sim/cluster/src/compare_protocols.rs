//! Sync protocols side by side: each synchronizes the same two states over the same link.
//!
//! The link is a model without faults: a frame takes half a round trip, plus the time that its bytes need at the
//! link's bandwidth. Sessions, states and bytes are real.

use crate::disk_view::SoundStore;
use crate::scenarios::early_register;
use syncline_storage::{ApplyContext, Interface, StorageError};
use syncline_store::Store;
use syncline_sync::{
    Delta, DeltaLog, Dot, FailureReason, Frame, Message, SessionProgress, SetDifference, StoreHost,
    Transaction, costs,
};
pub use syncline_sync::{
    DriveError, Link, Outcome, ProtocolCost, Selection, SelectionReason, SessionStats, SyncProtocolKind,
};
use syncline_types::{ContextId, Digest, EntityId, Hlc, Moment, ReplicaId, SimTime};

/// The shape of the tree of entities.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// All entities are children of the root.
    Flat,
    /// Up to a thousand collections under the root, with at least ten entities each.
    Wide,
    /// Eight branches; every entity is five levels deep.
    Deep,
    /// Chains of a thousand entities; each entity is the child of the one before.
    Chain,
}

/// Where the entities that differ are placed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spread {
    /// Uniformly among the shared entities.
    Random,
    /// In one collection that holds nothing else.
    Clustered,
}

/// The parameters of a comparison: two states that differ, and the link between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comparison {
    /// The number of entities that both sides have.
    pub entities: u64,
    /// The number of entities that only one side has, half of them on each side.
    pub difference: u64,
    /// The shape of the tree of entities.
    pub shape: Shape,
    /// Where the entities that differ are placed.
    pub spread: Spread,
    /// The size of each value, in bytes.
    pub value_bytes: usize,
    /// Whether the delta log holds the entities that differ, one delta each.
    pub history: bool,
    /// The link between the two sides.
    pub link: Link,
}

/// What one session cost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Measurement {
    /// The protocol that ran.
    pub protocol: SyncProtocolKind,
    /// Why the protocol was selected.
    pub reason: SelectionReason,
    /// How the session ended.
    pub outcome: Outcome,
    /// The number of frames in both directions.
    pub messages: u64,
    /// The bytes that the initiator sent.
    pub bytes_out: u64,
    /// The bytes that the initiator received.
    pub bytes_in: u64,
    /// The bytes of whole records and deltas, in both directions. All other bytes are control data.
    pub payload_bytes: u64,
    /// The processor time of the initiator and of the responder, in units of the stopwatch.
    pub cpu: [u64; 2],
    /// The virtual time from the first frame to the end of the session, in microseconds.
    pub time_us: u64,
    /// The counters of the session.
    pub stats: SessionStats,
}

/// Two states that differ. Any protocol can synchronize them, any number of times: a session works on copies.
#[derive(Clone, Debug)]
pub struct StatePair {
    parameters: Comparison,
    shared: SoundStore,
    sides: [SoundStore; 2],
}

const CONTEXT: ContextId = ContextId([0xca; 32]);
/// The number of entities in one write batch; it bounds the memory of a transaction.
const STRIDE: usize = 50_000;

fn author(side: u64) -> ReplicaId {
    ReplicaId::from_u64(side + 1)
}

const fn moment() -> Moment {
    Moment::at(SimTime::from_secs(1_000))
}

fn malformed<E>(_: E) -> StorageError {
    StorageError::Index { what: "a state to compare" }
}

impl Comparison {
    /// The ancestors of the `n`-th entity, the topmost first.
    fn path(&self, n: u64, differs: bool) -> Vec<EntityId> {
        let child = |parent, name: String| EntityId::child_of(parent, name.as_bytes());
        if differs && self.spread == Spread::Clustered {
            return vec![child(EntityId::ROOT, "cluster".into())];
        }
        match self.shape {
            Shape::Flat => Vec::new(),
            Shape::Wide => {
                let collections = (self.entities / 10).clamp(1, 1_000);
                vec![child(EntityId::ROOT, format!("collection {}", n % collections))]
            }
            Shape::Deep => (0..4).fold(Vec::new(), |mut path, level| {
                let parent = path.last().copied().unwrap_or(EntityId::ROOT);
                path.push(child(parent, format!("branch {} at {level}", n % 8)));
                path
            }),
            Shape::Chain => {
                let link = |at: u64| child(EntityId::ROOT, format!("link {at}"));
                (n / 1_000 * 1_000..n).map(link).collect()
            }
        }
    }

    /// Builds the state that both sides share.
    fn shared(&self) -> Result<SoundStore, StorageError> {
        let mut store = SoundStore::default();
        for from in (0..self.entities).step_by(STRIDE) {
            let mut state = Interface::open(store.view())?;
            for n in from..self.entities.min(from + STRIDE as u64) {
                let path = self.path(n, false);
                let parent = path.last().copied().unwrap_or(EntityId::ROOT);
                let id = match self.shape {
                    // The chain is made of its entities.
                    Shape::Chain => EntityId::child_of(EntityId::ROOT, format!("link {n}").as_bytes()),
                    _ => EntityId::child_of(parent, format!("shared {n}").as_bytes()),
                };
                let action = early_register(id, path, author(9), value(n, self.value_bytes));
                state.apply_action(&action, &ApplyContext::new(moment())).map_err(malformed)?;
            }
            store.apply(state.finish()?).map_err(StorageError::from)?;
        }
        Ok(store)
    }

    /// Writes the entities that only one side has.
    fn write_difference(&self, side: u64, store: &mut SoundStore) -> Result<(), StorageError> {
        let count = if side == 0 { self.difference / 2 } else { self.difference.div_ceil(2) };
        let whose = if side == 0 { "left" } else { "right" };
        for from in (0..count).step_by(STRIDE) {
            let log = DeltaLog::load(&store.view(), DeltaLog::DEFAULT_RETENTION)?;
            let context = ApplyContext::new(moment());
            let mut work = Transaction::begin(store.view(), log, context)?;
            for n in from..count.min(from + STRIDE as u64) {
                // A stride that is prime to most sizes spreads the entities evenly over the shared tree.
                let path = self.path((n * 7_919).checked_rem(self.entities).unwrap_or(0), true);
                let parent = path.last().copied().unwrap_or(EntityId::ROOT);
                let id = EntityId::child_of(parent, format!("{whose} {n}").as_bytes());
                let action = early_register(id, path, author(side), value(n, self.value_bytes));
                if self.history {
                    let stamp = Hlc::new(2 + n, 0, author(side));
                    let dot = Dot { author: author(side), seq: n + 1 };
                    let delta = Delta::new(dot, work.log.heads(), stamp, vec![action]);
                    work.apply_delta(&delta).or_else(|error| Err(malformed(error.refusal()?)))?;
                } else {
                    work.state.apply_action(&action, &context).map_err(malformed)?;
                }
            }
            let (batch, ..) = work.finish()?;
            store.apply(batch).map_err(StorageError::from)?;
        }
        Ok(())
    }
}

impl StatePair {
    /// Builds both states. O(entities).
    pub fn new(parameters: Comparison) -> Result<Self, StorageError> {
        let shared = parameters.shared()?;
        Self::with_difference(shared, parameters)
    }

    fn with_difference(shared: SoundStore, parameters: Comparison) -> Result<Self, StorageError> {
        let mut sides = [shared.clone(), shared.clone()];
        for (side, store) in (0..).zip(&mut sides) {
            parameters.write_difference(side, store)?;
        }
        Ok(Self { parameters, shared, sides })
    }

    /// The same shared entities with another difference. O(difference), since the shared state is not built again.
    pub fn differing(&self, difference: u64, spread: Spread) -> Result<Self, StorageError> {
        Self::with_difference(
            self.shared.clone(),
            Comparison { difference, spread, ..self.parameters.clone() },
        )
    }

    /// The ids of the entities of each side. O(entities).
    pub fn ids(&self) -> Result<[Vec<EntityId>; 2], StorageError> {
        let mut sides = self.sides.clone().map(|_| Vec::new());
        for (store, ids) in self.sides.iter().zip(&mut sides) {
            Interface::open(store.view())?.each_entry(|_, entry| ids.push(entry.id))?;
        }
        Ok(sides)
    }

    /// The parameters of the two states and of the link.
    pub const fn parameters(&self) -> &Comparison {
        &self.parameters
    }

    /// The same states over another link.
    pub const fn over(mut self, link: Link) -> Self {
        self.parameters.link = link;
        self
    }

    fn host(&self, side: usize) -> Result<StoreHost<SoundStore>, DriveError> {
        let store = self.sides.get(side).cloned().unwrap_or_default();
        let mut host = StoreHost::open(store, CONTEXT, author(side as u64), moment())?;
        host.link = self.parameters.link;
        // A replica in operation maintains its sketch incrementally, so building it is no part of a session.
        host.warm_up()?;
        Ok(host)
    }

    /// Runs one session with the given protocol, or with the one that `selection` chooses. `stopwatch` returns
    /// the time in any unit; only [`Measurement::cpu`] depends on it.
    ///
    /// # Errors
    ///
    /// If a store fails or a session refuses a message.
    pub fn run(
        &self,
        protocol: Option<SyncProtocolKind>,
        selection: Selection,
        stopwatch: &mut dyn FnMut() -> u64,
    ) -> Result<Measurement, DriveError> {
        let [mut a, mut b] = [self.host(0)?, self.host(1)?];
        a.selection = selection;
        let mut traffic = LinkTraffic { link: self.parameters.link, ..LinkTraffic::default() };
        let mut begun = stopwatch();
        let mut ours = 0;
        let mut theirs = 0;
        // The time since the last lap. The laps around the link's bookkeeping are discarded.
        let mut lap = || {
            let now = stopwatch();
            now.saturating_sub(std::mem::replace(&mut begun, now))
        };
        let (mut session, mut request) = match protocol {
            Some(protocol) => a.start_with(protocol)?,
            None => a.start()?,
        };
        ours += lap();
        let outcome = loop {
            traffic.record(&request, true);
            lap();
            // Over this link nothing is lost, so a request without an answer is one that the responder ignores.
            let Some(answer) = b.answer(&request)? else {
                break Outcome::Failed(FailureReason::Timeout);
            };
            theirs += lap();
            traffic.record(&answer, false);
            lap();
            let progress = a.on_message(&mut session, &answer)?;
            ours += lap();
            match progress {
                SessionProgress::Send(id, next) => {
                    request = Message::Request { session: session.id(), id, request: next };
                }
                SessionProgress::Done(outcome) => break outcome,
                SessionProgress::Ignored => break Outcome::Failed(FailureReason::Timeout),
            }
        };
        // Equal roots end the session before any protocol is selected.
        let nothing = (SyncProtocolKind::None, SelectionReason::NoCommonProtocol);
        let (protocol, reason) = session.selected().unwrap_or(nothing);
        let LinkTraffic { messages, bytes_out, bytes_in, payload_bytes, time_us, .. } = traffic;
        Ok(Measurement {
            protocol,
            reason,
            outcome,
            messages,
            bytes_out,
            bytes_in,
            payload_bytes,
            cpu: [ours, theirs],
            time_us,
            stats: session.stats(),
        })
    }

    /// The processor time that each side needs to locate the difference, in units of the stopwatch: the
    /// initiator builds its introduction, the responder decodes it against its own sketch, and if that is not
    /// enough, the initiator decodes the cells of the answer. No record is transferred or joined.
    ///
    /// Measured twice: with the records out of the processor's caches, and then with the records in them. A
    /// run between two small states comes first, so that the code is in the caches both times.
    ///
    /// # Errors
    ///
    /// If a store fails or a side cannot decode what the other sent.
    pub fn locate(&self, stopwatch: &mut dyn FnMut() -> u64) -> Result<[LocatingCost; 2], DriveError> {
        const SMALL: u64 = 20_000;
        let hosts = |states: &Self| Ok::<_, DriveError>([states.host(0)?, states.host(1)?]);
        let cold = hosts(self)?;
        let warm = hosts(self)?;
        let small = Self::new(Comparison {
            entities: self.parameters.entities.min(SMALL),
            ..self.parameters.clone()
        })?;
        let mut measure = |hosts| LocatingCost::measure(hosts, stopwatch);
        measure(hosts(&small)?)?;
        Ok([measure(cold)?, measure(warm)?])
    }

    /// The size of the difference that adaptive selection estimates, and its estimate of each protocol's cost,
    /// cheapest first.
    ///
    /// # Errors
    ///
    /// If a store fails.
    pub fn estimated_costs(&self) -> Result<(u64, Vec<ProtocolCost>), DriveError> {
        let [mut a, mut b] = [self.host(0)?, self.host(1)?];
        let ours = a.introduce()?;
        let theirs = b.introduce()?;
        let difference = b.estimate(&ours)?;
        Ok((difference, costs(&ours, &theirs, difference)))
    }
}

/// The result of [`StatePair::locate`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocatingCost {
    /// The processor time of the initiator and of the responder, in units of the stopwatch.
    pub cpu: [u64; 2],
    /// The number of entities that the responder's cells revealed; `None` if the handshake revealed all.
    pub by_cells: Option<u64>,
}

impl LocatingCost {
    fn measure(
        [mut a, mut b]: [StoreHost<SoundStore>; 2],
        stopwatch: &mut dyn FnMut() -> u64,
    ) -> Result<Self, DriveError> {
        let begun = stopwatch();
        let ours = a.introduce()?;
        let introduced = stopwatch();
        let cells = b.cells_for(&ours)?;
        let answered = stopwatch();
        let found = cells.as_deref().map(|cells| a.differs(cells)).transpose()?;
        let decoded = stopwatch();
        let count = |found: SetDifference| (found.ours.len() + found.theirs.len()) as u64;
        let initiator = introduced.saturating_sub(begun) + decoded.saturating_sub(answered);
        Ok(Self {
            cpu: [initiator, answered.saturating_sub(introduced)],
            by_cells: found.map(|found| found.map_or(0, count)),
        })
    }
}

/// The account of the link.
#[derive(Default)]
struct LinkTraffic {
    link: Link,
    messages: u64,
    bytes_out: u64,
    bytes_in: u64,
    payload_bytes: u64,
    time_us: u64,
}

impl LinkTraffic {
    fn record(&mut self, message: &Message, out: bool) {
        let len = Frame { incarnation: 1, message: message.clone() }.to_wire(CONTEXT).len() as u64;
        self.messages += 1;
        self.payload_bytes += message.payload_bytes() as u64;
        *(if out { &mut self.bytes_out } else { &mut self.bytes_in }) += len;
        let Link { round_trip_us, bytes_per_second } = self.link;
        self.time_us += round_trip_us / 2 + len * 1_000_000 / bytes_per_second.max(1);
    }
}

/// A value of pseudorandom bytes, which do not compress.
fn value(n: u64, len: usize) -> Vec<u8> {
    let block = |at: usize| Digest::of_parts(98, &[&n.to_le_bytes(), &at.to_le_bytes()]).0;
    (0..len.div_ceil(32)).flat_map(block).take(len).collect()
}
