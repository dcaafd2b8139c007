//! Two replicas with an instant network between them, driven by hand.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use syncline_replica::{Event, FrameKind, Replica, ReplicaConfig, SyncActions, Timer, TimerOp};
use syncline_store::{Bytes, Store};
use syncline_sync::Membership;
use syncline_types::{Choice, ContextId, Entropy, Moment, PeerId, ReplicaId, SimDuration, SimTime};

const CONTEXT: ContextId = ContextId([6; 32]);

struct Lowest;

impl Entropy for Lowest {
    fn below(&mut self, _: Choice, _: u64) -> u64 {
        0
    }
}

/// Sees each step: what kind of event it was, what it did, and the processor time that it took.
pub(crate) trait StepObserver {
    /// The step begins.
    fn begin(&mut self) {}
    /// The step has ended, and its batch is not applied yet.
    fn end(&mut self, what: &str, actions: &SyncActions, cpu: Duration);
}

impl StepObserver for () {
    fn end(&mut self, _: &str, _: &SyncActions, _: Duration) {}
}

pub(crate) struct Side<S: Store> {
    pub(crate) replica: Replica<S::View>,
    pub(crate) store: S,
    timers: BTreeMap<Timer, SimTime>,
}

pub(crate) struct Pair<S: Store> {
    pub(crate) sides: Vec<Side<S>>,
    now: SimTime,
    in_flight: VecDeque<(usize, FrameKind, Bytes)>,
}

/// The processor time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl<S: Store> Pair<S> {
    /// Two members, with the settings that `configure` changes, linked and started at `now`.
    pub(crate) fn start(
        stores: [S; 2],
        now: SimTime,
        configure: impl Fn(&mut ReplicaConfig),
        observer: &mut impl StepObserver,
    ) -> Self {
        let side = |(number, mut store): (u64, S)| {
            let mut config = ReplicaConfig::new(CONTEXT, ReplicaId::from_u64(number));
            config.membership = Membership::named([1, 2].map(ReplicaId::from_u64));
            configure(&mut config);
            let (replica, actions) = Replica::recover(config, &store.view()).expect("a sound store");
            store.apply(actions.storage).expect("a commit");
            Side { replica, store, timers: BTreeMap::new() }
        };
        let mut pair = Self { sides: (1..).zip(stores).map(side).collect(), now, in_flight: VecDeque::new() };
        for at in [0, 1] {
            pair.step(at, "peers change", Event::Peers([PeerId(1 - at as u32)].into()), observer);
            pair.step(at, "start", Event::Start, observer);
        }
        pair
    }

    /// Has a side take a step.
    pub(crate) fn step(&mut self, at: usize, what: &str, event: Event, observer: &mut impl StepObserver) {
        let side = &mut self.sides[at];
        observer.begin();
        let began = thread_time();
        let stepped = side.replica.step(side.store.view(), event, Moment::at(self.now), &mut Lowest);
        let actions = stepped.expect("a sound store");
        observer.end(what, &actions, thread_time() - began);
        let SyncActions { storage, messages, timers, .. } = actions;
        side.store.apply(storage).expect("a commit");
        for change in timers {
            match change {
                TimerOp::Set { timer, at } => drop(side.timers.insert(timer, at)),
                TimerOp::Cancel { timer } => drop(side.timers.remove(&timer)),
            }
        }
        self.in_flight.extend(messages.into_iter().map(|message| (1 - at, message.kind, message.bytes)));
    }

    /// Delivers all frames and fires all timers of so much time.
    pub(crate) fn run_for(&mut self, span: SimDuration, observer: &mut impl StepObserver) {
        self.run_until(self.now + span, observer);
    }

    /// Delivers all frames, and fires the timers up to a time.
    pub(crate) fn run_until(&mut self, until: SimTime, observer: &mut impl StepObserver) {
        loop {
            while let Some((to, kind, bytes)) = self.in_flight.pop_front() {
                let from = PeerId(1 - to as u32);
                self.step(to, &format!("frame: {kind:?}"), Event::Frame { from, bytes }, observer);
            }
            let next =
                |at: usize| self.sides[at].timers.iter().map(move |(timer, due)| (*due, at, *timer)).min();
            let due = next(0).into_iter().chain(next(1)).min().filter(|(due, ..)| *due <= until);
            let Some((due, at, timer)) = due else { break };
            self.sides[at].timers.remove(&timer);
            self.now = due.max(self.now);
            let what = match timer {
                Timer::Session(_) => "timer: Session".to_owned(),
                timer => format!("timer: {timer:?}"),
            };
            self.step(at, &what, Event::Timer(timer), observer);
        }
        self.now = until.max(self.now);
    }

    /// Whether both have the same state.
    pub(crate) fn agrees(&self) -> bool {
        self.sides[0].replica.digest() == self.sides[1].replica.digest()
    }
}
