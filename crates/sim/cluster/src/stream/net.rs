//! The network under streams, its clock, and the executor that runs what waits on it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use sync_sim_engine::clock::SimClock;
use sync_sim_engine::event_queue::EventQueue;
use sync_sim_engine::faults::{ConfigError, FaultConfig};
use sync_sim_engine::network::{DeliveryDecision, Envelope, NetworkRouter, StreamPosition};
use sync_sim_engine::node_id::NodeId;
use sync_sim_engine::random::Choices;
use syncline_store::Bytes;
use syncline_types::SimTime;

/// A frame that was handed to the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SentFrame {
    /// When.
    pub at: SimTime,
    /// By whom.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// Its bytes.
    pub bytes: Bytes,
}

#[derive(Debug)]
enum Event {
    Arrive { from: NodeId, to: NodeId, ticket: Option<StreamPosition>, bytes: Bytes },
    Close { to: NodeId },
    Wake,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub frames: VecDeque<Bytes>,
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) clock: SimClock,
    queue: EventQueue<Event>,
    choices: Choices,
    router: NetworkRouter,
    pub(super) inboxes: Vec<Inbox>,
    sent: Vec<SentFrame>,
}

impl State {
    /// Hands a frame to the router, which decides its fate.
    pub(super) fn send(&mut self, from: NodeId, to: NodeId, bytes: Bytes) {
        let now = self.clock.now();
        self.sent.push(SentFrame { at: now, from, to, bytes: bytes.clone() });
        // What a stream carries is sealed: the network cannot tell its kind.
        let frame = Envelope { from, to, kind: 0, bytes: bytes.len() };
        let arrivals = self.router.route(now, frame, &mut self.choices);
        let ticket = arrivals.position;
        arrivals.deliver_copies(bytes, |copy, bytes| {
            self.queue.schedule(copy.at, Event::Arrive { from, to, ticket, bytes });
        });
    }

    /// Tells the other end, without fail, that nothing follows.
    pub(super) fn close(&mut self, to: NodeId) {
        let now = self.clock.now();
        self.queue.schedule(now, Event::Close { to });
    }

    /// Makes sure that whoever waits is asked again at `at`.
    pub(super) fn wake_at(&mut self, at: SimTime) {
        self.queue.schedule(at, Event::Wake);
    }

    /// A frame that arrived was of no use to its stream.
    pub(super) fn refuse(&mut self, cause: sync_sim_engine::network::DropCause) {
        self.router.revoke_delivery(cause);
    }

    fn advance(&mut self) -> bool {
        let Some((at, event)) = self.queue.pop() else { return false };
        self.clock.advance_to(at);
        match event {
            Event::Arrive { from, to, ticket, bytes } => {
                let turn = ticket.map_or(DeliveryDecision::Deliver, |ticket| {
                    self.router.decide_delivery(at, from, to, ticket)
                });
                if let DeliveryDecision::WaitUntil(later) | DeliveryDecision::StallUntil(later) = turn {
                    self.queue.schedule(later, Event::Arrive { from, to, ticket, bytes });
                } else if turn == DeliveryDecision::Deliver
                    && self.router.arrive(at, from, to, true)
                    && let Some(inbox) = self.inboxes.get_mut(to.index())
                {
                    self.router.count_delivered();
                    inbox.frames.push_back(bytes);
                }
            }
            Event::Close { to } => {
                if let Some(inbox) = self.inboxes.get_mut(to.index()) {
                    inbox.closed = true;
                }
            }
            Event::Wake => {}
        }
        true
    }
}

/// A network for streams: the same router, faults and fates as in whole runs, under an executor
/// that moves virtual time whenever everybody waits.
#[derive(Clone, Debug)]
pub struct SimNet(pub(super) Rc<RefCell<State>>);

impl SimNet {
    /// A network with these faults, in which the seed decides what is left to chance.
    pub fn new(seed: u64, faults: FaultConfig) -> Result<Self, ConfigError> {
        faults.validate()?;
        Ok(Self(Rc::new(RefCell::new(State {
            clock: SimClock::default(),
            queue: EventQueue::default(),
            choices: Choices::seeded(seed),
            router: NetworkRouter::new(faults),
            inboxes: Vec::new(),
            sent: Vec::new(),
        }))))
    }

    /// Adds an end of a stream.
    pub(super) fn add_end(&self) -> NodeId {
        let state = &mut *self.0.borrow_mut();
        let node = NodeId(state.inboxes.len() as u32);
        state.inboxes.push(Inbox::default());
        state.router.add_node(node, &mut state.choices);
        node
    }

    /// The time.
    pub fn now(&self) -> SimTime {
        self.0.borrow().clock.now()
    }

    /// Every frame handed to the network so far.
    pub fn sent(&self) -> Vec<SentFrame> {
        self.0.borrow().sent.clone()
    }

    /// What became of them.
    pub fn fates(&self) -> sync_sim_engine::network::Fates {
        self.0.borrow().router.fates().clone()
    }

    /// Runs tasks until all are done, in virtual time: whenever every one of them waits, time goes on
    /// to the next event. Says whether all were done; if not, they wait for something that never
    /// comes.
    pub fn run(&self, tasks: Vec<Pin<Box<dyn Future<Output = ()> + '_>>>) -> bool {
        let mut tasks: Vec<_> = tasks.into_iter().map(Some).collect();
        let mut context = Context::from_waker(Waker::noop());
        loop {
            for place in &mut tasks {
                if let Some(task) = place
                    && task.as_mut().poll(&mut context) == Poll::Ready(())
                {
                    *place = None;
                }
            }
            if tasks.iter().all(Option::is_none) {
                return true;
            }
            if !self.0.borrow_mut().advance() {
                return false;
            }
        }
    }
}
