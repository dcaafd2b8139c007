//! The formulas of `docs/spec/wire.md`, computed once more from what the document says.

use super::doc::Walk;
use super::samples::*;
use super::values;
use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit};
use syncline_storage::{Action, ApplyContext, Record, own_hash};
use syncline_store::{MemoryStore, Store};
use syncline_sync::*;
use syncline_types::{Digest, Encode, EntityId, Moment, SimTime};

/// What the id of a delta, and a signature, are over first.
pub(super) const DELTA_DOMAIN: &str = "syncline/delta/v2";
pub(super) const SIGNATURE_DOMAIN: &str = "syncline/delta-signature/v1";

/// The finalizer of SplitMix64.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn first_eight(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

fn key() -> u64 {
    first_eight(&Digest::of(12, CONTEXT.as_bytes()).0)
}

fn symbol(id: EntityId, own: Digest) -> u64 {
    let key_of_short_ids = &Digest::of(12, CONTEXT.as_bytes()).0[8..24];
    let short_id = u64::from(u32::from_be_bytes(values::locator(key_of_short_ids, &id.0)) >> 4);
    short_id << 16 | mix(first_eight(&own.0) ^ key()) >> 48
}

fn seed(symbol: u64) -> u64 {
    mix(symbol ^ key().rotate_left(32))
}

fn cell_of(symbol: u64) -> u64 {
    symbol | mix(seed(symbol)) & 0x00ff_f000_0000_0000
}

/// The cells that a symbol is in, of the first `count`.
fn places(symbol: u64, count: u64) -> Vec<u64> {
    let mut at = 0;
    let mut state = seed(symbol);
    let mut places = Vec::new();
    while at < count {
        places.push(at);
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let root = (mix(state) >> 32).isqrt() + 1;
        let up = (2 * at + 3) * (65_537 - root);
        let down = 2 * root;
        at += up.div_ceil(down).max(1);
    }
    places
}

fn bytes_of(cells: &[u64]) -> Vec<u8> {
    cells.iter().flat_map(|cell| cell.to_le_bytes()[..7].to_vec()).collect()
}

/// The records of the sketch in the document: the root's and one register.
fn records() -> [(EntityId, Digest); 2] {
    let root = Record::placeholder(0, EntityId::ROOT).to_bytes();
    let register = register_record().to_bytes();
    [(EntityId::ROOT, root), (entity(1), register)].map(|(id, bytes)| (id, own_hash(id, &bytes)))
}

#[test]
fn sketches_follow_the_document() {
    let mut cells = vec![0; 128];
    let mut counts = vec![0u64; 128];
    for (id, own) in records() {
        let symbol = symbol(id, own);
        for at in places(symbol, 128) {
            cells[at as usize] ^= cell_of(symbol);
            counts[at as usize] += 1;
        }
    }
    let mut head = vec![32];
    head.extend(bytes_of(&cells[..32]));
    head.extend(counts[8..32].iter().flat_map(|count| (*count as u16).to_le_bytes()));
    head.extend(counts[32..].iter().map(|count| *count as u8));
    assert_eq!(sketch().head().to_bytes(), head);
}

#[test]
fn bloom_filters_follow_the_document() {
    let salt = 0x0123_4567_89ab_cdef_u64;
    let own = entry().own.0;
    let first = mix(first_eight(&own) ^ salt);
    let step = mix(first_eight(&own[8..]).wrapping_add(salt)) | 1;
    let mut words = [0u64; 2];
    for n in 0..7u64 {
        let bit = first.wrapping_add(n.wrapping_mul(step)) % 128;
        words[(bit / 64) as usize] |= 1 << (bit % 64);
    }
    let expected = [&salt.to_le_bytes()[..], &[2], &words[0].to_le_bytes(), &words[1].to_le_bytes()].concat();
    assert_eq!(bloom_filter().to_bytes(), expected);
}

/// A state of two records is put through a filter that everything passes.
#[test]
fn filtered_iblts_follow_the_document() {
    let mut store = MemoryStore::default();
    let moment = Moment::at(SimTime::from_millis(10_000));
    let begin = |store: &MemoryStore| {
        let work = Transaction::begin(store.view(), DeltaLog::default(), ApplyContext::new(moment)).unwrap();
        work.with_gate(gate())
    };
    let mut work = begin(&store);
    work.state.merge_record(entity(1), &register_record(), &ApplyContext::new(moment)).unwrap();
    store.apply(work.finish().unwrap().0).unwrap();
    let salt = 0x0123_4567_89ab_cdef_u64;
    let theirs = [&salt.to_le_bytes()[..], &[2, 1], &[0xff; 8]].concat();
    let theirs = syncline_types::Decode::from_bytes(&theirs).unwrap();
    let asked =
        ExchangeRequest { questions: vec![Question::SymbolFilter(theirs)], ..ExchangeRequest::default() };
    let ours = handshakes().pop().unwrap().1;
    let reply =
        respond(&mut begin(&store), &mut ViewCache::new(1), &ours, &Request::Exchange(asked)).unwrap();
    let Response::Exchange(reply) = reply else { panic!("{reply:?}") };
    let [Answer::FilteredIblt(FilteredIblt { absent, passed, cells })] = &reply.answers[..] else {
        panic!("{reply:?}")
    };
    assert!(absent.is_empty());
    let passed = passed.to_bytes();
    let own_salt = salt.rotate_left(32);
    let symbols = records().map(|(id, own)| symbol(id, own));
    let mut walk = Walk::new(&passed);
    walk.u64_le("salt", own_salt);
    walk.number("records", 2);
    let words = walk.any_number("words");
    let mut expected = vec![0u64; words as usize];
    for symbol in symbols {
        let bit = (u128::from(mix(symbol ^ own_salt)) * u128::from(64 * words)) >> 64;
        expected[(bit / 64) as usize] |= 1 << (bit % 64);
    }
    let expected: Vec<u8> = expected.iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(walk.rest(), expected);
    let third = cells.len() as u64 / 3;
    let mut table = vec![0; cells.len()];
    for symbol in symbols {
        let draw = mix(seed(symbol).wrapping_add(salt | 1));
        let within = |bits: u64| ((bits & 0xffff_ffff) * third) >> 32;
        for at in [within(draw), third + within(draw >> 32), 2 * third + within(mix(draw))] {
            table[at as usize] ^= cell_of(symbol);
        }
    }
    let response = Response::Exchange(reply.clone());
    let message = Message::Response { session: SessionId(1), id: RequestId(1), response }.to_bytes();
    let cells = bytes_of(&table);
    assert!(message.windows(cells.len()).any(|window| window == cells), "the cells of the table");
}

#[test]
fn identities_follow_the_document() {
    let le64 = |n: usize| (n as u64).to_le_bytes();
    // The first part of a domain-separated hash is the length of the domain: its first byte stands here as
    // the tag.
    let delta = first_delta();
    let mut content = delta.to_bytes();
    assert_eq!(content.pop(), Some(0), "an empty signature");
    let expected = Digest::of_parts(17, &[&[0; 7], DELTA_DOMAIN.as_bytes(), &le64(content.len()), &content]);
    assert_eq!(delta.id().0, expected.0);
    let label = b"greeting";
    let parts: [&[u8]; 6] =
        [&[0; 7], b"syncline/entity/v1", &le64(32), &EntityId::ROOT.0, &le64(label.len()), label];
    assert_eq!(delta.actions[0].action.id().0, Digest::of_parts(18, &parts).0);
    assert!(matches!(delta.actions[0].action, Action::Add { .. }));
}

#[test]
fn signatures_follow_the_document() {
    let delta = second_delta();
    let statement = [SIGNATURE_DOMAIN.as_bytes(), &[0; 5], &CONTEXT.as_bytes()[..], &delta.id().0].concat();
    assert_eq!(Statement { context: CONTEXT, delta: delta.id() }.to_bytes()[..], statement);
    let expected = Digest::of_parts(0x53, &[&SECRET, &statement]);
    assert_eq!(delta.signature.0, expected.0[..16]);
    assert_eq!(gate().lets_in(&delta), Ok(()));
    let mut altered = delta;
    altered.signature.0[0] ^= 1;
    assert_eq!(gate().lets_in(&altered), Err(DeltaRefusal::BadSignature));
}

#[test]
fn sealed_messages_follow_the_document() {
    let key = [0x42; 32];
    let base = [0x24u8; 12];
    for (side, first_bit) in [(StreamSide::Opener, 0), (StreamSide::Accepter, 0x80)] {
        let mut state = EncryptionState::plain(side);
        state.set(Some((SharedKey(key), Nonce(base))));
        for counter in 0..300u64 {
            let sealed = state.seal(b"hello").unwrap();
            let mut nonce = base;
            nonce[0] ^= first_bit;
            nonce[4..].iter_mut().zip(counter.to_le_bytes()).for_each(|(byte, count)| *byte ^= count);
            let body = ChaCha20Poly1305::new(&key.into()).encrypt(&nonce.into(), &b"hello"[..]).unwrap();
            assert_eq!(sealed, [&counter.to_le_bytes()[..], &body].concat());
        }
    }
}
