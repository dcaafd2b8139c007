//! Properties of single links, as tests script them.

use crate::runtime::sim_runtime::SimRuntime;
use std::ops::{Deref, DerefMut};
use sync_sim_engine::event::{LinkChange, SimEvent};
use sync_sim_engine::network::LinkProperties;
use sync_sim_engine::node_id::{NodeId, NodeRef};
use syncline_types::SimTime;

impl SimRuntime {
    /// Sets the properties of the link from one node to another from now on. The opposite direction stays
    /// as it is.
    pub fn set_link(&mut self, from: impl NodeRef, to: impl NodeRef, properties: LinkProperties) {
        let from = self.resolve(from);
        let to = self.resolve(to);
        self.world.set_link(from, to, Some(properties));
    }

    /// Leaves the properties of the link from one node to another to random faults again.
    pub fn clear_link(&mut self, from: impl NodeRef, to: impl NodeRef) {
        let from = self.resolve(from);
        let to = self.resolve(to);
        self.world.set_link(from, to, None);
    }

    /// As [`SimRuntime::set_link`] at a time; `None` leaves the link to random faults again.
    pub fn set_link_at(
        &mut self,
        at: SimTime,
        from: impl NodeRef,
        to: impl NodeRef,
        properties: Option<LinkProperties>,
    ) {
        let change = LinkChange::Becomes(properties.map(Box::new));
        self.change_link_at(at, from, to, change);
    }

    /// Breaks the connection between two nodes and loses the frames in flight on it, in both directions.
    /// Returns whether there was a connection; without ordered streams there is none.
    pub fn break_connection(&mut self, a: impl NodeRef, b: impl NodeRef) -> bool {
        let a = self.resolve(a);
        let b = self.resolve(b);
        self.world.break_connection(a, b)
    }

    /// As [`SimRuntime::break_connection`] at a time.
    pub fn break_connection_at(&mut self, at: SimTime, a: impl NodeRef, b: impl NodeRef) {
        self.change_link_at(at, a, b, LinkChange::Breaks);
    }

    fn change_link_at(&mut self, at: SimTime, from: impl NodeRef, to: impl NodeRef, change: LinkChange) {
        let from = self.resolve(from);
        let to = self.resolve(to);
        self.world.schedule(at, SimEvent::LinkChanged { from, to, change });
    }

    /// The run with one direction of a link changed for the lifetime of the guard, which then restores the link.
    /// Guards nest.
    ///
    /// ```
    /// use sync_sim::prelude::*;
    ///
    /// let mut rt = SimRuntime::with_seed(1);
    /// rt.apply_scenario(Scenario::n_nodes_diverged(2, 3));
    /// {
    ///     let mut mute = rt.under_link("alice", "bob", LinkProperties::down());
    ///     mute.run_until(|rt| rt.now() > SimTime::from_secs(2));
    ///     assert_not_converged!(mute);
    /// }
    /// assert_eq!(rt.run(), StopCondition::Converged);
    /// ```
    pub fn under_link(
        &mut self,
        from: impl NodeRef,
        to: impl NodeRef,
        properties: LinkProperties,
    ) -> LinkGuard<'_> {
        let from = self.resolve(from);
        let to = self.resolve(to);
        let before = self.world.set_link(from, to, Some(properties));
        LinkGuard { runtime: self, from, to, before }
    }
}

/// A run with one direction of a link changed. Dropping the guard restores the link.
#[derive(Debug)]
pub struct LinkGuard<'a> {
    runtime: &'a mut SimRuntime,
    from: NodeId,
    to: NodeId,
    before: Option<LinkProperties>,
}

impl Deref for LinkGuard<'_> {
    type Target = SimRuntime;

    fn deref(&self) -> &SimRuntime {
        self.runtime
    }
}

impl DerefMut for LinkGuard<'_> {
    fn deref_mut(&mut self) -> &mut SimRuntime {
        self.runtime
    }
}

impl Drop for LinkGuard<'_> {
    fn drop(&mut self) {
        self.runtime.world.set_link(self.from, self.to, self.before);
    }
}
