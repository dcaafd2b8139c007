//! The same change in the name of another replica.

use std::collections::BTreeMap;
use syncline_crdt::{
    CharId, Custom, Element, Operands, OwnedRegister, Presence, Register, RunId, Text, TextRun, Value,
};
use syncline_storage::{Action, Metadata};
use syncline_types::{Hlc, ReplicaId};

/// Says which stamps become which. The times of the former id up to `known_until` stay: others have what happened then.
/// Later times become times of the `heir`, the name of the branch, as `moved` says, or the same times. If the former id
/// `has_one_life`, a time that is not moved keeps its name: the stamp can only be that of this very change. A change that the
/// former id has itself written again has the name of an earlier branch; that one stays as well, unless the time is moved.
pub(crate) struct Restamp<'a> {
    pub(crate) former: ReplicaId,
    /// The id in the stamp of the change: the former one, or the name of an earlier branch.
    pub(crate) maker: ReplicaId,
    pub(crate) heir: ReplicaId,
    pub(crate) known_until: u64,
    pub(crate) has_one_life: bool,
    /// The new times of changes that could not keep theirs, by their old stamps.
    pub(crate) moved: &'a BTreeMap<Hlc, u64>,
}

fn stamp_of(replica: ReplicaId, time: u64) -> Hlc {
    Hlc::new(time >> 16, time as u16, replica)
}

impl Restamp<'_> {
    fn is_moved(&self, replica: ReplicaId, time: u64) -> bool {
        let is_later = replica == self.former && time > self.known_until;
        let has_new_time = self.moved.contains_key(&stamp_of(replica, time));
        if replica == self.former { is_later && (!self.has_one_life || has_new_time) } else { has_new_time }
    }

    /// The time up to which the former id stays in a value that has seen what it did until `seen`, if it did anything.
    /// Of one life, what kept its time until then is before the new time of `seen`, since the order of changes stays. The
    /// old time may be ahead of all clocks.
    fn known(&self, replica: ReplicaId, seen: u64) -> Option<u64> {
        let keeps_times = self.has_one_life || replica != self.former;
        let known = if keeps_times { seen.min(self.time(replica, seen)) } else { self.known_until };
        (known > 0).then_some(known)
    }

    fn time(&self, replica: ReplicaId, time: u64) -> u64 {
        self.moved.get(&stamp_of(replica, time)).copied().unwrap_or(time)
    }

    /// The new stamp of a change that was made at `stamp`.
    pub(crate) fn stamp(&self, stamp: Hlc) -> Hlc {
        if !self.is_moved(stamp.replica(), stamp.time()) || stamp == Hlc::MAX {
            return stamp;
        }
        stamp_of(self.heir, self.time(stamp.replica(), stamp.time()))
    }

    /// The action in the name of the heir. Counts are not changed here: they are relative to what the heir has counted.
    pub(crate) fn action(&self, action: &Action) -> Action {
        match action {
            Action::Add { id, ancestors, value, metadata } => Action::Add {
                id: *id,
                ancestors: ancestors.clone(),
                value: self.value(value),
                metadata: self.metadata(metadata),
            },
            Action::Update { id, ancestors, value, metadata } => Action::Update {
                id: *id,
                ancestors: ancestors.clone(),
                value: self.value(value),
                metadata: self.metadata(metadata),
            },
            Action::DeleteRef { id, ancestors, deleted_at } => {
                let deleted_at = self.stamp(*deleted_at);
                Action::DeleteRef { id: *id, ancestors: ancestors.clone(), deleted_at }
            }
        }
    }

    fn metadata(&self, metadata: &Metadata) -> Metadata {
        Metadata {
            created_at: self.stamp(metadata.created_at),
            updated_at: self.stamp(metadata.updated_at),
            label: metadata.label.clone(),
        }
    }

    pub(super) fn value(&self, value: &Value) -> Value {
        match value {
            Value::Lww(register) => Value::Lww(self.register(register)),
            Value::Opaque(register) => Value::Opaque(self.register(register)),
            Value::Frozen(register) => Value::Frozen(self.register(register)),
            Value::Element(element) => Value::Element(self.element(element)),
            Value::Rga(text) => Value::Rga(self.text(text)),
            Value::Custom(custom) => Value::Custom(self.custom(custom)),
            Value::User(owned) => Value::User(self.owned(owned)),
            Value::Empty
            | Value::GCounter(_)
            | Value::PnCounter(_)
            | Value::Map
            | Value::Set
            | Value::SortedMap
            | Value::SortedSet
            | Value::Vector
            | Value::UserStorage
            | Value::FrozenStorage => value.clone(),
        }
    }

    fn register(&self, register: &Register) -> Register {
        Register::new(self.stamp(register.stamp()), register.bytes())
    }

    /// The value of an owner stays the former owner's, who may be an even earlier id, at the time that the change has.
    fn owned(&self, owned: &OwnedRegister) -> OwnedRegister {
        let stamp = owned.register.stamp();
        let stamp = stamp_of(stamp.replica(), self.time(self.maker, stamp.time()));
        OwnedRegister { owner: owned.owner, register: Register::new(stamp, owned.register.bytes()) }
    }

    fn element(&self, element: &Element) -> Element {
        let mut entries: BTreeMap<ReplicaId, Presence> = BTreeMap::new();
        for (replica, presence) in element.entries() {
            if !self.is_moved(replica, presence.added) {
                entries.insert(replica, presence);
                continue;
            }
            let time = self.time(replica, presence.added);
            let removed = if presence.removed == presence.added { time } else { presence.removed };
            let heir = entries.entry(self.heir).or_default();
            heir.added = heir.added.max(time);
            heir.removed = heir.removed.max(removed);
            if let Some(known) = self.known(replica, presence.removed).filter(|_| presence.removed > 0) {
                // A remove covers all earlier adds, also those that the former id made in its own name.
                entries.insert(replica, Presence { added: known, removed: known });
            }
        }
        Element::from_entries(entries)
    }

    /// A run is one insert, and no two lives give one stamp to two of them. So the run keeps its name unless its time is
    /// moved: a member that is away may have taken the insert, and the two are then one.
    fn run(&self, run: RunId) -> RunId {
        let is_moved = self.moved.contains_key(&run.stamp);
        RunId { stamp: if is_moved { self.stamp(run.stamp) } else { run.stamp }, ..run }
    }

    fn text(&self, text: &Text) -> Text {
        let runs = text.runs().map(|(id, run)| {
            let anchor = run.anchor.map(|anchor| CharId { run: self.run(anchor.run), ..anchor });
            (self.run(*id), TextRun { anchor, ..run.clone() })
        });
        let deleted = text.deleted().map(|(run, ranges)| (self.run(*run), ranges.to_vec()));
        Text::from_parts(runs, deleted)
    }

    fn custom(&self, custom: &Custom) -> Custom {
        let mut writers: BTreeMap<ReplicaId, Operands> = BTreeMap::new();
        for (writer, operands) in custom.writers() {
            let moved_covered = self.is_moved(writer, operands.covered);
            for (time, bytes) in &operands.live {
                let (writer, time) = if self.is_moved(writer, *time) {
                    (self.heir, self.time(writer, *time))
                } else {
                    (writer, *time)
                };
                writers.entry(writer).or_default().live.insert(time, bytes.clone());
            }
            if moved_covered {
                let heir = writers.entry(self.heir).or_default();
                heir.covered = heir.covered.max(self.time(writer, operands.covered));
            }
            let covered =
                if moved_covered { self.known(writer, operands.covered) } else { Some(operands.covered) };
            if let Some(covered) = covered.filter(|covered| *covered > 0) {
                writers.entry(writer).or_default().covered = covered;
            }
        }
        // Each order of times is as it was, so that the parts fit together.
        Custom::from_writers(custom.name(), writers).unwrap_or_else(|| custom.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> ReplicaId {
        ReplicaId::from_u64(number)
    }

    fn at(time: u64, replica: u64) -> Hlc {
        Hlc::new(time >> 16, time as u16, id(replica))
    }

    fn restamp(moved: &BTreeMap<Hlc, u64>) -> Restamp<'_> {
        Restamp { former: id(1), maker: id(1), heir: id(9), known_until: 100, has_one_life: false, moved }
    }

    #[test]
    fn only_later_stamps_of_the_former_id_change() {
        let moved = BTreeMap::from([(at(160, 1), 500)]);
        let restamp = restamp(&moved);
        let stamps = [at(100, 1), at(101, 1), at(160, 1), at(160, 2), Hlc::ZERO, Hlc::MAX];
        let expected = [at(100, 1), at(101, 9), at(500, 9), at(160, 2), Hlc::ZERO, Hlc::MAX];
        assert_eq!(stamps.map(|stamp| restamp.stamp(stamp)), expected);
    }

    /// With one life, a stamp is that of one change, whoever has taken it. Only a moved one needs another name.
    #[test]
    fn stamps_of_one_life_keep_their_name() {
        let moved = BTreeMap::from([(at(160, 1), 500)]);
        let restamp = Restamp { has_one_life: true, ..restamp(&moved) };
        assert_eq!([at(101, 1), at(160, 1)].map(|stamp| restamp.stamp(stamp)), [at(101, 1), at(500, 9)]);
        let mut written = Element::added(at(150, 1));
        written.join(&Element::added(at(160, 1)));
        let removed = restamp.element(&written.removed());
        let mut everywhere = Element::added(at(150, 1));
        everywhere.join(&restamp.element(&Element::added(at(160, 1))));
        assert!(everywhere.is_present());
        everywhere.join(&removed);
        assert!(!everywhere.is_present(), "{everywhere:?}");
    }

    /// A change that the former id had itself written again has the name of an earlier branch in its stamps.
    #[test]
    fn stamps_of_earlier_branches_move_too() {
        let moved = BTreeMap::from([(at(160, 7), 120)]);
        let restamp = Restamp { maker: id(7), has_one_life: true, ..restamp(&moved) };
        assert_eq!(
            [at(160, 7), at(150, 7), at(160, 1)].map(|stamp| restamp.stamp(stamp)),
            [at(120, 9), at(150, 7), at(160, 1)]
        );
        assert!(
            restamp
                .element(&Element::added(at(160, 7)).removed())
                .entries()
                .all(|(_, presence)| presence.added <= 120)
        );
        let owned = |time| OwnedRegister { owner: id(1), register: Register::new(at(time, 1), *b"mine") };
        assert_eq!(restamp.value(&Value::User(owned(160))), Value::User(owned(120)));
    }

    /// The old time of a removed add may be ahead of all clocks: nobody would take a change that names it.
    #[test]
    fn remove_names_no_time_that_was_ahead() {
        let moved = BTreeMap::from([(at(160, 1), 120)]);
        let restamp = Restamp { has_one_life: true, ..restamp(&moved) };
        let removed = restamp.element(&Element::added(at(160, 1)).removed());
        assert!(removed.entries().all(|(_, presence)| presence.added <= 120), "{removed:?}");
        assert!(!removed.is_present());
    }

    #[test]
    fn owned_value_moves_in_time_and_keeps_its_owner() {
        let moved = BTreeMap::from([(at(160, 1), 120)]);
        let owned = |time| {
            let register = Register::new(at(time, 1), *b"mine");
            Value::User(OwnedRegister { owner: id(1), register })
        };
        assert_eq!(restamp(&moved).value(&owned(160)), owned(120));
        assert_eq!(restamp(&moved).value(&owned(90)), owned(90));
        assert_eq!(restamp(&moved).value(&owned(150)), owned(150));
    }

    #[test]
    fn remove_covers_the_adds_of_both_names() {
        let moved = BTreeMap::new();
        let restamp = restamp(&moved);
        let mut seen = Element::added(at(90, 1));
        seen.join(&Element::added(at(150, 1)));
        let added = restamp.element(&Element::added(at(150, 1)));
        let removed = restamp.element(&seen.removed());
        let mut elsewhere = Element::added(at(90, 1));
        elsewhere.join(&added);
        assert!(elsewhere.is_present());
        elsewhere.join(&removed);
        assert!(!elsewhere.is_present(), "{elsewhere:?}");
        elsewhere.join(&Element::added(at(120, 1)));
        assert!(elsewhere.is_present(), "the other life of the former id had added it, too");
    }

    #[test]
    fn text_follows_its_renamed_runs() {
        let moved = BTreeMap::from([(at(151, 1), 500)]);
        let restamp = restamp(&moved);
        let mut text = Text::default();
        for (at_char, chars, stamp) in [(0, "ad", at(50, 1)), (1, "b", at(150, 1)), (2, "c", at(151, 1))] {
            let edit = text.insert(at_char, chars, stamp).unwrap();
            text.join(&edit);
        }
        let edit = text.delete(1, 1).unwrap();
        text.join(&edit);
        assert_eq!(text.to_string(), "acd");
        assert_eq!(restamp.text(&text).to_string(), "acd");
        let mut elsewhere = Text::default();
        let edit = elsewhere.insert(0, "ad", at(50, 1)).unwrap();
        elsewhere.join(&edit);
        let edit = elsewhere.insert(1, "b", at(150, 1)).unwrap();
        elsewhere.join(&edit);
        elsewhere.join(&restamp.text(&text));
        assert_eq!(
            elsewhere.to_string(),
            "acd",
            "a member that was away has the first runs under their names"
        );
    }

    #[test]
    fn operands_become_those_of_the_heir() {
        let moved = BTreeMap::new();
        let restamp = restamp(&moved);
        let mut value = Custom::written("t", at(90, 1), *b"a");
        value.join(&Custom::written("t", at(150, 1), *b"b"));
        let renamed = restamp.custom(&value);
        let stamps: Vec<Hlc> = renamed.operands().into_iter().map(|(stamp, _)| stamp).collect();
        assert_eq!(stamps, [at(90, 1), at(150, 9)]);
        let compacted = restamp.custom(&value.replacing(at(160, 1), *b"ab"));
        let mut all = renamed;
        all.join(&compacted);
        let shown: Vec<_> =
            all.operands().into_iter().map(|(stamp, bytes)| (stamp, bytes.to_vec())).collect();
        assert_eq!(shown, [(at(160, 9), b"ab".to_vec())]);
    }
}
