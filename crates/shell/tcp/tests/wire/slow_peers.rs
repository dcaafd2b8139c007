//! Peers that are silent or slow are given up. Time is virtual: it passes when nobody has anything to do.

use crate::side::*;
use std::borrow::Cow;
use std::time::Duration;
use syncline_store::MemoryStore;
use syncline_sync::{
    EncryptionState, Gossip, Message, Outcome, Served, StoreHost, StreamEnd, StreamMessage, StreamSide,
    SyncTransport, TransportError, drive, serve,
};
use syncline_tcp::{MAX_WIRE_BYTES, TcpTransport, greet};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// Runs a test's work on a clock that jumps to the next timer.
fn block_on_paused<F: Future>(work: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(work)
}

fn server() -> StoreHost<MemoryStore> {
    let mut store = MemoryStore::default();
    write(&mut store, SERVER, 0..50);
    host_of(store, SERVER)
}

/// Two ends that have greeted.
async fn greeted(room: usize) -> (TcpTransport<DuplexStream>, TcpTransport<DuplexStream>) {
    let (a, b) = duplex(room);
    let config = config();
    tokio::try_join!(greet(a, StreamSide::Opener, &config), greet(b, StreamSide::Accepter, &config)).unwrap()
}

fn heartbeat() -> StreamMessage<'static> {
    let message = Message::Gossip(Gossip::DeltaRequest { wanted: vec![] });
    StreamMessage { incarnation: 1, message: Cow::Owned(message) }
}

#[test]
fn silent_peer_is_left() {
    block_on_paused(async {
        let (mut peer, mut own) = greeted(1 << 16).await;
        let served = serve(&mut server(), &mut own).await.unwrap();
        assert_eq!(served, Served { answered: 0, end: StreamEnd::Idle });
        assert_eq!(peer.recv().await, Ok(None), "the stream was closed");
        assert_eq!(own.send(&heartbeat()).await, Err(TransportError::Closed));
    });
}

#[test]
fn peer_with_requests_is_served_however_long() {
    block_on_paused(async {
        let (mut peer, mut own) = greeted(1 << 16).await;
        let client = async {
            let mut host = host_of(MemoryStore::default(), CLIENT);
            for _ in 0..5 {
                let (outcome, _) = drive(&mut host, &mut peer).await.unwrap();
                assert!(matches!(outcome, Outcome::Converged { .. }), "{outcome:?}");
                sleep(50 * SECOND).await;
            }
            peer.close().await.unwrap();
        };
        let mut host = server();
        let (served, ()) = tokio::join!(serve(&mut host, &mut own), client);
        let Served { answered, end } = served.unwrap();
        assert!(answered >= 5 && end == StreamEnd::Closed, "{answered} {end:?}");
    });
}

/// What is no request does not keep a stream open: neither forged frames nor messages without an answer.
#[test]
fn noise_does_not_keep_a_stream_open() {
    block_on_paused(async {
        let (own, mut other) = duplex(1 << 16);
        // A peer without the key cannot greet, so the stream is keyed here.
        let mut own = TcpTransport::plain(own, StreamSide::Accepter, CONTEXT);
        own.set_encryption(Some((config().key, syncline_sync::Nonce([5; 12]))));
        let noise = async {
            let mut sent = 0u64;
            while other.write_all(&[0, 0, 0, 3, 1, 2, 3]).await.is_ok() {
                sent += 1;
                sleep(SECOND).await;
            }
            sent
        };
        let serving = async {
            let served = serve(&mut server(), &mut own).await.unwrap();
            let forged = own.dropped().forged;
            drop(own);
            (served, forged)
        };
        let ((served, forged), sent) = tokio::join!(serving, noise);
        assert_eq!(served, Served { answered: 0, end: StreamEnd::Idle });
        assert!(forged > 10 && sent >= forged, "{forged} of {sent} frames were dropped");

        let (mut peer, mut own) = greeted(1 << 16).await;
        let gossip = async {
            while peer.send(&heartbeat()).await.is_ok() {
                sleep(SECOND).await;
            }
        };
        let serving = async {
            let served = serve(&mut server(), &mut own).await.unwrap();
            drop(own);
            served
        };
        let (served, ()) = tokio::join!(serving, gossip);
        assert_eq!(served, Served { answered: 0, end: StreamEnd::Idle });
    });
}

/// Sends the longest frame that is allowed, one byte a second.
async fn trickle(mut other: DuplexStream) {
    let head = u32::try_from(MAX_WIRE_BYTES).unwrap().to_be_bytes();
    for byte in head.into_iter().chain(std::iter::repeat(0)) {
        if other.write_all(&[byte]).await.is_err() {
            return;
        }
        sleep(SECOND).await;
    }
}

#[test]
fn one_byte_a_second_holds_nothing() {
    let too_slow = TransportError::TooSlow { what: "send one message", limit: config().read_budget };
    block_on_paused(async {
        // A caller that waits without a limit.
        let (own, other) = duplex(64);
        let mut own = TcpTransport::plain(own, StreamSide::Accepter, CONTEXT);
        let receiving = async {
            let received = own.recv().await;
            assert_eq!(own.recv().await, Ok(None), "the next frame cannot be found");
            drop(own);
            received
        };
        let (received, ()) = tokio::join!(receiving, trickle(other));
        assert_eq!(received, Err(too_slow.clone()));

        // A caller that waits in pieces, each of which is dropped.
        let (own, other) = duplex(64);
        let mut own = TcpTransport::plain(own, StreamSide::Accepter, CONTEXT);
        let receiving = async {
            let mut pieces = 0;
            let error = loop {
                match own.recv_timeout(SECOND / 3).await {
                    Ok(received) => assert_eq!(received, None),
                    Err(error) => break error,
                }
                pieces += 1;
            };
            drop(own);
            (pieces, error)
        };
        let ((pieces, error), ()) = tokio::join!(receiving, trickle(other));
        assert!(pieces > 10, "{pieces} waits");
        assert_eq!(error, too_slow);

        // A server.
        let (own, other) = duplex(64);
        let mut own = TcpTransport::plain(own, StreamSide::Accepter, CONTEXT);
        let serving = async {
            let mut host = server();
            host.idle_limit = 20 * SECOND;
            let served = serve(&mut host, &mut own).await;
            drop(own);
            served
        };
        let (served, ()) = tokio::join!(serving, trickle(other));
        assert_eq!(served, Ok(Served { answered: 0, end: StreamEnd::Idle }));
    });
}

/// Neither the time that this end spends on its own work counts, nor the time between messages.
#[test]
fn own_work_does_not_count() {
    block_on_paused(async {
        let (own, mut other) = duplex(1 << 16);
        let mut own = TcpTransport::plain(own, StreamSide::Accepter, CONTEXT);
        let mut plain = EncryptionState::plain(StreamSide::Opener);
        let frame = syncline_sync::Frame { incarnation: 1, message: heartbeat().message.into_owned() };
        let body = plain.seal(&frame.to_wire(CONTEXT)).unwrap();
        let bytes = [&(body.len() as u32).to_be_bytes(), &body[..]].concat();
        for at in 1..bytes.len() {
            let (first, rest) = bytes.split_at(at);
            other.write_all(first).await.unwrap();
            assert_eq!(own.recv_timeout(SECOND).await, Ok(None));
            sleep(100 * SECOND).await;
            let (sent, received) = tokio::join!(other.write_all(rest), own.recv());
            assert_eq!((sent.unwrap(), received), ((), Ok(Some(heartbeat()))), "cut at {at}");
        }
        assert!(timeout(1_000 * SECOND, own.recv()).await.is_err(), "between messages there is no limit");
    });
}

/// A peer that takes its time to greet does not hold a place.
#[test]
fn trickled_greeting_ends() {
    block_on_paused(async {
        let (own, mut other) = duplex(64);
        let settings = config();
        let greeting = async { greet(own, StreamSide::Accepter, &settings).await.map(drop) };
        let trickling = async {
            for byte in [0, 0, 0, 41].into_iter().chain(*b"syncline\x01").chain(std::iter::repeat(9)) {
                if other.write_all(&[byte]).await.is_err() {
                    return;
                }
                sleep(SECOND).await;
            }
        };
        let (greeted, ()) = tokio::join!(greeting, trickling);
        assert!(matches!(greeted, Err(syncline_tcp::ConnectError::Timeout)), "{greeted:?}");
    });
}
