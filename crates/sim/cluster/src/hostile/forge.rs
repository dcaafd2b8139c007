//! What a liar has at hand while it bends one frame.

use std::collections::BTreeMap;
use syncline_crdt::{GCounter, OwnedRegister, PnCounter, Register, Value};
use syncline_storage::Record;
use syncline_store::Bytes;
use syncline_sync::{
    Answer, Delta, ExchangeReply, Gate, Gossip, LocatedDifference, Message, Request, Response, SnapshotPage,
    SyncHandshake, SyncProtocolKind, WireRecord,
};
use syncline_types::{Choice, Decode, Digest, Encode, Entropy, ReplicaId, SimTime};

/// What a lie takes from the run.
pub(super) struct Craft<'a> {
    /// What it signs with.
    pub(super) gate: &'a Gate,
    /// Who it is.
    pub(super) own: ReplicaId,
    /// The root that the receiver last said it had.
    pub(super) echo: Option<Digest>,
    /// What the receiver last asked for in a handshake.
    pub(super) asked: Option<&'a SyncHandshake>,
    pub(super) now: SimTime,
    /// How many lies it has told, so that no two endless lists are alike.
    pub(super) turn: u64,
    pub(super) chance: &'a mut dyn Entropy,
}

impl Craft<'_> {
    /// A number below a bound, or zero.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.chance.below(Choice::LieDetail, bound as u64) as usize
    }

    /// Any number.
    pub(super) fn any(&mut self) -> u64 {
        self.chance.below(Choice::LieDetail, u64::MAX)
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    /// True in one of so many cases.
    pub(super) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// A digest of nothing.
    pub(super) fn digest(&mut self) -> Digest {
        let mut digest = Digest([0xd1; 32]);
        digest.0[..8].copy_from_slice(&self.any().to_le_bytes());
        digest
    }

    /// Drops, doubles or swaps some of a list. Says whether there was any.
    pub(super) fn shuffle<T: Clone>(&mut self, list: &mut Vec<T>) -> bool {
        let (at, other) = (self.below(list.len()), self.below(list.len()));
        let Some(copy) = list.get(other).cloned() else { return false };
        match self.below(4) {
            0 => drop(list.remove(at)),
            1 => list.insert(at, copy),
            2 => list.truncate(at),
            _ => list.swap(at, other),
        }
        true
    }

    /// Puts one in the place of another item of a list. Says whether there was any.
    pub(super) fn change_one<T>(
        &mut self,
        list: &mut [T],
        change: impl FnOnce(&mut T, &mut Self) -> bool,
    ) -> bool {
        let at = self.below(list.len());
        list.get_mut(at).is_some_and(|item| change(item, self))
    }
}

/// What its sender says of itself, if a message says that.
pub(super) fn claims(message: &mut Message) -> Option<&mut SyncHandshake> {
    match message {
        Message::Request { request: Request::Handshake(ours), .. } => Some(ours),
        Message::Response { response: Response::Handshake(reply), .. } => Some(&mut reply.theirs),
        Message::Response { response: Response::SnapshotGone(theirs), .. } => Some(theirs),
        _ => None,
    }
}

/// Makes the verdict of a handshake follow from what is claimed in it, as that of an honest peer would.
pub(super) fn choose_by_claims(message: &mut Message, craft: &Craft<'_>) {
    use syncline_sync::SelectionReason::{Requested, RootsEqual};
    if let (Message::Response { response: Response::Handshake(reply), .. }, Some(asked)) =
        (message, craft.asked)
    {
        let table = syncline_sync::select_protocol(asked, &reply.theirs);
        let bound = asked.sketch.is_none() || matches!(table.reason, Requested | RootsEqual);
        if bound || reply.verdict == SyncProtocolKind::None {
            reply.verdict = table.protocol.kind();
        }
    }
}

/// Puts every record in a message through `change`. Says whether any is another now.
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
            let Ok(mut records) = page.unpack() else { return false };
            records.iter_mut().for_each(|(_, bytes)| changed |= change(bytes));
            (page.packed, page.unpacked_len) = SnapshotPage::pack(&records, page.unpacked_len > 0);
        }
        _ => {}
    }
    changed
}

/// The same record with another value. `None` if there is nothing in it to change.
pub(super) fn tampered(bytes: &Bytes, craft: &mut Craft<'_>) -> Option<Bytes> {
    let mut record = Record::from_bytes(bytes).ok()?;
    let said = format!("tampered {}", craft.below(1_000)).into_bytes();
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
            let more = |(who, (added, taken))| (who, (added + 1_000, taken));
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

/// Puts all deltas in a message through `change`, which may take and add some.
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
        return false;
    };
    let changed = change(&mut deltas);
    *listed = deltas.iter().map(|delta| delta.to_bytes().into()).collect();
    changed
}

/// The reply of a message that answers a round of an exchange.
pub(super) fn exchange_reply(message: &mut Message) -> Option<&mut ExchangeReply> {
    match message {
        Message::Response { response: Response::Exchange(reply), .. } => Some(reply),
        _ => None,
    }
}

/// What the liar keeps of those that it speaks to.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// The root that each last said it had.
    roots: BTreeMap<u32, Digest>,
    /// The last handshake that each began.
    asked: BTreeMap<u32, SyncHandshake>,
}

impl Heard {
    /// Takes note of what `from` says.
    pub(super) fn note(&mut self, from: u32, message: Message) {
        let root = match message {
            Message::Gossip(Gossip::Heartbeat { root, .. }) => root,
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

    pub(super) fn root_of(&self, node: u32) -> Option<Digest> {
        self.roots.get(&node).copied()
    }

    pub(super) fn asked_by(&self, node: u32) -> Option<&SyncHandshake> {
        self.asked.get(&node)
    }
}
