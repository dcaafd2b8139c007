//! The canonical bytes of a record, which are stored, sent and hashed.
//!
//! A record has exactly one encoding: the decoder refuses bytes that the encoder would not write, since two
//! encodings of one record would have different digests.

use super::{Label, Record, text_codec};
use syncline_crdt::{
    CrdtType, Custom, Element, GCounter, Operands, OwnedRegister, PnCounter, Presence, Register, Value,
};
use syncline_types::{Decode, DecodeError, Digest, Encode, EntityId, Hlc, Reader, ReplicaId, Writer, limits};

/// `created_at` follows.
const CREATED: u8 = 1;
/// `created_at` equals `updated_at` and is not repeated.
const CREATED_WITH_UPDATE: u8 = 2;
/// `updated_at` follows.
const UPDATED: u8 = 4;
/// `deleted_at` follows.
const DELETED: u8 = 8;
/// The stamp of the register follows: it is neither zero nor `updated_at`.
const OWN_VALUE_STAMP: u8 = 16;
/// The stamp of the register equals `updated_at` and is not repeated.
const VALUE_STAMP_IS_UPDATE: u8 = 32;
/// A label follows.
const LABEL: u8 = 64;
/// The label is a [`Label::Ordered`].
const LABEL_ORDERS: u8 = 128;

/// The digest of the record of `id`: SHA-256 over the id and the canonical bytes of the record.
pub fn own_hash(id: EntityId, record_bytes: &[u8]) -> Digest {
    Digest::of_parts(1, &[id.as_bytes(), record_bytes])
}

impl Record {
    /// The flags that the encoder writes: they follow from the record alone.
    fn flags(&self) -> u8 {
        let mut flags = 0;
        if self.updated_at != Hlc::ZERO {
            flags |= UPDATED;
        }
        if self.created_at != Hlc::MAX {
            let with_update = flags & UPDATED != 0 && self.created_at == self.updated_at;
            flags |= if with_update { CREATED_WITH_UPDATE } else { CREATED };
        }
        if self.deleted_at != Hlc::ZERO {
            flags |= DELETED;
        }
        flags |= match &self.label {
            Label::None => 0,
            Label::Named(_) => LABEL,
            Label::Ordered(_) => LABEL | LABEL_ORDERS,
        };
        if let Value::Lww(register) | Value::Opaque(register) = &self.value
            && register.stamp() != Hlc::ZERO
        {
            flags |=
                if register.stamp() == self.updated_at { VALUE_STAMP_IS_UPDATE } else { OWN_VALUE_STAMP };
        }
        flags
    }
}

impl Record {
    /// The depth of an encoded record, without decoding the rest. O(1).
    pub fn depth_of(bytes: &[u8]) -> Result<u32, DecodeError> {
        decode_depth(&mut Reader::new(bytes))
    }
}

fn decode_depth(input: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let depth = input.varint()?;
    u32::try_from(depth).map_err(|_| DecodeError::TooLarge {
        what: "the depth of a record",
        found: depth,
        limit: limits::MAX_ANCESTORS as u64,
    })
}

impl Encode for Record {
    fn encode(&self, out: &mut Writer) {
        let flags = self.flags();
        out.varint(u64::from(self.depth));
        if self.depth > 1 {
            self.parent.encode(out);
        }
        out.u8(self.crdt_type().tag());
        out.u8(flags);
        for (flag, stamp) in
            [(CREATED, self.created_at), (UPDATED, self.updated_at), (DELETED, self.deleted_at)]
        {
            if flags & flag != 0 {
                stamp.encode(out);
            }
        }
        if let Some(label) = self.label.bytes() {
            out.bytes(label);
        }
        match &self.value {
            Value::Empty
            | Value::Map
            | Value::Set
            | Value::SortedMap
            | Value::SortedSet
            | Value::Vector
            | Value::UserStorage
            | Value::FrozenStorage => {}
            Value::User(owned) => {
                owned.owner.encode(out);
                encode_register(out, &owned.register);
            }
            Value::Frozen(register) => encode_register(out, register),
            Value::Custom(custom) => {
                out.bytes(custom.name().as_bytes());
                encode_entries(out, custom.writers(), |out, operands| {
                    out.varint(operands.covered);
                    out.varint(operands.live.len() as u64);
                    for (time, bytes) in &operands.live {
                        out.varint(*time);
                        out.bytes(bytes);
                    }
                });
            }
            Value::Rga(text) => text_codec::encode(text, out),
            Value::Lww(register) | Value::Opaque(register) => {
                if flags & OWN_VALUE_STAMP != 0 {
                    register.stamp().encode(out);
                }
                out.bytes(register.bytes());
            }
            Value::GCounter(counter) => {
                encode_entries(out, counter.entries(), |out, count| out.varint(count));
            }
            Value::PnCounter(counter) => encode_entries(out, counter.entries(), |out, (added, taken)| {
                out.varint(added);
                out.varint(taken);
            }),
            Value::Element(element) => encode_entries(out, element.entries(), |out, presence| {
                out.varint(presence.added);
                out.varint(presence.removed);
            }),
        }
    }
}

impl Decode for Record {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let depth = decode_depth(input)?;
        let parent = if depth > 1 { EntityId::decode(input)? } else { EntityId::ROOT };
        let tag = input.u8()?;
        let crdt_type = CrdtType::from_tag(tag)
            .ok_or_else(|| DecodeError::UnknownTag { what: "type of value", found: u64::from(tag) })?;
        let flags = input.u8()?;
        let mut stamp =
            |flag: u8, absent: Hlc| if flags & flag != 0 { Hlc::decode(input) } else { Ok(absent) };
        let mut created_at = stamp(CREATED, Hlc::MAX)?;
        let updated_at = stamp(UPDATED, Hlc::ZERO)?;
        let deleted_at = stamp(DELETED, Hlc::ZERO)?;
        if flags & CREATED_WITH_UPDATE != 0 {
            created_at = updated_at;
        }
        let label = match flags & (LABEL | LABEL_ORDERS) {
            0 => Label::None,
            LABEL => Label::Named(input.bytes(limits::MAX_LABEL_BYTES, "a label")?.into()),
            _ => Label::Ordered(input.bytes(limits::MAX_LABEL_BYTES, "a label")?.into()),
        };
        let value = decode_value(input, crdt_type, flags, updated_at)?;
        let record = Self { depth, parent, created_at, updated_at, deleted_at, label, value };
        // Flags that the encoder would not choose, or a register that a join would have emptied: a second
        // encoding of some record.
        if record.flags() != flags || !record.is_observable() {
            return Err(DecodeError::NotCanonical { what: "a record" });
        }
        Ok(record)
    }
}

fn decode_value(
    input: &mut Reader<'_>,
    crdt_type: CrdtType,
    flags: u8,
    updated_at: Hlc,
) -> Result<Value, DecodeError> {
    Ok(match crdt_type {
        CrdtType::Placeholder => Value::Empty,
        CrdtType::UnorderedMap => Value::Map,
        CrdtType::UnorderedSet => Value::Set,
        CrdtType::SortedMap => Value::SortedMap,
        CrdtType::SortedSet => Value::SortedSet,
        CrdtType::Vector => Value::Vector,
        CrdtType::UserStorage => Value::UserStorage,
        CrdtType::FrozenStorage => Value::FrozenStorage,
        CrdtType::UserValue => {
            let owner = ReplicaId::decode(input)?;
            Value::User(OwnedRegister { owner, register: decode_register(input)? })
        }
        CrdtType::FrozenValue => Value::Frozen(decode_register(input)?),
        CrdtType::Custom => {
            let name = input.bytes(limits::MAX_TYPE_NAME_BYTES, "the name of a type")?;
            let name = String::from_utf8(name.to_vec());
            let name = name.map_err(|_| DecodeError::NotCanonical { what: "the name of a type" })?;
            let writers = decode_entries(input, decode_operands)?;
            let custom = Custom::from_writers(name, writers);
            Value::Custom(custom.ok_or(DecodeError::NotCanonical { what: "the operands of a custom value" })?)
        }
        CrdtType::Rga => Value::Rga(text_codec::decode(input)?),
        CrdtType::LwwRegister | CrdtType::Opaque => {
            let stamp = match flags & (OWN_VALUE_STAMP | VALUE_STAMP_IS_UPDATE) {
                0 => Hlc::ZERO,
                OWN_VALUE_STAMP => Hlc::decode(input)?,
                _ => updated_at,
            };
            let bytes = input.bytes(limits::MAX_VALUE_BYTES, "the value of a register")?;
            // A register that was never written is empty.
            if stamp == Hlc::ZERO && !bytes.is_empty() {
                return Err(DecodeError::NotCanonical { what: "a register" });
            }
            let register = Register::new(stamp, bytes);
            if crdt_type == CrdtType::Opaque { Value::Opaque(register) } else { Value::Lww(register) }
        }
        CrdtType::GCounter => {
            Value::GCounter(GCounter::from_entries(decode_entries(input, |input| input.varint())?))
        }
        CrdtType::PnCounter => Value::PnCounter(PnCounter::from_entries(decode_entries(input, |input| {
            Ok((input.varint()?, input.varint()?))
        })?)),
        CrdtType::SetElement => Value::Element(Element::from_entries(decode_entries(input, |input| {
            Ok(Presence { added: input.varint()?, removed: input.varint()? })
        })?)),
    })
}

/// The operands of one writer. Each is at most as large as one write; [`Record::check_write`] bounds how many one write
/// has.
fn decode_operands(input: &mut Reader<'_>) -> Result<Operands, DecodeError> {
    let mut operands = Operands { covered: input.varint()?, ..Operands::default() };
    for _ in 0..input.length(usize::MAX, "the operands of a writer")? {
        let time = input.varint()?;
        if operands.live.last_key_value().is_some_and(|(last, _)| *last >= time) {
            return Err(DecodeError::NotCanonical { what: "the order of operands" });
        }
        let bytes = input.bytes(limits::MAX_VALUE_BYTES, "an operand")?;
        operands.live.insert(time, bytes.into());
    }
    Ok(operands)
}

fn encode_register(out: &mut Writer, register: &Register) {
    register.stamp().encode(out);
    out.bytes(register.bytes());
}

fn decode_register(input: &mut Reader<'_>) -> Result<Register, DecodeError> {
    let stamp = Hlc::decode(input)?;
    Ok(Register::new(stamp, input.bytes(limits::MAX_VALUE_BYTES, "a value")?))
}

fn encode_entries<T>(
    out: &mut Writer,
    entries: impl ExactSizeIterator<Item = (ReplicaId, T)>,
    mut each: impl FnMut(&mut Writer, T),
) {
    out.varint(entries.len() as u64);
    for (replica, entry) in entries {
        replica.encode(out);
        each(out, entry);
    }
}

fn decode_entries<T>(
    input: &mut Reader<'_>,
    mut each: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<(ReplicaId, T)>, DecodeError> {
    // `length` is bounded by the remaining bytes; the limit on what a peer may send is in `Record::check_write`.
    let len = input.length(usize::MAX, "the replicas of a value")?;
    let mut entries: Vec<(ReplicaId, T)> = Vec::with_capacity(len.min(64));
    for _ in 0..len {
        let replica = ReplicaId::decode(input)?;
        if entries.last().is_some_and(|(last, _)| *last >= replica) {
            return Err(DecodeError::NotCanonical { what: "the order of replicas" });
        }
        entries.push((replica, each(input)?));
    }
    Ok(entries)
}
