//! Nodes that lie: the real replica behind a filter that alters the messages it sends and receives.

use super::{Net, Verdict};
use sync_sim::engine::{Actor, Context, Effects, Input, Unfinished, World};
use sync_sim::network::FaultConfig;
use sync_sim::node::{ContextNotice, SimNode, replica_id};
use sync_sim::prelude::*;
use sync_sim::runtime::Choices;
use sync_sim::workload::Write;
use syncline_replica::{FrameKind, Notice, ReplicaConfig};
use syncline_store::Bytes;
use syncline_sync::{Frame, Message, Outcome};
use syncline_types::ContextId;

const CONTEXT: ContextId = ContextId([0xca; 32]);

/// Alters a message of a node. Says whether it did.
pub(crate) type Twist = fn(&SimNode, &mut Message) -> bool;

/// The alterations of the messages that a node sends and receives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lies {
    pub(crate) said: Twist,
    pub(crate) heard: Twist,
    /// The number of outgoing messages to alter before the node becomes honest.
    pub(crate) left: u64,
}

impl Lies {
    pub(crate) const NONE: Self = Self { said: |_, _| false, heard: |_, _| false, left: 0 };

    /// Applies this lie to every message that it fits.
    pub(crate) const fn always(said: Twist) -> Self {
        Self { said, heard: |_, _| false, left: u64::MAX }
    }
}

/// A node with its lies.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) node: SimNode,
    lies: Lies,
    /// Frames sent, by kind.
    sent: [u64; FrameKind::ALL.len()],
}

impl Peer {
    pub(crate) const fn sent(&self, kind: FrameKind) -> u64 {
        self.sent[kind as usize]
    }
}

/// The frame with its message altered; `None` if no alteration applies.
fn twisted(twist: Twist, node: &SimNode, bytes: &Bytes) -> Option<Bytes> {
    let mut frame = Frame::from_wire(bytes, CONTEXT).ok()?;
    twist(node, &mut frame.message).then(|| frame.to_wire(CONTEXT).into())
}

impl Actor for Peer {
    type Op = Write;
    type Notice = ContextNotice;

    fn step(
        &mut self,
        input: Input<'_, Write>,
        context: &mut Context<'_>,
        effects: &mut Effects<ContextNotice>,
    ) {
        let heard;
        let input = match input {
            Input::Frame { from, bytes } if self.lies.left > 0 => {
                heard = twisted(self.lies.heard, &self.node, bytes);
                Input::Frame { from, bytes: heard.as_ref().unwrap_or(bytes) }
            }
            input => input,
        };
        self.node.step(input, context, effects);
        for message in &mut effects.messages {
            self.sent[usize::from(message.kind)] += 1;
            if self.lies.left > 0
                && let Some(bytes) = twisted(self.lies.said, &self.node, &message.bytes)
            {
                message.bytes = bytes;
                self.lies.left -= 1;
            }
        }
    }

    fn crash(&mut self) {
        self.node.crash();
    }

    fn restart(&mut self) {
        self.node.restart();
    }

    fn digest(&self) -> Digest {
        self.node.digest()
    }

    fn unfinished(&self) -> Unfinished {
        self.node.unfinished()
    }
}

/// A session that ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) node: NodeId,
    pub(crate) peer: NodeId,
    pub(crate) protocol: Option<SyncProtocolKind>,
    pub(crate) outcome: Outcome,
    /// Records and deltas transferred in either direction.
    pub(crate) moved: u64,
}

/// A world of nodes, some of which lie. The checkers of [`SimRuntime`] assume honest nodes, so the cases
/// check by themselves.
pub(crate) struct Arena {
    pub(crate) world: World<Peer>,
    pub(crate) ended: Vec<Ended>,
}

/// The configuration and the lies of one node.
pub(crate) type Part = (Lies, fn(&mut ReplicaConfig));

/// An honest node with default settings.
pub(crate) const HONEST: Part = (Lies::NONE, |_| {});

impl Arena {
    /// Adds the nodes of a scenario, each with its role.
    pub(crate) fn new(net: &Net, scenario: Scenario, parts: &[Part]) -> Self {
        let mut rt = SimRuntime::with_seed(net.seed);
        let nodes = rt.apply_scenario(scenario);
        assert_eq!(nodes.len(), parts.len(), "every node has a part");
        let mut world = World::new(Choices::seeded(net.seed), FaultConfig::clone(&net.faults));
        for (&node, (lies, configure)) in nodes.iter().zip(parts) {
            let mut config = ReplicaConfig::new(CONTEXT, replica_id(node));
            configure(&mut config);
            let node = SimNode::new(node, config, rt.node(node).disk().clone());
            world.add(Peer { node, lies: *lies, sent: Default::default() });
        }
        world.set_chaos_until(SimTime::from_secs(20));
        Self { world, ended: Vec::new() }
    }

    /// Runs up to a time and calls `look` after each event.
    pub(crate) fn run(&mut self, until: SimTime, mut look: impl FnMut(&World<Peer>) -> Verdict) -> Verdict {
        self.world.start_added();
        while self.world.next_time().is_some_and(|at| at < until) {
            let Some(stepped) = self.world.step() else { break };
            let Some(node) = stepped.node else { continue };
            for ContextNotice { notice, .. } in stepped.notices {
                if let Notice::SessionEnded { peer, outcome, protocol, stats, .. } = notice {
                    let moved = stats.records_received
                        + stats.records_pushed
                        + stats.deltas_received
                        + stats.deltas_pushed;
                    self.ended.push(Ended { node, peer: peer.into(), protocol, outcome, moved });
                }
            }
            look(&self.world)?;
        }
        ensure!(self.world.router().fates().is_balanced(), "F2: a frame has no fate");
        Ok(())
    }

    pub(crate) fn peer(&self, node: NodeId) -> &Peer {
        self.world.actor(node).expect("a node of the arena")
    }
}
