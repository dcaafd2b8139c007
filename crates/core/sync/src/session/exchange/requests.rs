//! The queues of an exchange (questions, record requests and pushes), and the next request.

use super::{Exchange, FEW_SUBTREES, Opening, PendingPush};
use crate::messages::{ExchangeRequest, NodeAddress, OwnNode, Question, Request, WireDigest, WireRecord};
use crate::session::SessionStats;
use crate::sketch::{ShortIds, Symbol};
use crate::transaction::Transaction;
use syncline_storage::{Entry, Prefix, StorageError, Subtree};
use syncline_store::ReadView;
use syncline_types::{Encode, EntityId, Probe, canary};

impl Exchange {
    /// Requests the peer's record of an entity: it differs from ours, or we have none.
    pub(super) fn want(&mut self, id: EntityId) {
        self.wants.push_back(id);
    }

    /// Requests the peer's records of the entities with these short ids.
    pub(super) fn want_short_ids(&mut self, short_ids: &ShortIds) {
        self.short_ids.extend(short_ids.iter());
    }

    /// Requests a record of the peer that is known by its symbol. `kids` is the peer's root of its
    /// children; if ours differs once the record is here, the children are compared.
    pub(super) fn want_child(&mut self, symbol: Symbol, kids: Option<WireDigest>) {
        self.short_ids.push_back(symbol.short_id());
        self.requested_kids.insert(symbol, kids);
    }

    /// Pushes our record of an entity: the peer lacks it, or has another.
    pub(super) fn push(&mut self, id: EntityId) {
        self.pushes.push_back(PendingPush::One(id));
    }

    /// Pushes our children of `entity` from `from` to `to`, of which the peer has none.
    pub(super) fn push_range<V: ReadView>(
        &mut self,
        entity: EntityId,
        from: EntityId,
        to: EntityId,
        work: &mut Transaction<V>,
    ) -> Result<(), StorageError> {
        if from <= to && !work.state.children_between(entity, from, to, 1)?.is_empty() {
            self.pushes.push_back(PendingPush::Subtree(Subtree::of_children(entity, from, to)));
        }
        Ok(())
    }

    /// Compares the children of `entity` under `prefix`, which differ.
    pub(super) fn descend(&mut self, entity: EntityId, prefix: Prefix) {
        self.questions.push_back(match self.opening {
            Opening::Levels if prefix.is_empty() => Question::Children { entity, after: None },
            _ => Question::Node(NodeAddress { entity, prefix }),
        });
    }

    /// Begins a walk at the root of the index.
    pub(super) fn ask_for_root(&mut self) {
        let root = NodeAddress { entity: EntityId::ROOT, prefix: Prefix::EMPTY };
        self.questions.push_back(Question::Node(root));
        self.want(EntityId::ROOT);
    }

    /// Asks for the next page of an answer. After many pages of subtrees the rest is compared instead:
    /// then most of it is probably equal, or the peer is stalling.
    pub(super) fn resume<V: ReadView>(&mut self, question: Question, work: &mut Transaction<V>) {
        if let Question::Subtree { entity, prefix, .. } = question {
            self.subtree_pages += 1;
            if self.subtree_pages > work.limits.subtree_pages() {
                work.note(Probe::PrefetchGivenUp);
                self.opening = Opening::Walk;
                self.questions.push_front(Question::Node(NodeAddress { entity, prefix }));
                return;
            }
        }
        self.questions.push_front(question);
    }

    /// Fills the next request from the queues, up to a page.
    pub(super) fn next_request<V: ReadView>(
        &mut self,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Request, StorageError> {
        let questions = self.next_questions(work)?;
        let count = self.wants.len().min(work.limits.records_per_frame());
        let wants: Vec<EntityId> = self.wants.drain(..count).collect();
        let horizon = work.state.horizon();
        if canary!(PullOnly) || self.staging.is_some() {
            // The peer's state is a past one and cannot change.
            self.pushes.clear();
        }
        let pushes = self.next_pushes(work, stats)?;
        debug_assert!(
            questions.len() <= work.limits.questions_per_frame(),
            "a request has a bounded number of questions"
        );
        debug_assert!(
            wants.len().max(pushes.len()) <= work.limits.records_per_frame(),
            "a request has a bounded number of records"
        );
        let asked = ExchangeRequest { whole: self.whole, horizon, questions, wants, pushes };
        self.asked = asked.clone();
        Ok(Request::Exchange(asked))
    }

    fn next_questions<V: ReadView>(
        &mut self,
        work: &mut Transaction<V>,
    ) -> Result<Vec<Question>, StorageError> {
        let count = self.questions.len();
        let prefetch = self.opening == Opening::Subtrees && count <= FEW_SUBTREES;
        let most = work.limits.questions_per_frame();
        let takes_subtrees = self.subtree_pages <= work.limits.subtree_pages();
        let mut questions = Vec::with_capacity(count.min(most));
        // One place is left for the question by short ids.
        for question in self.questions.drain(..count.min(most - 1)) {
            questions.push(match question {
                // A branch is prefetched as a whole. A part of a wide collection is compared first, and
                // only what differs in it is requested.
                Question::Node(NodeAddress { entity, prefix })
                    if prefetch && prefix.is_empty() && entity != EntityId::ROOT =>
                {
                    Question::Subtree { entity, prefix, after: None }
                }
                Question::Node(address) if takes_subtrees && lacks_all(address, work)? => {
                    Question::Subtree { entity: address.entity, prefix: address.prefix, after: None }
                }
                Question::Node(address) if !self.whole => with_own_slots(address, work)?,
                question => question,
            });
        }
        if !self.short_ids.is_empty() {
            let few = self.short_ids.len().min(work.limits.records_per_frame());
            questions.push(Question::ByShortId(ShortIds::of(self.short_ids.drain(..few))));
        }
        Ok(questions)
    }

    fn next_pushes<V: ReadView>(
        &mut self,
        work: &mut Transaction<V>,
        stats: &mut SessionStats,
    ) -> Result<Vec<WireRecord>, StorageError> {
        let mut pushes = Vec::new();
        let mut bytes = 0;
        while bytes < work.limits.page_bytes() && pushes.len() < work.limits.records_per_frame() {
            let id = match self.pushes.front_mut() {
                None => break,
                Some(PendingPush::One(id)) => {
                    let id = *id;
                    self.pushes.pop_front();
                    id
                }
                Some(PendingPush::Subtree(subtree)) => match subtree.next(&mut work.state)? {
                    Some(Entry { id, .. }) => id,
                    None => {
                        self.pushes.pop_front();
                        continue;
                    }
                },
            };
            if self.push_above_first(id, work)? {
                continue;
            }
            if let Some(record) = work.state.record(id)? {
                if self.is_early && record.may_be_collected(self.horizon) {
                    // The peer may not have joined what hides it, which may be ahead of its clock.
                    continue;
                }
                let record = record.to_bytes();
                bytes += record.len() + 32;
                stats.bytes += record.len() as u64;
                stats.records_pushed += 1;
                pushes.push(WireRecord { id, bytes: record.into() });
            }
        }
        work.note_if(!self.pushes.is_empty(), Probe::PushesCut);
        Ok(pushes)
    }
}

/// Whether we have no children at an address. Then everything that the peer has there is wanted, and there is nothing
/// to compare.
fn lacks_all<V: ReadView>(
    NodeAddress { entity, prefix }: NodeAddress,
    work: &mut Transaction<V>,
) -> Result<bool, StorageError> {
    Ok(work.state.children_between(entity, prefix.first_id(), prefix.last_id(), 1)?.is_empty())
}

/// A question about a node, with our own node if our children there part in an inner node. The responder then shows
/// another level where the slots differ.
fn with_own_slots<V: ReadView>(
    address: NodeAddress,
    work: &mut Transaction<V>,
) -> Result<Question, StorageError> {
    Ok(match OwnNode::of(&mut work.state, address)? {
        Some(ours) => Question::Compare { address, ours: Box::new(ours) },
        None => Question::Node(address),
    })
}
