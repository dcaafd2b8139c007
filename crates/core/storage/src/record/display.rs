//! Records as text for reports.

use super::{Label, Record};
use std::fmt;
use syncline_crdt::{Register, Value};

/// Displays bytes as quoted text if they are printable UTF-8 and as hex otherwise. Long values are cut
/// after 60 characters or 30 bytes.
pub struct BytesPreview<'a>(pub &'a [u8]);

impl fmt::Display for BytesPreview<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARS: usize = 60;
        match std::str::from_utf8(self.0) {
            Ok(text) if !text.chars().any(char::is_control) => {
                let shown: String = text.chars().take(CHARS).collect();
                let more = if shown.len() < text.len() { "…" } else { "" };
                write!(f, "{shown:?}{more}")
            }
            _ => {
                self.0.iter().take(CHARS / 2).try_for_each(|byte| write!(f, "{byte:02x}"))?;
                if self.0.len() > CHARS / 2 { write!(f, "… ({} bytes)", self.0.len()) } else { Ok(()) }
            }
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().map_or(Ok(()), |bytes| BytesPreview(bytes).fmt(f))
    }
}

/// One line: the value, the stamps of the last write and delete, the parent and the depth.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = |f: &mut fmt::Formatter<'_>, register: &Register| {
            write!(f, "{} written {}", BytesPreview(register.bytes()), register.stamp())
        };
        match &self.value {
            Value::Lww(register) => written(f, register)?,
            Value::Opaque(register) => {
                write!(f, "opaque ")?;
                written(f, register)?;
            }
            Value::Frozen(register) => {
                write!(f, "frozen ")?;
                written(f, register)?;
            }
            Value::User(owned) => {
                write!(f, "of {} ", owned.owner)?;
                written(f, &owned.register)?;
            }
            Value::GCounter(counter) => write!(f, "count {}", counter.total())?,
            Value::PnCounter(counter) => write!(f, "count {}", counter.total())?,
            Value::Element(element) => {
                let state = if element.is_present() { "present" } else { "absent" };
                write!(f, "set element, {state}")?;
                for (replica, presence) in element.entries() {
                    write!(f, ", by {replica} added {}", presence.added)?;
                    if presence.removed > 0 {
                        write!(f, " and removed up to {}", presence.removed)?;
                    }
                }
            }
            Value::Rga(text) => write!(f, "text {}", BytesPreview(text.to_string().as_bytes()))?,
            Value::Custom(custom) => {
                write!(f, "{}", custom.name())?;
                for (stamp, bytes) in custom.operands() {
                    write!(f, ", {} written {stamp}", BytesPreview(bytes))?;
                }
            }
            other => write!(f, "{}", other.crdt_type())?,
        }
        write!(f, " (updated {}", self.updated_at)?;
        if self.deleted_at > self.updated_at {
            write!(f, ", deleted {}", self.deleted_at)?;
        }
        write!(f, ", under {} at depth {})", self.parent, self.depth)
    }
}
