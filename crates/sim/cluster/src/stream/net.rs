//! The network under streams, its clock, and the executor of the tasks that wait on it.

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

/// A frame that a stream sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SentFrame {
    /// The time of sending.
    pub at: SimTime,
    /// The end that sent it.
    pub from: NodeId,
    /// The end that receives it.
    pub to: NodeId,
    /// The frame as sent, encrypted if the stream is.
    pub bytes: Bytes,
}

#[derive(Debug)]
enum NetEvent {
    Arrive { from: NodeId, to: NodeId, ticket: Option<StreamPosition>, bytes: Bytes },
    Close { to: NodeId },
    Wake,
}

#[derive(Debug, Default)]
pub(super) struct StreamInbox {
    pub frames: VecDeque<Bytes>,
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct NetState {
    pub(super) clock: SimClock,
    queue: EventQueue<NetEvent>,
    choices: Choices,
    router: NetworkRouter,
    pub(super) inboxes: Vec<StreamInbox>,
    sent: Vec<SentFrame>,
}

impl NetState {
    /// Hands a frame to the router, which decides its fate.
    pub(super) fn send(&mut self, from: NodeId, to: NodeId, bytes: Bytes) {
        let now = self.clock.now();
        self.sent.push(SentFrame { at: now, from, to, bytes: bytes.clone() });
        // Frames of a stream may be encrypted, so the network cannot know their kind.
        let frame = Envelope { from, to, kind: 0, bytes: bytes.len() };
        let arrivals = self.router.route(now, frame, &mut self.choices);
        let ticket = arrivals.position;
        arrivals.deliver_copies(bytes, |copy, bytes| {
            self.queue.schedule(copy.at, NetEvent::Arrive { from, to, ticket, bytes });
        });
    }

    /// Closes the stream for the other end. The notice is never lost.
    pub(super) fn close(&mut self, to: NodeId) {
        let now = self.clock.now();
        self.queue.schedule(now, NetEvent::Close { to });
    }

    /// Makes the executor poll all tasks again at `at`.
    pub(super) fn wake_at(&mut self, at: SimTime) {
        self.queue.schedule(at, NetEvent::Wake);
    }

    /// Counts a delivered frame that its stream refused as dropped.
    pub(super) fn refuse(&mut self, cause: sync_sim_engine::network::DropCause) {
        self.router.revoke_delivery(cause);
    }

    /// Processes the next event. Returns whether there was one.
    fn advance(&mut self) -> bool {
        let Some((at, event)) = self.queue.pop() else { return false };
        assert!(at >= self.clock.now(), "virtual time never runs backwards");
        self.clock.advance_to(at);
        match event {
            NetEvent::Arrive { from, to, ticket, bytes } => {
                let turn = ticket.map_or(DeliveryDecision::Deliver, |ticket| {
                    self.router.decide_delivery(at, from, to, ticket)
                });
                // An ordered stream delivers in turn: a frame that overtook another waits for it.
                if let DeliveryDecision::WaitUntil(later) | DeliveryDecision::StallUntil(later) = turn {
                    self.queue.schedule(later, NetEvent::Arrive { from, to, ticket, bytes });
                } else if turn == DeliveryDecision::Deliver
                    && self.router.arrive(at, from, to, true)
                    && let Some(inbox) = self.inboxes.get_mut(to.index())
                {
                    self.router.count_delivered();
                    inbox.frames.push_back(bytes);
                }
            }
            NetEvent::Close { to } => {
                if let Some(inbox) = self.inboxes.get_mut(to.index()) {
                    inbox.closed = true;
                }
            }
            NetEvent::Wake => {}
        }
        true
    }
}

/// A network for streams: the router, faults and fates of whole runs, under an executor that advances virtual time
/// whenever all tasks wait.
#[derive(Clone, Debug)]
pub struct SimNet(pub(super) Rc<RefCell<NetState>>);

impl SimNet {
    /// A network with these faults and a seed for all random choices.
    ///
    /// # Errors
    ///
    /// The first setting that is not consistent.
    pub fn new(seed: u64, faults: FaultConfig) -> Result<Self, ConfigError> {
        faults.validate()?;
        Ok(Self(Rc::new(RefCell::new(NetState {
            clock: SimClock::default(),
            queue: EventQueue::default(),
            choices: Choices::seeded(seed),
            router: NetworkRouter::new(faults),
            inboxes: Vec::new(),
            sent: Vec::new(),
        }))))
    }

    /// Adds one end of a stream.
    pub(super) fn add_end(&self) -> NodeId {
        let state = &mut *self.0.borrow_mut();
        let node = NodeId(state.inboxes.len() as u32);
        state.inboxes.push(StreamInbox::default());
        state.router.add_node(node, &mut state.choices);
        node
    }

    /// The present virtual time.
    pub fn now(&self) -> SimTime {
        self.0.borrow().clock.now()
    }

    /// Every frame sent so far, in order.
    pub fn sent(&self) -> Vec<SentFrame> {
        self.0.borrow().sent.clone()
    }

    /// The fates of the frames sent so far.
    pub fn fates(&self) -> sync_sim_engine::network::Fates {
        self.0.borrow().router.fates().clone()
    }

    /// Runs tasks until all are done, in virtual time: whenever all of them wait, time advances to the next
    /// event. Returns whether all are done; if not, the rest wait for an event that never comes.
    pub fn run(&self, tasks: Vec<Pin<Box<dyn Future<Output = ()> + '_>>>) -> bool {
        let mut tasks: Vec<_> = tasks.into_iter().map(Some).collect();
        let mut context = Context::from_waker(Waker::noop());
        loop {
            // Every task is polled after every event: wakers are not needed, since the tasks are few.
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
