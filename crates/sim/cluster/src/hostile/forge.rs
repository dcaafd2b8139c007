//! The tools with which an adversary alters one frame.

use std::collections::BTreeMap;
use syncline_crdt::{GCounter, OwnedRegister, PnCounter, Register, Value};
use syncline_storage::Record;
use syncline_store::Bytes;
use syncline_sync::{
    Answer, Delta, ExchangeReply, Gate, Gossip, LocatedDifference, Message, Request, Response, SnapshotPage,
    SyncHandshake, SyncProtocolKind, WireRecord,
};
use syncline_types::{Choice, Decode, Digest, Encode, Entropy, ReplicaId, SimTime};

/// The state of the run that a lie may use.
pub(super) struct AttackContext<'a> {
    /// The gate of the adversary: its context, its signing key and its membership.
    pub(super) gate: &'a Gate,
    /// The replica id of the adversary.
    pub(super) own: ReplicaId,
    /// The root that the receiver last announced.
    pub(super) peer_root: Option<Digest>,
    /// The last handshake that the receiver started.
    pub(super) peer_handshake: Option<&'a SyncHandshake>,
    pub(super) now: SimTime,
    /// Number of attempts to alter a frame so far, so that no two endless lists repeat ids.
    pub(super) turn: u64,
    pub(super) entropy: &'a mut dyn Entropy,
}

impl AttackContext<'_> {
    /// A random number below `bound`; 0 if `bound` is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.entropy.below(Choice::LieDetail, bound as u64) as usize
    }

    /// A random number of up to 64 bits.
    pub(super) fn any(&mut self) -> u64 {
        self.entropy.below(Choice::LieDetail, u64::MAX)
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    /// True with a probability of 1 in `many`.
    pub(super) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// A random digest that is the hash of no state.
    pub(super) fn digest(&mut self) -> Digest {
        let mut digest = Digest([0xd1; 32]);
        digest.0[..8].copy_from_slice(&self.any().to_le_bytes());
        digest
    }

    /// Drops, duplicates, truncates or swaps items of a list. Returns whether the list had any item.
    pub(super) fn shuffle<T: Clone>(&mut self, list: &mut Vec<T>) -> bool {
        let at = self.below(list.len());
        let other = self.below(list.len());
        // `other` is out of bounds only if the list is empty.
        let Some(copy) = list.get(other).cloned() else { return false };
        match self.below(4) {
            0 => drop(list.remove(at)),
            1 => list.insert(at, copy),
            2 => list.truncate(at),
            _ => list.swap(at, other),
        }
        true
    }

    /// Changes one random item of a list. Returns whether `change` changed it; false for an empty list.
    pub(super) fn change_one<T>(
        &mut self,
        list: &mut [T],
        change: impl FnOnce(&mut T, &mut Self) -> bool,
    ) -> bool {
        let at = self.below(list.len());
        list.get_mut(at).is_some_and(|item| change(item, self))
    }
}

/// The claims of the sender about itself, if the message carries any.
pub(super) fn claims(message: &mut Message) -> Option<&mut SyncHandshake> {
    match message {
        Message::Request { request: Request::Handshake(ours), .. } => Some(ours),
        Message::Response { response: Response::Handshake(reply), .. } => Some(&mut reply.theirs),
        Message::Response { response: Response::SnapshotGone(theirs), .. } => Some(theirs),
        _ => None,
    }
}

/// Recomputes the verdict of a handshake from the altered claims, as an honest peer with these claims
/// would.
pub(super) fn choose_by_claims(message: &mut Message, attack: &AttackContext<'_>) {
    use syncline_sync::SelectionReason::{Requested, RootsEqual};
    if let (Message::Response { response: Response::Handshake(reply), .. }, Some(asked)) =
        (message, attack.peer_handshake)
    {
        let table = syncline_sync::select_protocol(asked, &reply.theirs);
        // The table binds the responder unless a sketch lets it choose by the measured difference.
        let bound = asked.sketch.is_none() || matches!(table.reason, Requested | RootsEqual);
        if bound || reply.verdict == SyncProtocolKind::None {
            reply.verdict = table.protocol.kind();
        }
    }
}

/// Applies `change` to every record in a message. Returns whether any record changed.
pub(super) fn each_record(message: &mut Message, mut change: impl FnMut(&mut Bytes) -> bool) -> bool {
    let mut changed = false;
    let mut each = |records: &mut [WireRecord]| {
        records.iter_mut().for_each(|record| changed |= change(&mut record.bytes));
    };
    match message {
        Message::Request { request: Request::Exchange(asked), .. } => each(&mut asked.pushes),
        Message::Response { response: Response::Exchange(reply), .. } => {
            for answer in &mut reply.answers {
                if let Answer::Subtree { records, .. } | Answer::Records { records, .. } = answer {
                    each(records);
                }
            }
            reply.records.iter_mut().flatten().for_each(|bytes| changed |= change(bytes));
        }
        Message::Response { response: Response::Handshake(reply), .. } => {
            if let Some(LocatedDifference::Found { records, .. }) = &mut reply.located {
                each(records);
            }
        }
        Message::Response { response: Response::SnapshotPage(page), .. } => {
            let Ok(mut records) = page.unpack() else {
                unreachable!("the adversary's own replica packed this page")
            };
            records.iter_mut().for_each(|(_, bytes)| changed |= change(bytes));
            let (packed, unpacked_len) = SnapshotPage::pack(&records, page.unpacked_len > 0);
            page.packed = packed;
            page.unpacked_len = unpacked_len;
        }
        _ => {}
    }
    changed
}

/// The record with another value under the same stamps; `None` if the record has no value to change.
pub(super) fn tampered(bytes: &Bytes, attack: &mut AttackContext<'_>) -> Option<Bytes> {
    let mut record = Record::from_bytes(bytes).ok()?;
    let said = format!("tampered {}", attack.below(1_000)).into_bytes();
    let other = |register: &Register| Register::new(register.stamp(), &said[..]);
    record.value = match &record.value {
        Value::Lww(register) => Value::Lww(other(register)),
        Value::Opaque(register) => Value::Opaque(other(register)),
        Value::Frozen(register) => Value::Frozen(other(register)),
        Value::User(owned) => {
            Value::User(OwnedRegister { owner: owned.owner, register: other(&owned.register) })
        }
        Value::GCounter(counter) => Value::GCounter(GCounter::from_entries(
            counter.entries().map(|(who, count)| (who, count + 1_000)),
        )),
        Value::PnCounter(counter) => {
            let more = |(who, (added, removed))| (who, (added + 1_000, removed));
            Value::PnCounter(PnCounter::from_entries(counter.entries().map(more)))
        }
        _ if record.is_live() => {
            record.deleted_at = record.updated_at;
            record.value.clone()
        }
        _ => return None,
    };
    record.drop_unobservable();
    Some(record.to_bytes().into())
}

/// Applies `change` to the deltas of a message; `change` may add and remove some. Returns whether the message
/// changed.
pub(super) fn change_deltas(message: &mut Message, change: impl FnOnce(&mut Vec<Delta>) -> bool) -> bool {
    let listed = match message {
        Message::Gossip(Gossip::Delta(delta)) => {
            let mut one = vec![delta.clone()];
            let changed = change(&mut one);
            match one.pop() {
                Some(other) if changed => *delta = other,
                _ => return false,
            }
            return changed;
        }
        Message::Gossip(Gossip::DeltaReply { deltas, .. })
        | Message::Request { request: Request::Deltas { pushes: deltas, .. }, .. } => deltas,
        Message::Response { response: Response::Deltas(reply), .. } => &mut reply.deltas,
        _ => return false,
    };
    let Ok(mut deltas) = listed.iter().map(|bytes| Delta::from_bytes(bytes)).collect::<Result<Vec<_>, _>>()
    else {
        unreachable!("the adversary's own replica encoded these deltas")
    };
    let changed = change(&mut deltas);
    *listed = deltas.iter().map(|delta| delta.to_bytes().into()).collect();
    changed
}

/// The exchange reply that a message carries, if it carries one.
pub(super) fn exchange_reply(message: &mut Message) -> Option<&mut ExchangeReply> {
    match message {
        Message::Response { response: Response::Exchange(reply), .. } => Some(reply),
        _ => None,
    }
}

/// What an adversary has observed of its peers.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerClaims {
    /// The last root that each node announced.
    roots: BTreeMap<u32, Digest>,
    /// The last handshake that each node started.
    asked: BTreeMap<u32, SyncHandshake>,
    /// The delta that one of them has just gossiped.
    heard: Option<(u32, Delta)>,
}

impl PeerClaims {
    /// Records what a message of `from` announces.
    pub(super) fn observe(&mut self, from: u32, message: Message) {
        let root = match message {
            Message::Gossip(Gossip::Heartbeat { root, .. }) => root,
            Message::Gossip(Gossip::Delta(delta)) => {
                self.heard = Some((from, delta));
                return;
            }
            Message::Request { request: Request::Handshake(theirs), .. } => {
                let root = theirs.root_hash;
                self.asked.insert(from, *theirs);
                root
            }
            Message::Response { response: Response::Handshake(reply), .. } => reply.theirs.root_hash,
            _ => return,
        };
        self.roots.insert(from, root);
    }

    /// The delta that a node has just gossiped, and a number for each other node.
    pub(super) fn take_heard(&mut self) -> Option<(Delta, Vec<u32>)> {
        let (from, delta) = self.heard.take()?;
        let others = self.roots.keys().copied().filter(|node| *node != from);
        Some((delta, others.collect()))
    }

    pub(super) fn root_of(&self, node: u32) -> Option<Digest> {
        self.roots.get(&node).copied()
    }

    pub(super) fn handshake_from(&self, node: u32) -> Option<&SyncHandshake> {
        self.asked.get(&node)
    }
}
