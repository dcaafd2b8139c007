//! `docs/spec/wire.md` says what the code does: its examples are decoded by the code, compared field by field
//! with what the document states, encoded again, cut and damaged. So are the rows of the sync layer in
//! `docs/spec/storage.md`.

#[path = "../../../storage/tests/storage_spec/doc.rs"]
pub(crate) mod doc;
mod formulas;
mod golden;
mod rows;
mod samples;
#[path = "../../../storage/tests/storage_spec/values.rs"]
mod values;
mod walk;

use doc::{Doc, Example, KindOf, Walk, check, name_of, read_with};
use samples::CONTEXT;
use syncline_sync::*;
use syncline_types::{Encode, EntityId, limits};

fn frame_error(error: FrameError) -> String {
    match error {
        FrameError::TooLarge { found, .. } => format!("TooLarge({found})"),
        FrameError::Decode(error) => name_of(error),
        FrameError::Version { found } => format!("Version({found})"),
        FrameError::Context => "Context".into(),
    }
}

fn frame(frame: &Frame, walk: &mut Walk<'_>) {
    let Frame { incarnation, message } = frame;
    let checksum = crc32fast::hash(&walk.rest()[4..]);
    walk.exact("CRC-32 of the bytes that follow", &checksum.to_le_bytes());
    walk.u8("format version", 1);
    walk.fixed("tag of the context", &CONTEXT.as_bytes()[..8]);
    walk.number("incarnation", *incarnation);
    walk::message(message, walk);
}

fn frames() -> Example {
    let bytes = Frame { incarnation: 3, message: samples::heartbeat() }.to_wire(CONTEXT);
    let encode = |frame: &Frame| frame.to_wire(CONTEXT);
    let decode = |bytes: &[u8]| Frame::from_wire(bytes, CONTEXT);
    Example {
        cut: &["Truncated", "Checksum"],
        longer: Some("Checksum"),
        flipped: Some("Checksum"),
        ..Example::new("frame/heartbeat", bytes, move |bytes| {
            read_with(bytes, decode, frame_error, encode, frame)
        })
    }
}

/// The records of a snapshot page, before compression.
fn page() -> Example {
    let decode = |bytes: &[u8]| {
        SnapshotPage { packed: bytes.to_vec(), unpacked_len: 0, ..samples::page(false) }.unpack()
    };
    let encode = |records: &Vec<(EntityId, _)>| SnapshotPage::pack(records, false).0;
    let bytes = samples::page(false).packed;
    Example::new("page/two-records", bytes, move |bytes| {
        read_with(bytes, decode, name_of, encode, |records, walk| {
            walk.list("records", records, |walk, (id, record)| {
                values::id("entity", walk, *id);
                walk.bytes("record", record);
            });
        })
    })
}

/// The first message that the opener of a stream seals.
fn sealed() -> Example {
    let state = |side| {
        let mut state = EncryptionState::plain(side);
        state.set(Some((SharedKey([0x42; 32]), Nonce([0x24; 12]))));
        state
    };
    let seal = move |plain: &[u8]| state(StreamSide::Opener).seal(plain).unwrap();
    let read = move |bytes: &[u8]| {
        let open = |bytes: &[u8]| state(StreamSide::Accepter).open(bytes);
        let error = |error: EncryptionError| format!("{error:?}");
        read_with(
            bytes,
            open,
            error,
            |plain| seal(plain),
            |plain, walk| {
                walk.u64_le("counter", 0);
                walk.opaque("ciphertext", plain.len());
                walk.opaque("authenticator", 16);
            },
        )
    };
    Example {
        cut: &["Truncated", "Forged"],
        longer: Some("Forged"),
        flipped: Some("Forged"),
        ..Example::new("sealed/first", seal(b"hello"), read)
    }
}

fn examples() -> Vec<Example> {
    let mut all = vec![frames(), page(), sealed()];
    for (name, value) in samples::messages() {
        let example = Example::of(&format!("message/{name}"), &value, walk::message);
        // The fields of another version are not looked at: they may be anything.
        all.push(match value {
            Message::Request { request: Request::ForeignHandshake { fields, .. }, .. } => {
                Example { longer: None, optional: fields.len(), ..example }
            }
            _ => example,
        });
    }
    for (name, value) in samples::handshakes() {
        all.push(Example::of(&format!("handshake/{name}"), &value, walk::handshake));
    }
    for (name, value) in samples::deltas() {
        all.push(Example::of(&format!("delta/{name}"), &value, walk::delta));
    }
    all.push(Example::of("bloom-filter/one-record", &samples::bloom_filter(), walk::bloom_filter));
    all.push(Example::of("one-bit-filter/two-bits", &samples::one_bit_filter(), walk::one_bit_filter));
    all.push(Example::of("short-ids/none", &ShortIds::default(), walk::short_ids));
    all.push(Example::of("short-ids/one", &ShortIds::of([0x010_1010]), walk::short_ids));
    all.push(Example::of("short-ids/three", &samples::short_ids(), walk::short_ids));
    let cursor =
        |cursor: &syncline_storage::Cursor, walk: &mut Walk<'_>| walk::cursor(&cursor.to_bytes(), walk);
    all.push(Example::of("cursor/start", &syncline_storage::Cursor::default(), cursor));
    all.push(Example::of("cursor/below-the-root", &samples::cursor(), cursor));
    all.push(Example::of("varint/127", &127, |number, walk| walk.number("number", *number)));
    all.push(Example::of("varint/300", &300, |number, walk| walk.number("number", *number)));
    all.push(Example::of("varint/greatest", &u64::MAX, |number, walk| walk.number("number", *number)));
    all
}

#[test]
fn examples_of_the_wire_are_the_code() {
    let mut doc = Doc::open("wire.md");
    let kinds: Vec<KindOf> = walk::KINDS.to_vec();
    check(&mut doc, "wire", &examples(), &kinds);
    doc.has_rows_of(&kinds);
}

#[test]
fn examples_of_sync_rows_are_the_code() {
    let mut doc = Doc::open("storage.md");
    check(&mut doc, "sync-row", &rows::examples(), rows::KINDS);
    doc.has_rows_of(rows::KINDS);
}

#[test]
fn a_compressed_page_is_the_same_page() {
    let (plain, compressed) = (samples::page(false), samples::page(true));
    assert_ne!(plain.packed, compressed.packed);
    assert_eq!(plain.unpack(), compressed.unpack());
    let claiming = |unpacked_len| SnapshotPage { unpacked_len, ..compressed.clone() }.unpack();
    assert_eq!(claiming(compressed.unpacked_len + 1), plain.unpack(), "a larger bound does no harm");
    let shorter = claiming(compressed.unpacked_len - 1).unwrap_err();
    assert_eq!(name_of(shorter), "NotCanonical");
    let huge = SnapshotPage { unpacked_len: limits::MAX_PAGE_BYTES as u64 + 1, ..compressed };
    assert_eq!(name_of(huge.unpack().unwrap_err()), "TooLarge(4194305, limit 4194304)");
}

#[test]
fn a_frame_that_is_too_large_is_refused() {
    let bytes = vec![0; limits::MAX_FRAME_BYTES + 1];
    assert_eq!(frame_error(Frame::from_wire(&bytes, CONTEXT).unwrap_err()), "TooLarge(4194305)");
}

/// Every constant that the document states is the one of the code.
#[test]
fn limits_are_those_of_the_code() {
    use syncline_types::limits::*;
    let doc = Doc::open("wire.md");
    let stated = [
        ("MAX_FRAME_BYTES", MAX_FRAME_BYTES as u64),
        ("MAX_VALUE_BYTES", MAX_VALUE_BYTES as u64),
        ("MAX_REPLICAS", MAX_REPLICAS as u64),
        ("MAX_DELTA_SEQ", MAX_DELTA_SEQ),
        ("MAX_DELTA_BYTES", MAX_DELTA_BYTES as u64),
        ("MAX_ANCESTORS", MAX_ANCESTORS as u64),
        ("MAX_LABEL_BYTES", MAX_LABEL_BYTES as u64),
        ("MAX_TYPE_NAME_BYTES", MAX_TYPE_NAME_BYTES as u64),
        ("MAX_ACTIONS_PER_DELTA", MAX_ACTIONS_PER_DELTA as u64),
        ("MAX_PARENTS", MAX_PARENTS as u64),
        ("MAX_DELTAS_PER_FRAME", MAX_DELTAS_PER_FRAME as u64),
        ("MAX_QUESTIONS", MAX_QUESTIONS as u64),
        ("MAX_FILTER_BYTES", MAX_FILTER_BYTES as u64),
        ("MAX_CELLS", MAX_CELLS as u64),
        ("MAX_IBLT_CELLS", MAX_IBLT_CELLS as u64),
        ("MAX_SHORT_IDS", MAX_SHORT_IDS as u64),
        ("MAX_CELL_INDEX", u64::from(MAX_CELL_INDEX)),
        ("MAX_MISSING", MAX_MISSING as u64),
        ("MAX_RECORDS_PER_FRAME", MAX_RECORDS_PER_FRAME as u64),
        ("PAGE_BYTES", PAGE_BYTES as u64),
        ("SNAPSHOT_PAGE_BYTES", SNAPSHOT_PAGE_BYTES as u64),
        ("MAX_PAGE_BYTES", MAX_PAGE_BYTES as u64),
        ("MAX_SIGNATURE_BYTES", MAX_SIGNATURE_BYTES as u64),
        ("MAX_CHILDREN", MAX_CHILDREN as u64),
        ("MAX_PROTOCOLS", MAX_PROTOCOLS as u64),
        ("SYNC_PROTOCOL_VERSION", u64::from(SYNC_PROTOCOL_VERSION)),
    ];
    for (name, value) in stated {
        assert!(doc.text.contains(&format!("| `{name}` | {value} |")), "{name} is {value}");
    }
}

/// The domains of hashes in the table of versions are those with which `formulas` computes the hashes.
#[test]
fn domains_of_hashes_are_in_the_table_of_versions() {
    let doc = Doc::open("wire.md");
    let row =
        format!("| domains of hashes | `{}`, `{}` |", formulas::DELTA_DOMAIN, formulas::SIGNATURE_DOMAIN);
    assert!(doc.text.contains(&row), "{row}");
    let domain = |text: &str| text.matches("syncline/delta/v").count();
    assert_eq!(
        domain(&doc.text),
        doc.text.matches(formulas::DELTA_DOMAIN).count(),
        "no other version is named"
    );
}
