//! Lies about writes: deltas that are withheld, not signed by their author, or false in their content.

use crate::hostile::forge::{AttackContext, change_deltas};
use syncline_storage::{Action, RelativeAction};
use syncline_sync::{Delta, DeltaRef, Dot, Gossip, Message, Request, Response};
use syncline_types::{Choice, DeltaId, EntityId, Entropy, ReplicaId, limits};

/// Removes all deltas and claims that these are all. Returns whether there were any. A gossip message that
/// carries a single delta is dropped by the caller instead.
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

/// Changes one delta so that its signature is no longer that of its author.
pub(super) fn forged(message: &mut Message, attack: &mut AttackContext<'_>) -> bool {
    change_deltas(message, |deltas| {
        attack.change_one(deltas, |delta, attack| {
            match attack.below(5) {
                0 if !delta.actions.is_empty() => delta.actions.clear(),
                // The content changes and the signature stays.
                2 if delta.actions.iter_mut().any(|relative| deletes_instead(&mut relative.action)) => {}
                1 => {
                    // Claims another author, under a sequence number that may well be the next one.
                    let mut others = delta.parents.iter().map(|parent| parent.dot);
                    let stranger = Dot { author: ReplicaId::from_u64(0xbad), seq: 1 };
                    let dot = others.rfind(|dot| dot.author != attack.own).unwrap_or(stranger);
                    let dot = Dot { seq: dot.seq + 1, ..dot };
                    *delta = Delta { dot, ..delta.clone() }.signed(attack.gate);
                }
                _ => return damage_signature(delta, attack.entropy),
            }
            true
        })
    })
}

/// Flips a bit of a signature. Returns whether there is one.
pub(super) fn damage_signature(delta: &mut Delta, entropy: &mut dyn Entropy) -> bool {
    let bits = 8 * delta.signature.0.len() as u64;
    let bit = entropy.below(Choice::LieDetail, bits) as usize;
    let Some(byte) = delta.signature.0.get_mut(bit / 8) else { return false };
    *byte ^= 1 << (bit % 8);
    true
}

/// Turns an action that writes into a delete. Returns whether the action was a write.
fn deletes_instead(action: &mut Action) -> bool {
    let (Action::Add { id, ancestors, metadata, .. } | Action::Update { id, ancestors, metadata, .. }) =
        action
    else {
        // The action is a delete already.
        return false;
    };
    *action =
        Action::DeleteRef { id: *id, ancestors: std::mem::take(ancestors), deleted_at: metadata.updated_at };
    true
}

/// Makes one of its own deltas follow a delta that does not exist, and signs it: another parent, or an earlier delta of
/// its own, to which the number points.
pub(super) fn parents(message: &mut Message, attack: &mut AttackContext<'_>) -> bool {
    /// More deltas than an adversary makes in a run.
    const MANY: u64 = 1_000;
    own_delta(message, attack, |delta, attack| {
        if attack.one_in(3) {
            delta.dot.seq = (delta.dot.seq + MANY + attack.any() % MANY).min(limits::MAX_DELTA_SEQ);
            return true;
        }
        let known: Vec<Dot> = delta.parents.iter().map(|parent| parent.dot).collect();
        let stranger = Dot { author: ReplicaId::from_u64(0xbad), seq: 0 };
        let at = attack.below(known.len() + 1);
        let after = known.get(at).copied().filter(|dot| dot.author != attack.own).unwrap_or(stranger);
        let dot = Dot { seq: after.seq + 1 + attack.any() % 100, ..after };
        delta.parents.retain(|parent| parent.dot.author != dot.author);
        delta.parents.push(DeltaRef { dot, id: DeltaId(attack.digest().0) });
        delta.parents.sort_by_key(|parent| parent.dot.author);
        true
    })
}

/// Moves one of its own writes to other ancestors, and signs the delta.
pub(super) fn positions(message: &mut Message, attack: &mut AttackContext<'_>) -> bool {
    own_delta(message, attack, |delta, attack| {
        let ids: Vec<EntityId> = delta.actions.iter().map(|relative| relative.action.id()).collect();
        attack.change_one(&mut delta.actions, |relative, attack| {
            let RelativeAction { above, action } = relative;
            let (Action::Add { ancestors, .. }
            | Action::Update { ancestors, .. }
            | Action::DeleteRef { ancestors, .. }) = action;
            let some = ids.get(attack.below(ids.len())).copied().unwrap_or(EntityId::LAST);
            match attack.below(5) {
                0 => ancestors.clear(),
                1 => ancestors.push(some),
                // Below an ancestor that need not be there, or is elsewhere.
                3 => *above = 1 + attack.below(limits::MAX_ANCESTORS) as u32,
                2 => ancestors.insert(0, EntityId(attack.digest().0)),
                _ => ancestors.reverse(),
            }
            true
        })
    })
}

/// Changes one delta that the adversary wrote itself, and signs it again.
fn own_delta(
    message: &mut Message,
    attack: &mut AttackContext<'_>,
    change: impl FnOnce(&mut Delta, &mut AttackContext<'_>) -> bool,
) -> bool {
    change_deltas(message, |deltas| {
        let mut own: Vec<&mut Delta> =
            deltas.iter_mut().filter(|delta| delta.dot.author == attack.own).collect();
        attack.change_one(&mut own, |delta, attack| {
            let changed = change(delta, attack);
            **delta = delta.clone().signed(attack.gate);
            changed
        })
    })
}
