//! Messages as bytes: lengths, ends of streams, and cancelled calls.

use crate::side::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::borrow::Cow;
use std::time::Duration;
use syncline_sync::{
    Frame, FrameError, Gossip, Message, StreamMessage, StreamSide, SyncTransport, TransportError,
};
use syncline_tcp::{DroppedFrames, MAX_WIRE_BYTES, TcpConfig, TcpTransport, greet};
use syncline_types::limits;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

const SOON: Duration = Duration::from_millis(5);

/// A message of about `bytes` bytes.
fn message(incarnation: u64, bytes: usize) -> StreamMessage<'static> {
    let piece = bytes.min(limits::MAX_DELTA_BYTES);
    let deltas = (0..bytes / piece).map(|_| vec![incarnation as u8; piece].into()).collect();
    let message = Message::Gossip(Gossip::DeltaReply { deltas, unavailable: Vec::new() });
    StreamMessage { incarnation, message: Cow::Owned(message) }
}

fn on_the_wire(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

fn framed(message: &StreamMessage<'_>) -> Vec<u8> {
    let frame = Frame { incarnation: message.incarnation, message: message.message.clone().into_owned() };
    on_the_wire(&frame.to_wire(CONTEXT))
}

/// An end without encryption, and the other end of its stream.
fn plain(room: usize) -> (TcpTransport<DuplexStream>, DuplexStream) {
    let (own, other) = duplex(room);
    (TcpTransport::plain(own, StreamSide::Opener, CONTEXT), other)
}

/// Both ends of a sealed stream that buffers `room` bytes.
async fn pair(room: usize, config: &TcpConfig) -> (TcpTransport<DuplexStream>, TcpTransport<DuplexStream>) {
    let (a, b) = duplex(room);
    tokio::try_join!(greet(a, StreamSide::Opener, config), greet(b, StreamSide::Accepter, config)).unwrap()
}

#[test]
fn refuses_length_beyond_limit() {
    for len in [MAX_WIRE_BYTES as u32 + 1, u32::MAX] {
        block_on(async {
            let (mut transport, mut other) = plain(64);
            other.write_u32(len).await.unwrap();
            let error = transport.recv().await.unwrap_err();
            assert_eq!(error, FrameError::TooLarge { found: len as usize, limit: MAX_WIRE_BYTES }.into());
            assert_eq!(transport.recv().await, Ok(None), "the next head cannot be found");
            assert_eq!(transport.recv_timeout(EVER).await, Err(TransportError::Closed));
        });
    }
}

#[test]
fn oversized_message_is_not_sent() {
    block_on(async {
        let (mut a, mut b) = pair(1 << 20, &config()).await;
        let error = a.send(&message(1, 3 * limits::MAX_DELTA_BYTES)).await.unwrap_err();
        assert!(matches!(error, TransportError::Frame(FrameError::TooLarge { .. })), "{error}");
        a.send(&message(2, 10)).await.unwrap();
        assert_eq!(b.recv().await, Ok(Some(message(2, 10))));
    });
}

#[test]
fn cancelled_receive_loses_nothing() {
    block_on(async {
        let (mut transport, mut other) = plain(1 << 10);
        let bytes = [framed(&message(1, 40)), framed(&message(2, 70))].concat();
        let mut received = Vec::new();
        for piece in bytes.chunks(3) {
            other.write_all(piece).await.unwrap();
            while let Some(message) = transport.recv_timeout(SOON).await.unwrap() {
                received.push(message);
            }
        }
        assert_eq!(received, [message(1, 40), message(2, 70)]);
        assert_eq!(transport.dropped(), DroppedFrames::default());
    });
}

#[test]
fn cancelled_send_goes_out_first() {
    block_on(async {
        let (mut a, mut b) = pair(256, &config()).await;
        assert!(timeout(SOON, a.send(&message(1, 5_000))).await.is_err());
        let last = message(2, 10);
        let (sent, first) = tokio::join!(a.send(&last), b.recv());
        assert_eq!((sent, first), (Ok(()), Ok(Some(message(1, 5_000)))));
        assert_eq!(b.recv().await, Ok(Some(message(2, 10))));
    });
}

#[test]
fn send_to_stalled_peer_times_out() {
    block_on(async {
        let config = TcpConfig { write_budget: SOON, ..config() };
        let (mut a, _b) = pair(256, &config).await;
        let error = a.send(&message(1, 5_000)).await.unwrap_err();
        assert_eq!(error, TransportError::TooSlow { what: "read one message", limit: SOON });
        assert_eq!(a.send(&message(2, 10)).await, Err(TransportError::Closed), "half a message is out");
    });
}

#[test]
fn concurrent_sends_do_not_deadlock() {
    block_on(async {
        let (mut a, mut b) = pair(1 << 10, &config()).await;
        let one = message(1, 2_000_000);
        let two = message(2, 2_000_000);
        let first = async {
            a.send(&one).await?;
            a.recv().await
        };
        let second = async {
            b.send(&two).await?;
            b.recv().await
        };
        let (to_first, to_second) = tokio::try_join!(first, second).unwrap();
        assert!(to_first == Some(message(2, 2_000_000)) && to_second == Some(message(1, 2_000_000)));
    });
}

#[test]
fn complete_messages_arrive_before_the_end() {
    block_on(async {
        let (mut transport, mut other) = plain(1 << 10);
        let whole = framed(&message(1, 40));
        let cut = framed(&message(2, 40));
        other.write_all(&[&whole[..], &cut[..20]].concat()).await.unwrap();
        drop(other);
        assert_eq!(transport.recv().await, Ok(Some(message(1, 40))));
        assert_eq!(transport.recv().await, Ok(None));
        assert_eq!(transport.send(&message(3, 10)).await, Err(TransportError::Closed));

        let (mut a, mut b) = pair(1 << 10, &config()).await;
        a.send(&message(1, 10)).await.unwrap();
        a.close().await.unwrap();
        assert_eq!(a.send(&message(2, 10)).await, Err(TransportError::Closed));
        b.send(&message(3, 10)).await.unwrap();
        assert_eq!(b.recv().await, Ok(Some(message(1, 10))));
        assert_eq!(b.recv_timeout(EVER).await, Err(TransportError::Closed));
        assert_eq!(a.recv().await, Ok(Some(message(3, 10))), "only one direction was closed");
        a.close().await.unwrap();
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Random frames, in pieces of any size, are each dropped and counted; a message between them arrives.
    #[test]
    fn garbage_is_dropped_by_frame(
        bodies in vec(vec(any::<u8>(), 0..200), 0..20),
        real in 0usize..20,
        piece in 1usize..300,
        is_sealed: bool,
    ) {
        block_on(async {
            let (own, mut other) = duplex(1 << 16);
            let mut transport = TcpTransport::plain(own, StreamSide::Opener, CONTEXT);
            if is_sealed {
                let key = Some((syncline_sync::SharedKey([1; 32]), syncline_sync::Nonce([2; 12])));
                transport.set_encryption(key);
            }
            let mut frames: Vec<Vec<u8>> = bodies.iter().map(|body| on_the_wire(body)).collect();
            frames.insert(real.min(frames.len()), framed(&message(9, 30)));
            for piece in frames.concat().chunks(piece) {
                other.write_all(piece).await.unwrap();
            }
            drop(other);
            let garbage = bodies.len() as u64;
            if is_sealed {
                assert_eq!(transport.recv().await, Ok(None));
                assert_eq!(transport.dropped(), DroppedFrames { forged: garbage + 1, ..DroppedFrames::default() });
            } else {
                assert_eq!(transport.recv().await, Ok(Some(message(9, 30))));
                assert_eq!(transport.recv().await, Ok(None));
                assert_eq!(transport.dropped(), DroppedFrames { malformed: garbage, ..DroppedFrames::default() });
            }
        });
    }
}
