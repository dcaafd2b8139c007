//! An adversary on the path alters, replays, delays and drops frames.

use crate::side::*;
use std::cell::RefCell;
use std::time::Duration;
use syncline_store::MemoryStore;
use syncline_sync::{
    DriveError, FailureReason, FrameError, Outcome, StreamSide, SyncTransport, TransportError, drive, serve,
};
use syncline_tcp::{ConnectError, DroppedFrames, accept, connect, greet};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// The first frames of each end are its greeting.
const GREETING_FRAMES: usize = 2;

/// Forwards frames in one direction. `attack` takes the number of a frame and its bytes, including the length,
/// and gives the bytes to forward instead.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut attack: impl FnMut(usize, Vec<u8>) -> Vec<u8>,
) {
    for nth in 0.. {
        let Ok(len) = from.read_u32().await else { break };
        let mut frame = len.to_be_bytes().to_vec();
        frame.resize(4 + len as usize, 0);
        if from.read_exact(&mut frame[4..]).await.is_err() {
            break;
        }
        if to.write_all(&attack(nth, frame)).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

/// How a session ended.
struct Ended {
    driven: Result<Outcome, DriveError>,
    /// Frames that the client dropped.
    answers: DroppedFrames,
    /// Frames that the server dropped.
    requests: DroppedFrames,
    are_equal: bool,
}

/// Runs one session through an adversary who attacks requests and answers.
fn through(
    protocol: Protocol,
    on_request: impl FnMut(usize, Vec<u8>) -> Vec<u8>,
    on_answer: impl FnMut(usize, Vec<u8>) -> Vec<u8>,
) -> Ended {
    let mut ours = MemoryStore::default();
    let mut theirs = MemoryStore::default();
    let (client, server) = if protocol == Protocol::Snapshot { (0..0, 0..800) } else { (0..400, 300..700) };
    if protocol != Protocol::Snapshot {
        write(&mut ours, CLIENT, client.clone());
    }
    write(&mut theirs, SERVER, server.clone());
    let mut ours = host_of(ours, CLIENT);
    let mut theirs = host_of(theirs, SERVER);
    ours.patience = Duration::from_millis(150);
    let (driven, answers, requests) = block_on(async {
        let behind = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let before = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind_at = behind.local_addr().unwrap();
        let before_at = before.local_addr().unwrap();
        let client = async {
            let mut transport = connect(before_at, &config()).await.unwrap();
            let driven = protocol.run(&mut ours, &mut transport).await;
            transport.close().await.unwrap();
            (driven.map(|(outcome, _)| outcome), transport.dropped())
        };
        let between = async {
            let (client_reads, client_writes) = before.accept().await.unwrap().0.into_split();
            let (server_reads, server_writes) = TcpStream::connect(behind_at).await.unwrap().into_split();
            tokio::join!(
                carry(client_reads, server_writes, on_request),
                carry(server_reads, client_writes, on_answer)
            );
        };
        let server = async {
            let mut transport = accept(behind.accept().await.unwrap().0, &config()).await.unwrap();
            // The server's result is not compared: the client's says how the session ended.
            let _ = serve(&mut theirs, &mut transport).await;
            transport.dropped()
        };
        let ((driven, answers), (), requests) = tokio::join!(client, between, server);
        (driven, answers, requests)
    });
    let roots = if matches!(driven, Ok(Outcome::Converged { .. })) {
        let all = [client, server];
        (root_with(&ours.store, &all), root_with(&theirs.store, &all))
    } else {
        (root_with(&ours.store, &[client]), root_with(&theirs.store, &[server]))
    };
    Ended { driven, answers, requests, are_equal: roots.0 == roots.1 }
}

fn untouched(_: usize, frame: Vec<u8>) -> Vec<u8> {
    frame
}

/// Applies `change` to message number `target`, counted from zero, and forwards the others unchanged.
fn only(target: usize, change: impl Fn(Vec<u8>) -> Vec<u8>) -> impl FnMut(usize, Vec<u8>) -> Vec<u8> {
    move |nth, frame| if nth == GREETING_FRAMES + target { change(frame) } else { frame }
}

const PROTOCOLS: [Protocol; 4] = [Protocol::Any, Protocol::Snapshot, Protocol::Walk, Protocol::Deltas];

#[test]
fn altered_frame_is_dropped_and_counted() {
    for (protocol, target) in PROTOCOLS.into_iter().zip([0, 1, 2, 1]) {
        // The counter, the message, the authenticator.
        for place in [4, 12, usize::MAX] {
            let flip = |mut frame: Vec<u8>| {
                let at = place.min(frame.len() - 1);
                frame[at] ^= 0x10;
                frame
            };
            let once = DroppedFrames { forged: 1, ..DroppedFrames::default() };
            let ended = through(protocol, untouched, only(target, flip));
            assert!(
                matches!(ended.driven, Ok(Outcome::Converged { .. })),
                "{protocol:?}: {:?}",
                ended.driven
            );
            assert_eq!((ended.answers, ended.requests.total()), (once, 0), "{protocol:?}, answer {target}");
            assert!(ended.are_equal);
            let ended = through(protocol, only(target, flip), untouched);
            assert!(
                matches!(ended.driven, Ok(Outcome::Converged { .. })),
                "{protocol:?}: {:?}",
                ended.driven
            );
            assert_eq!((ended.answers.total(), ended.requests), (0, once), "{protocol:?}, request {target}");
            assert!(ended.are_equal);
        }
    }
}

#[test]
fn duplicates_are_dropped_and_losses_retransmitted() {
    for protocol in PROTOCOLS {
        let twice = |frame: Vec<u8>| frame.repeat(2);
        let once = DroppedFrames { replayed: 1, ..DroppedFrames::default() };
        let ended = through(protocol, only(0, twice), only(1, twice));
        assert!(matches!(ended.driven, Ok(Outcome::Converged { .. })), "{protocol:?}: {:?}", ended.driven);
        assert!((ended.answers, ended.requests) == (once, once) && ended.are_equal, "{protocol:?}");
        let swallowed = |_| Vec::new();
        let ended = through(protocol, only(0, swallowed), only(1, swallowed));
        assert!(matches!(ended.driven, Ok(Outcome::Converged { .. })), "{protocol:?}: {:?}", ended.driven);
        assert!(ended.answers.total() + ended.requests.total() == 0 && ended.are_equal, "{protocol:?}");
    }
}

#[test]
fn altered_length_ends_the_stream() {
    let longer = |mut frame: Vec<u8>| {
        frame[0] ^= 0x80;
        frame
    };
    let ended = through(Protocol::Walk, untouched, only(1, longer));
    let error = ended.driven.unwrap_err();
    let too_large = |found| matches!(found, FrameError::TooLarge { found, .. } if found >= 1 << 31);
    assert!(
        matches!(error, DriveError::Transport(TransportError::Frame(found)) if too_large(found)),
        "{error}"
    );
}

#[test]
fn recorded_connection_cannot_be_replayed() {
    let requests = RefCell::new(Vec::new());
    let answers = RefCell::new(Vec::new());
    let record = |to: &RefCell<Vec<u8>>, frame: Vec<u8>| {
        to.borrow_mut().extend(&frame);
        frame
    };
    let ended =
        through(Protocol::Walk, |_, frame| record(&requests, frame), |_, frame| record(&answers, frame));
    assert!(ended.are_equal);
    for (side, recorded) in [(StreamSide::Accepter, requests.take()), (StreamSide::Opener, answers.take())] {
        block_on(async {
            let (own, mut other) = duplex(recorded.len());
            other.write_all(&recorded).await.unwrap();
            let greeted = greet(own, side, &config()).await;
            assert!(matches!(greeted, Err(ConnectError::WrongKey)), "{side:?}: {greeted:?}");
        });
    }
}

#[test]
fn silent_peer_ends_in_timeout() {
    let mut host = host_of(MemoryStore::default(), CLIENT);
    host.patience = Duration::from_millis(5);
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let silent = async {
            let mut transport = accept(listener.accept().await.unwrap().0, &config()).await.unwrap();
            let mut heard = 0;
            while transport.recv().await.unwrap().is_some() {
                heard += 1;
            }
            heard
        };
        let client = async {
            let mut transport = connect(addr, &config()).await.unwrap();
            let driven = drive(&mut host, &mut transport).await.unwrap();
            transport.close().await.unwrap();
            driven
        };
        let ((outcome, stats), heard) = tokio::join!(client, silent);
        assert_eq!(outcome, Outcome::Failed(FailureReason::Timeout));
        assert_eq!((stats.round_trips, stats.retries + 1), (0, heard), "it retransmitted each time");
    });
}
