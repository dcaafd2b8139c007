//! No two sealed messages ever share a key and a nonce, whatever an attacker replays, reflects or connects.
//!
//! The test reads what each end writes, derives key and nonce of each sealed message as `docs/spec/wire.md` states
//! them, and opens the message with them: so these are the key and the nonce that were used.

use crate::side::*;
use hkdf::Hkdf;
use sha2::Sha256;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use syncline_sync::{
    EncryptionState, Gossip, Message, Nonce, SharedKey, StreamMessage, StreamSide, SyncTransport,
};
use syncline_tcp::{ConnectError, TcpConfig, greet};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

/// A stream that records what is written to it.
struct Tapped {
    inner: DuplexStream,
    written: Rc<RefCell<Vec<u8>>>,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(taken)) = polled {
            self.written.borrow_mut().extend(&bytes[..taken]);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// One end of a connection, and what it has written.
struct End {
    side: StreamSide,
    stream: Tapped,
    written: Rc<RefCell<Vec<u8>>>,
}

/// An honest end with this side, and the other end of its stream.
fn end(side: StreamSide) -> (End, DuplexStream) {
    let (inner, other) = duplex(1 << 16);
    let written = Rc::new(RefCell::new(Vec::new()));
    (End { side, stream: Tapped { inner, written: written.clone() }, written }, other)
}

/// The packets in `bytes`.
fn packets(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<4>() {
        let (body, rest) = rest.split_at(u32::from_be_bytes(*head) as usize);
        found.push(body.to_vec());
        bytes = rest;
    }
    found
}

fn salt(hello: &[u8]) -> [u8; 32] {
    hello.strip_prefix(b"syncline\x01").expect("a hello").try_into().expect("a salt")
}

/// The keys of a connection, by the document.
fn keys(shared: &SharedKey, opener: &[u8; 32], accepter: &[u8; 32]) -> (SharedKey, Nonce) {
    let material = Hkdf::<Sha256>::new(Some(&[&opener[..], accepter].concat()), &shared.0);
    let mut key = [0; 32];
    let mut nonce = [0; 12];
    material.expand(b"syncline-tcp v1: key of one connection", &mut key).unwrap();
    material.expand(b"syncline-tcp v1: nonce of one connection", &mut nonce).unwrap();
    (SharedKey(key), Nonce(nonce))
}

/// Every pair of a key and a nonce that was used so far.
#[derive(Default)]
struct UsedPairs(BTreeSet<([u8; 32], [u8; 12])>);

impl UsedPairs {
    /// Adds the pairs of what an end of side `side` has `written` after it received the salt `theirs`.
    fn add(&mut self, shared: &SharedKey, side: StreamSide, written: &[u8], theirs: &[u8; 32]) -> usize {
        let packets = packets(written);
        let ours = salt(&packets[0]);
        let (opener, accepter) = if side == StreamSide::Opener { (&ours, theirs) } else { (theirs, &ours) };
        let (key, base) = keys(shared, opener, accepter);
        let (other, direction) = match side {
            StreamSide::Opener => (StreamSide::Accepter, 0),
            StreamSide::Accepter => (StreamSide::Opener, 0x80),
        };
        let mut reader = EncryptionState::plain(other);
        reader.set(Some((key.clone(), base)));
        for sealed in &packets[1..] {
            reader.open(sealed).expect("the document's keys open what was sealed");
            let mut nonce = base.0;
            nonce[0] ^= direction;
            (0..8).for_each(|at| nonce[4 + at] ^= sealed[at]);
            assert!(self.0.insert((key.0, nonce)), "a key and a nonce are used twice");
        }
        packets.len() - 1
    }
}

fn message(n: u64) -> StreamMessage<'static> {
    let message = Message::Gossip(Gossip::DeltaRequest { wanted: vec![] });
    StreamMessage { incarnation: n, message: Cow::Owned(message) }
}

/// What the two ends of an honest connection wrote: the opener, the accepter.
async fn honest_connection(config: &TcpConfig, messages: u64) -> (Vec<u8>, Vec<u8>) {
    let (inner, other) = duplex(1 << 16);
    let tap = |side, inner| {
        let written = Rc::new(RefCell::new(Vec::new()));
        End { side, stream: Tapped { inner, written: written.clone() }, written }
    };
    let a = tap(StreamSide::Opener, inner);
    let b = tap(StreamSide::Accepter, other);
    let ours = a.written.clone();
    let theirs = b.written.clone();
    let (one, two) = tokio::join!(greet(a.stream, a.side, config), greet(b.stream, b.side, config));
    let mut one = one.unwrap();
    let mut two = two.unwrap();
    for n in 0..messages {
        // The same message again, as a retransmission, and in both directions.
        for _ in 0..2 {
            one.send(&message(n)).await.unwrap();
            two.send(&message(n)).await.unwrap();
            assert_eq!((one.recv().await, two.recv().await), (Ok(Some(message(n))), Ok(Some(message(n)))));
        }
    }
    drop((one, two));
    (ours.take(), theirs.take())
}

/// Two honest ends of any sides, which an attacker connects.
async fn crossed(config: &TcpConfig, sides: [StreamSide; 2]) -> [(Vec<u8>, Result<(), ConnectError>); 2] {
    let [(a, mut a_other), (b, mut b_other)] = sides.map(end);
    let ours = a.written.clone();
    let theirs = b.written.clone();
    let carrying = async {
        let _ended = tokio::io::copy_bidirectional(&mut a_other, &mut b_other).await;
    };
    let greet_and_leave = async |end: End| greet(end.stream, end.side, config).await.map(drop);
    let (one, two, ()) = tokio::join!(greet_and_leave(a), greet_and_leave(b), carrying);
    [(ours.take(), one), (theirs.take(), two)]
}

/// An honest end that meets an attacker, who plays back `recorded` bytes.
async fn played_back(
    config: &TcpConfig,
    side: StreamSide,
    recorded: &[u8],
) -> (Vec<u8>, Result<(), ConnectError>) {
    let (own, mut other) = end(side);
    let written = own.written.clone();
    let attack = async {
        let _refused = other.write_all(recorded).await;
        let mut heard = Vec::new();
        let _ended = other.read_to_end(&mut heard).await;
    };
    let greeting = async { greet(own.stream, side, config).await.map(drop) };
    let (greeted, ()) = tokio::join!(greeting, attack);
    (written.take(), greeted)
}

/// An honest end whose own bytes are sent back to it.
async fn reflected(config: &TcpConfig, side: StreamSide) -> (Vec<u8>, Result<(), ConnectError>) {
    let (own, other) = end(side);
    let written = own.written.clone();
    let echo = async {
        let (mut reader, mut writer) = tokio::io::split(other);
        let _ended = tokio::io::copy(&mut reader, &mut writer).await;
    };
    let greeting = async { greet(own.stream, side, config).await.map(drop) };
    let (greeted, ()) = tokio::join!(greeting, echo);
    (written.take(), greeted)
}

#[test]
fn no_two_messages_share_key_and_nonce() {
    let config = config();
    let shared = &config.key;
    let mut used = UsedPairs::default();
    let mut sealed = 0;
    block_on(async {
        let hello = |written: &[u8]| salt(&packets(written)[0]);
        let mut recorded = Vec::new();
        // Connections and reconnections under one shared key.
        for nth in 0..60 {
            let (opener, accepter) = honest_connection(&config, nth % 5).await;
            sealed += used.add(shared, StreamSide::Opener, &opener, &hello(&accepter));
            sealed += used.add(shared, StreamSide::Accepter, &accepter, &hello(&opener));
            recorded.push((opener, accepter));
        }
        // Everything recorded is played back to fresh ends, several times: each seals its proof before it knows.
        for (opener, accepter) in recorded.iter().take(20) {
            for _ in 0..3 {
                for (side, bytes) in [
                    (StreamSide::Accepter, opener),
                    (StreamSide::Opener, accepter),
                    // Also to the wrong side.
                    (StreamSide::Opener, opener),
                    (StreamSide::Accepter, accepter),
                ] {
                    let (written, greeted) = played_back(&config, side, bytes).await;
                    assert!(matches!(greeted, Err(ConnectError::WrongKey)), "{greeted:?}");
                    sealed += used.add(shared, side, &written, &hello(bytes));
                }
            }
        }
        for _ in 0..10 {
            for side in [StreamSide::Opener, StreamSide::Accepter] {
                let (written, greeted) = reflected(&config, side).await;
                assert!(matches!(greeted, Err(ConnectError::WrongKey)), "{greeted:?}");
                sealed += used.add(shared, side, &written, &hello(&written));
                // Two ends of the same side.
                let [(one, greeted), (two, _)] = crossed(&config, [side; 2]).await;
                assert!(matches!(greeted, Err(ConnectError::WrongKey)), "{greeted:?}");
                sealed += used.add(shared, side, &one, &hello(&two));
                sealed += used.add(shared, side, &two, &hello(&one));
            }
            // An attacker who only carries the bytes.
            let [(one, a), (two, b)] = crossed(&config, [StreamSide::Opener, StreamSide::Accepter]).await;
            assert!(a.is_ok() && b.is_ok());
            sealed += used.add(shared, StreamSide::Opener, &one, &hello(&two));
            sealed += used.add(shared, StreamSide::Accepter, &two, &hello(&one));
        }
    });
    assert_eq!(used.0.len(), sealed);
    // 120 proofs and 480 messages of honest connections, 240 proofs to played back bytes, 80 of the rest.
    assert_eq!(sealed, 120 + 480 + 240 + 80);
}
