//! Single links, as scripted tests make them.

use crate::runtime::sim_runtime::SimRuntime;
use std::ops::{Deref, DerefMut};
use sync_sim_engine::event::{LinkChange, SimEvent};
use sync_sim_engine::network::LinkProperties;
use sync_sim_engine::node_id::{NodeId, NodeRef};
use syncline_types::SimTime;

impl SimRuntime {
    /// Says what the link from one node to another is like from now on. The other way stays as it is.
    pub fn set_link(&mut self, from: impl NodeRef, to: impl NodeRef, properties: LinkProperties) {
        let (from, to) = (self.resolve(from), self.resolve(to));
        self.world.set_link(from, to, Some(properties));
    }

    /// Leaves it to chance again what the link from one node to another is like.
    pub fn clear_link(&mut self, from: impl NodeRef, to: impl NodeRef) {
        let (from, to) = (self.resolve(from), self.resolve(to));
        self.world.set_link(from, to, None);
    }

    /// As [`SimRuntime::set_link`] at a time; `None` leaves the link to chance again.
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

    /// Breaks the connection between two nodes, and loses what is on its way on it, in both directions.
    /// Says whether there was one; without streams there is none.
    pub fn break_connection(&mut self, a: impl NodeRef, b: impl NodeRef) -> bool {
        let (a, b) = (self.resolve(a), self.resolve(b));
        self.world.break_connection(a, b)
    }

    /// As [`SimRuntime::break_connection`] at a time.
    pub fn break_connection_at(&mut self, at: SimTime, a: impl NodeRef, b: impl NodeRef) {
        self.change_link_at(at, a, b, LinkChange::Breaks);
    }

    fn change_link_at(&mut self, at: SimTime, from: impl NodeRef, to: impl NodeRef, change: LinkChange) {
        let (from, to) = (self.resolve(from), self.resolve(to));
        self.world.schedule(at, SimEvent::LinkChanged { from, to, change });
    }

    /// The run with one direction of a link changed, for as long as the guard lives; then the link is
    /// again what it was. Guards nest.
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
        let (from, to) = (self.resolve(from), self.resolve(to));
        let before = self.world.set_link(from, to, Some(properties));
        LinkGuard { runtime: self, from, to, before }
    }
}

/// A run with one direction of a link changed, which is what it was when this is dropped.
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
