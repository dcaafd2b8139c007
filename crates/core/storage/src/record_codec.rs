//! The canonical bytes of a record: what is stored, sent and hashed.

use crate::record::Record;
use syncline_crdt::{CrdtType, Element, GCounter, PnCounter, Presence, Register, Value};
use syncline_types::{Decode, DecodeError, Digest, Encode, EntityId, Hlc, Reader, ReplicaId, Writer, limits};

const CREATED: u8 = 1;
const CREATED_WITH_UPDATE: u8 = 2;
const UPDATED: u8 = 4;
const DELETED: u8 = 8;
/// The register's stamp is neither "never" nor that of the record's last write.
const OWN_VALUE_STAMP: u8 = 16;
/// The register holds a value written by the record's last write.
const VALUE_STAMP_IS_UPDATE: u8 = 32;
const ALL_FLAGS: u8 = 63;

/// The digest of one record: commits to its id and to everything a later join can see.
pub fn own_hash(id: EntityId, record_bytes: &[u8]) -> Digest {
    Digest::of_parts(1, &[id.as_bytes(), record_bytes])
}

impl Record {
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
        if let Value::Lww(register) = &self.value
            && register.stamp() != Hlc::ZERO
        {
            flags |=
                if register.stamp() == self.updated_at { VALUE_STAMP_IS_UPDATE } else { OWN_VALUE_STAMP };
        }
        flags
    }
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
        match &self.value {
            Value::Empty | Value::Map | Value::Set => {}
            Value::Lww(register) => {
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
        let depth = input.varint()?;
        let depth = u32::try_from(depth).map_err(|_| DecodeError::TooLarge {
            what: "the depth of a record",
            found: depth,
            limit: limits::MAX_ANCESTORS as u64,
        })?;
        let parent = if depth > 1 { EntityId::decode(input)? } else { EntityId::ROOT };
        let tag = input.u8()?;
        let crdt_type = CrdtType::from_tag(tag)
            .ok_or_else(|| DecodeError::UnknownTag { what: "type of value", found: u64::from(tag) })?;
        let flags = input.u8()?;
        if flags & !ALL_FLAGS != 0 {
            return Err(DecodeError::UnknownTag { what: "set of record flags", found: u64::from(flags) });
        }
        let mut stamp =
            |flag: u8, absent: Hlc| if flags & flag != 0 { Hlc::decode(input) } else { Ok(absent) };
        let mut created_at = stamp(CREATED, Hlc::MAX)?;
        let updated_at = stamp(UPDATED, Hlc::ZERO)?;
        let deleted_at = stamp(DELETED, Hlc::ZERO)?;
        if flags & CREATED_WITH_UPDATE != 0 {
            created_at = updated_at;
        }
        let value = decode_value(input, crdt_type, flags, updated_at)?;
        let record = Self { depth, parent, created_at, updated_at, deleted_at, value };
        let mut normal = record.clone();
        normal.drop_unobservable();
        if record.flags() != flags || normal != record {
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
        CrdtType::LwwRegister => {
            let stamp = match flags & (OWN_VALUE_STAMP | VALUE_STAMP_IS_UPDATE) {
                0 => Hlc::ZERO,
                OWN_VALUE_STAMP => Hlc::decode(input)?,
                _ => updated_at,
            };
            let bytes = input.bytes(limits::MAX_VALUE_BYTES, "the value of a register")?;
            if stamp == Hlc::ZERO && !bytes.is_empty() {
                return Err(DecodeError::NotCanonical { what: "a register" });
            }
            Value::Lww(Register::new(stamp, bytes.to_vec()))
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
    // Bounded by the bytes that are there; how many may come from a peer is `Record::check`'s rule.
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
