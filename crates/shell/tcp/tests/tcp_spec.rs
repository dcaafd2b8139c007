//! What `docs/spec/wire.md` says about the bytes on a TCP stream.

#[path = "../../../core/storage/tests/storage_spec/doc.rs"]
mod doc;

use doc::{Doc, Walk};
use hkdf::Hkdf;
use sha2::Sha256;
use syncline_sync::{
    EncryptionState, Frame, Gossip, Message, Nonce, SharedKey, StreamSide, SyncTransport, TransportError,
};
use syncline_tcp::{ConnectError, MAX_WIRE_BYTES, TcpConfig, TcpTransport, greet};
use syncline_types::ContextId;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const CONTEXT: ContextId = ContextId([0xc7; 32]);
const SALT: [u8; 32] = [1; 32];

fn config() -> TcpConfig {
    TcpConfig::new(CONTEXT, SharedKey([7; 32]))
}

fn block_on<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn packet(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

fn hello(salt: &[u8]) -> Vec<u8> {
    packet(&[b"syncline", &[1][..], salt].concat())
}

/// The keys of a connection, by the document.
fn keys(opener: &[u8], accepter: &[u8]) -> (SharedKey, Nonce) {
    let material = Hkdf::<Sha256>::new(Some(&[opener, accepter].concat()), &config().key.0);
    let (mut key, mut nonce) = ([0; 32], [0; 12]);
    material.expand(b"syncline-tcp v1: key of one connection", &mut key).unwrap();
    material.expand(b"syncline-tcp v1: nonce of one connection", &mut nonce).unwrap();
    (SharedKey(key), Nonce(nonce))
}

fn opener(accepter_salt: &[u8]) -> EncryptionState {
    let mut state = EncryptionState::plain(StreamSide::Opener);
    state.set(Some(keys(&SALT, accepter_salt)));
    state
}

fn message() -> Message {
    Message::Gossip(Gossip::DeltaRequest { wanted: vec![] })
}

/// Checks that a block states these bytes, field by field.
fn states(tag: &str, bytes: &[u8], fields: impl FnOnce(&mut Walk<'_>)) {
    let mut doc = Doc::open("wire.md");
    let mut walk = Walk::new(bytes);
    fields(&mut walk);
    assert!(walk.rest().is_empty(), "bytes of {tag} that the walk does not explain");
    doc.bless("tcp", tag, &walk.lines);
    let block = doc.block("tcp", tag);
    assert_eq!((block.bytes(), block.lines), (bytes.to_vec(), walk.lines), "{tag}");
}

fn sealed(walk: &mut Walk<'_>, counter: u64, what: &str, len: usize) {
    let body = 8 + len + 16;
    walk.fixed(&format!("length = {body}"), &(body as u32).to_be_bytes());
    walk.u64_le("counter", counter);
    walk.opaque(&format!("ciphertext of the {what}"), len);
    walk.opaque("authenticator", 16);
}

#[test]
fn examples_of_a_stream_are_as_specified() {
    states("hello", &hello(&SALT), |walk| {
        walk.fixed("length = 41", &[0, 0, 0, 41]);
        walk.fixed("magic", b"syncline");
        walk.u8("version", 1);
        walk.fixed("salt", &SALT);
    });
    let (SharedKey(key), Nonce(nonce)) = keys(&SALT, &[2; 32]);
    states("connection-key", &key, |walk| walk.opaque("key", 32));
    states("connection-nonce", &nonce, |walk| walk.opaque("base nonce", 12));
    let mut state = opener(&[2; 32]);
    let proof = packet(&state.seal(CONTEXT.as_bytes()).unwrap());
    states("opener-proof", &proof, |walk| sealed(walk, 0, "context", 32));
    let frame = Frame { incarnation: 3, message: message() }.to_wire(CONTEXT);
    let first = packet(&state.seal(&frame).unwrap());
    states("first-frame", &first, |walk| sealed(walk, 1, "frame", frame.len()));
    let text = Doc::open("wire.md").text;
    assert!(text.contains(&format!("| body after it | {MAX_WIRE_BYTES} |")));
}

/// Reads one packet.
async fn read(stream: &mut DuplexStream) -> Vec<u8> {
    let mut body = vec![0; stream.read_u32().await.unwrap() as usize];
    stream.read_exact(&mut body).await.unwrap();
    body
}

/// An opener made from the document alone, and the accepter of the code that it greets.
async fn greeted() -> (DuplexStream, EncryptionState, TcpTransport<DuplexStream>) {
    let (own, mut other) = duplex(1 << 12);
    let opening = async {
        other.write_all(&Doc::open("wire.md").block("tcp", "hello").bytes()).await.unwrap();
        let theirs = read(&mut other).await;
        let salt = theirs.strip_prefix(b"syncline\x01").unwrap();
        assert_eq!(salt.len(), 32);
        let mut state = opener(salt);
        other.write_all(&packet(&state.seal(CONTEXT.as_bytes()).unwrap())).await.unwrap();
        let proof = read(&mut other).await;
        assert_eq!((proof.len(), state.open(&proof).unwrap()), (56, CONTEXT.as_bytes().to_vec()));
        (other, state)
    };
    let config = config();
    let (greeted, (other, state)) = tokio::join!(greet(own, StreamSide::Accepter, &config), opening);
    (other, state, greeted.unwrap())
}

#[test]
fn a_peer_made_from_the_document_is_understood() {
    block_on(async {
        let (mut other, mut state, mut transport) = greeted().await;
        let frame = Frame { incarnation: 3, message: message() }.to_wire(CONTEXT);
        let sealed = state.seal(&frame).unwrap();
        let mut forged = 0;
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            other.write_all(&packet(&flipped)).await.unwrap();
            forged += 1;
            if at % 16 == 15 || at + 1 == sealed.len() {
                // What does not open is dropped; a good message after it arrives.
                let good = state.seal(&frame).unwrap();
                other.write_all(&packet(&good)).await.unwrap();
                let received = transport.recv().await.unwrap().unwrap();
                assert_eq!((received.incarnation, received.message.into_owned()), (3, message()));
            }
        }
        other.write_all(&packet(&sealed)).await.unwrap();
        other.write_all(&packet(&sealed)).await.unwrap();
        let nonsense = state.seal(b"no frame").unwrap();
        other.write_all(&packet(&nonsense)).await.unwrap();
        assert!(transport.recv().await.unwrap().is_some());
        other.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        assert!(matches!(transport.recv().await, Err(TransportError::Frame(_))));
        let dropped = transport.dropped();
        assert_eq!((dropped.forged, dropped.replayed, dropped.malformed), (forged, 1, 1));
    });
}

#[test]
fn a_damaged_hello_is_refused_as_specified() {
    let good = hello(&SALT);
    block_on(async {
        for at in 4..good.len() {
            let (own, mut other) = duplex(1 << 12);
            let mut hello = good.clone();
            hello[at] ^= 2;
            // The proof that belongs to the hello before it was damaged.
            other.write_all(&hello).await.unwrap();
            other.write_all(&packet(&opener(&[2; 32]).seal(CONTEXT.as_bytes()).unwrap())).await.unwrap();
            let error = greet(own, StreamSide::Accepter, &config()).await.unwrap_err();
            let expected = match at {
                4..12 => matches!(error, ConnectError::Foreign),
                12 => matches!(error, ConnectError::Version { found: 3 }),
                _ => matches!(error, ConnectError::WrongKey),
            };
            assert!(expected, "byte {at}: {error}");
        }
        for len in 0..good.len() {
            let (own, mut other) = duplex(1 << 12);
            other.write_all(&good[..len]).await.unwrap();
            other.shutdown().await.unwrap();
            let error = greet(own, StreamSide::Accepter, &config()).await.unwrap_err();
            assert!(matches!(error, ConnectError::Transport(TransportError::Closed)), "{len}: {error}");
        }
    });
}
