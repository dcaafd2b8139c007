//! Protocols side by side: the same two states made equal by each of them, over the same link.
//!
//! The link is a model without faults: a frame takes half a round trip and the time its bytes need. The
//! sessions, states and bytes are real.

use sync_sim_cluster::scenarios::early_register;
use syncline_storage::{ApplyContext, Interface, StorageError};
use syncline_store::{MemoryStore, Store};
use syncline_sync::{
    Delta, DeltaLog, Dot, FailureReason, Frame, Message, SessionProgress, SetDifference, StoreHost,
    Transaction, costs,
};
pub use syncline_sync::{
    DriveError, Link, Outcome, ProtocolCost, Selection, SelectionReason, SessionStats, SyncProtocolKind,
};
use syncline_types::{ContextId, Digest, EntityId, Hlc, Moment, ReplicaId, SimTime};

/// How entities hang together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// All directly under the root.
    Flat,
    /// In up to a thousand collections under the root, of ten entities at least.
    Wide,
    /// In eight branches, five deep.
    Deep,
    /// Each entity under the one before, a thousand to a chain.
    Chain,
}

/// Where entities that differ are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spread {
    /// Anywhere.
    Random,
    /// All in one collection of their own.
    Clustered,
}

/// Two states that differ, and the link between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// Entities that both have.
    pub entities: u64,
    /// Entities that only one has, half on each side.
    pub difference: u64,
    /// How entities hang together.
    pub shape: Shape,
    /// Where those that differ are.
    pub spread: Spread,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// Whether the differing entities are kept as deltas too, one each.
    pub history: bool,
    /// The link.
    pub link: Link,
}

/// What one protocol took for a [`Case`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Measured {
    /// The protocol that ran.
    pub protocol: SyncProtocolKind,
    /// Why it was chosen.
    pub reason: SelectionReason,
    /// How the session ended.
    pub outcome: Outcome,
    /// Frames, both ways.
    pub messages: u64,
    /// Bytes from the initiator.
    pub bytes_out: u64,
    /// Bytes to the initiator.
    pub bytes_in: u64,
    /// Of all bytes, those of whole records and deltas.
    pub payload_bytes: u64,
    /// What each side's processor took, in the units of the stopwatch.
    pub cpu: [u64; 2],
    /// Virtual time from the first frame to the end, in microseconds.
    pub time_us: u64,
    /// Figures of the session.
    pub stats: SessionStats,
}

/// Two states ready to be made equal by any protocol, any number of times.
#[derive(Clone, Debug)]
pub struct Ground {
    case: Case,
    shared: MemoryStore,
    sides: [MemoryStore; 2],
}

const CONTEXT: ContextId = ContextId([0xca; 32]);
/// Entities written in one batch.
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

impl Case {
    /// The path to the `n`-th place.
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

    /// What both have.
    fn shared(&self) -> Result<MemoryStore, StorageError> {
        let mut store = MemoryStore::default();
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

    /// What one side has and the other has not.
    fn write_difference(&self, side: u64, store: &mut MemoryStore) -> Result<(), StorageError> {
        let count = if side == 0 { self.difference / 2 } else { self.difference.div_ceil(2) };
        let whose = if side == 0 { "left" } else { "right" };
        for from in (0..count).step_by(STRIDE) {
            let log = DeltaLog::load(store, DeltaLog::DEFAULT_RETENTION)?;
            let context = ApplyContext::new(moment());
            let mut work = Transaction::begin(store.view(), log, context)?;
            for n in from..count.min(from + STRIDE as u64) {
                // Anywhere among what is shared.
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

impl Ground {
    /// Builds both states. O(n).
    pub fn new(case: Case) -> Result<Self, StorageError> {
        let shared = case.shared()?;
        Self::upon(shared, case)
    }

    fn upon(shared: MemoryStore, case: Case) -> Result<Self, StorageError> {
        let mut sides = [shared.clone(), shared.clone()];
        for (side, store) in (0..).zip(&mut sides) {
            case.write_difference(side, store)?;
        }
        Ok(Self { case, shared, sides })
    }

    /// The same shared entities with another difference. O(difference).
    pub fn differing(&self, difference: u64, spread: Spread) -> Result<Self, StorageError> {
        Self::upon(self.shared.clone(), Case { difference, spread, ..self.case.clone() })
    }

    /// The ids of the entities that each side has.
    pub fn ids(&self) -> Result<[Vec<EntityId>; 2], StorageError> {
        let mut sides = self.sides.clone().map(|_| Vec::new());
        for (store, ids) in self.sides.iter().zip(&mut sides) {
            Interface::open(store.view())?.each_entry(|_, entry| ids.push(entry.id))?;
        }
        Ok(sides)
    }

    /// What was built.
    pub const fn case(&self) -> &Case {
        &self.case
    }

    /// The same states over another link.
    pub const fn over(mut self, link: Link) -> Self {
        self.case.link = link;
        self
    }

    fn host(&self, side: usize) -> Result<StoreHost<MemoryStore>, DriveError> {
        let store = self.sides.get(side).cloned().unwrap_or_default();
        let mut host = StoreHost::open(store, CONTEXT, author(side as u64), moment())?;
        host.link = self.case.link;
        // A replica that has been up for a while has its sketch: making it is not the session's work.
        host.warm_up()?;
        Ok(host)
    }

    /// Runs one session: with this protocol, or with the one that `selection` chooses. `stopwatch` tells
    /// the time in any unit, for [`Measured::cpu`] and nothing else.
    pub fn run(
        &self,
        protocol: Option<SyncProtocolKind>,
        selection: Selection,
        mut stopwatch: impl FnMut() -> u64,
    ) -> Result<Measured, DriveError> {
        let [mut a, mut b] = [self.host(0)?, self.host(1)?];
        a.selection = selection;
        let mut crossed = Crossed { link: self.case.link, ..Crossed::default() };
        let (mut begun, mut ours, mut theirs) = (stopwatch(), 0, 0);
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
            crossed.take(&request, true);
            lap();
            let Some(answer) = b.answer(&request)? else {
                break Outcome::Failed(FailureReason::Timeout);
            };
            theirs += lap();
            crossed.take(&answer, false);
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
        let nothing = (SyncProtocolKind::None, SelectionReason::NoCommonProtocol);
        let (protocol, reason) = session.selected().unwrap_or(nothing);
        let Crossed { messages, bytes_out, bytes_in, payload_bytes, time_us, .. } = crossed;
        let (cpu, stats) = ([ours, theirs], session.stats());
        Ok(Measured {
            protocol,
            reason,
            outcome,
            messages,
            bytes_out,
            bytes_in,
            payload_bytes,
            cpu,
            time_us,
            stats,
        })
    }

    /// What locating the difference takes on each side's processor, in the units of the stopwatch: what the
    /// initiator says of itself, what the responder reads from that beside its own sketch, and, where that
    /// does not tell, what the initiator reads from the cells that it answers with. Nothing is moved or
    /// joined. First with the code of it in the caches but not the records, as much having been located between
    /// two small states just before, and then once more, with the records in them too.
    pub fn locate(&self, mut stopwatch: impl FnMut() -> u64) -> Result<[Located; 2], DriveError> {
        const SMALL: u64 = 20_000;
        let hosts = |ground: &Self| Ok::<_, DriveError>([ground.host(0)?, ground.host(1)?]);
        let (cold, warm) = (hosts(self)?, hosts(self)?);
        let small = Self::new(Case { entities: self.case.entities.min(SMALL), ..self.case.clone() })?;
        let mut between = |hosts| Located::between(hosts, &mut stopwatch);
        between(hosts(&small)?)?;
        Ok([between(cold)?, between(warm)?])
    }

    /// What adaptive selection reckons that each protocol would cost, cheapest first, and the difference
    /// that it reckons with.
    pub fn reckoned(&self) -> Result<(u64, Vec<ProtocolCost>), DriveError> {
        let [mut a, mut b] = [self.host(0)?, self.host(1)?];
        let (ours, theirs) = (a.introduce()?, b.introduce()?);
        let difference = b.estimate(&ours)?;
        Ok((difference, costs(&ours, &theirs, difference)))
    }
}

/// What [`Ground::locate`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Located {
    /// The work of the initiator and of the responder, in the units of the stopwatch.
    pub cpu: [u64; 2],
    /// How many entities the responder's cells told, where the handshake's did not tell all.
    pub by_cells: Option<u64>,
}

impl Located {
    fn between(
        [mut a, mut b]: [StoreHost<MemoryStore>; 2],
        stopwatch: &mut impl FnMut() -> u64,
    ) -> Result<Self, DriveError> {
        let begun = stopwatch();
        let ours = a.introduce()?;
        let said = stopwatch();
        let cells = b.cells_for(&ours)?;
        let answered = stopwatch();
        let found = cells.as_deref().map(|cells| a.differs(cells)).transpose()?;
        let read = stopwatch();
        let count = |found: SetDifference| (found.ours.len() + found.theirs.len()) as u64;
        let initiator = said.saturating_sub(begun) + read.saturating_sub(answered);
        Ok(Self {
            cpu: [initiator, answered.saturating_sub(said)],
            by_cells: found.map(|found| found.map_or(0, count)),
        })
    }
}

/// What went over the link.
#[derive(Default)]
struct Crossed {
    link: Link,
    messages: u64,
    bytes_out: u64,
    bytes_in: u64,
    payload_bytes: u64,
    time_us: u64,
}

impl Crossed {
    fn take(&mut self, message: &Message, out: bool) {
        let len = Frame { incarnation: 1, message: message.clone() }.to_wire(CONTEXT).len() as u64;
        self.messages += 1;
        self.payload_bytes += message.payload_bytes() as u64;
        *(if out { &mut self.bytes_out } else { &mut self.bytes_in }) += len;
        let Link { round_trip_us, bytes_per_second } = self.link;
        self.time_us += round_trip_us / 2 + len * 1_000_000 / bytes_per_second.max(1);
    }
}

/// Bytes that do not compress.
fn value(n: u64, len: usize) -> Vec<u8> {
    let block = |at: usize| Digest::of_parts(98, &[&n.to_le_bytes(), &at.to_le_bytes()]).0;
    (0..len.div_ceil(32)).flat_map(block).take(len).collect()
}
