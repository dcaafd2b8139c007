//! Lies about writes: deltas that are not given, that are not their author's, or that say what is not so.

use crate::hostile::forge::{Craft, change_deltas};
use syncline_storage::Action;
use syncline_sync::{Delta, DeltaRef, Dot, Gossip, Message, Request, Response};
use syncline_types::{DeltaId, EntityId, ReplicaId};

/// Gives no deltas, and says that these are all. Says whether there were any; a message that only brings
/// deltas is not sent at all.
pub(super) fn withheld(message: &mut Message) -> bool {
    match message {
        Message::Gossip(Gossip::DeltaReply { deltas, .. })
        | Message::Request { request: Request::Deltas { pushes: deltas, .. }, .. } => {
            let any = !deltas.is_empty();
            deltas.clear();
            any
        }
        Message::Response { response: Response::Deltas(reply), .. } => {
            let any = !reply.deltas.is_empty();
            reply.deltas.clear();
            reply.complete = true;
            any
        }
        _ => false,
    }
}

/// Changes one delta so that its signature is not its author's any more.
pub(super) fn forged(message: &mut Message, craft: &mut Craft<'_>) -> bool {
    change_deltas(message, |deltas| {
        craft.change_one(deltas, |delta, craft| {
            match craft.below(5) {
                0 if !delta.actions.is_empty() => delta.actions.clear(),
                2 if delta.actions.iter_mut().any(deletes_instead) => {}
                1 => {
                    // In the name of somebody else, under a number that may well be the next.
                    let mut others = delta.parents.iter().map(|parent| parent.dot);
                    let stranger = Dot { author: ReplicaId::from_u64(0xbad), seq: 1 };
                    let dot = others.rfind(|dot| dot.author != craft.own).unwrap_or(stranger);
                    let dot = Dot { seq: dot.seq + 1, ..dot };
                    *delta = Delta { dot, ..delta.clone() }.signed(craft.gate);
                }
                _ => {
                    let at = craft.below(delta.signature.0.len());
                    match delta.signature.0.get_mut(at) {
                        Some(byte) => *byte ^= 1 << craft.below(8),
                        None => return false,
                    }
                }
            }
            true
        })
    })
}

/// Makes a delete of what writes. Says whether it wrote.
fn deletes_instead(action: &mut Action) -> bool {
    let (Action::Add { id, ancestors, metadata, .. } | Action::Update { id, ancestors, metadata, .. }) =
        action
    else {
        return false;
    };
    let (id, ancestors, deleted_at) = (*id, std::mem::take(ancestors), metadata.updated_at);
    *action = Action::DeleteRef { id, ancestors, deleted_at };
    true
}

/// Has a delta of its own follow one that does not exist, and signs it.
pub(super) fn parents(message: &mut Message, craft: &mut Craft<'_>) -> bool {
    own_delta(message, craft, |delta, craft| {
        let known: Vec<Dot> = delta.parents.iter().map(|parent| parent.dot).collect();
        let stranger = Dot { author: ReplicaId::from_u64(0xbad), seq: 0 };
        let at = craft.below(known.len() + 1);
        let after = known.get(at).copied().filter(|dot| dot.author != craft.own).unwrap_or(stranger);
        let dot = Dot { seq: after.seq + 1 + craft.any() % 100, ..after };
        delta.parents.retain(|parent| parent.dot.author != dot.author);
        delta.parents.push(DeltaRef { dot, id: DeltaId(craft.digest().0) });
        delta.parents.sort_by_key(|parent| parent.dot.author);
        true
    })
}

/// Has a delta of its own write to other places, and signs it.
pub(super) fn positions(message: &mut Message, craft: &mut Craft<'_>) -> bool {
    own_delta(message, craft, |delta, craft| {
        let ids: Vec<EntityId> = delta.actions.iter().map(Action::id).collect();
        craft.change_one(&mut delta.actions, |action, craft| {
            let (Action::Add { ancestors, .. }
            | Action::Update { ancestors, .. }
            | Action::DeleteRef { ancestors, .. }) = action;
            let some = ids.get(craft.below(ids.len())).copied().unwrap_or(EntityId::LAST);
            match craft.below(4) {
                0 => ancestors.clear(),
                1 => ancestors.push(some),
                2 => ancestors.insert(0, EntityId(craft.digest().0)),
                _ => ancestors.reverse(),
            }
            true
        })
    })
}

/// Changes one delta that its sender wrote itself, and signs it.
fn own_delta(
    message: &mut Message,
    craft: &mut Craft<'_>,
    change: impl FnOnce(&mut Delta, &mut Craft<'_>) -> bool,
) -> bool {
    change_deltas(message, |deltas| {
        let mut own: Vec<&mut Delta> =
            deltas.iter_mut().filter(|delta| delta.dot.author == craft.own).collect();
        craft.change_one(&mut own, |delta, craft| {
            let changed = change(delta, craft);
            **delta = delta.clone().signed(craft.gate);
            changed
        })
    })
}
