//! Peers that are refused before the first message, and the errors.

use crate::side::*;
use std::time::Duration;
use syncline_sync::{SharedKey, StreamSide, SyncTransport, TransportError};
use syncline_tcp::{ConnectError, TcpConfig, TcpTransport, accept, connect, greet};
use syncline_types::ContextId;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;

type Greeted = Result<TcpTransport, ConnectError>;

/// Connects two ends with different settings, and gives the result of each.
fn meet(client: &TcpConfig, server: &TcpConfig) -> (Greeted, Greeted) {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let accepting = async { accept(listener.accept().await.unwrap().0, server).await };
        tokio::join!(connect(addr, client), accepting)
    })
}

/// Greets a peer that sends `bytes` and then closes the stream.
async fn greeted(bytes: &[u8]) -> Result<TcpTransport<DuplexStream>, ConnectError> {
    let (own, mut other) = duplex(1 << 10);
    other.write_all(bytes).await.unwrap();
    other.shutdown().await.unwrap();
    greet(own, StreamSide::Accepter, &config()).await
}

#[test]
fn both_ends_refuse_another_key() {
    let other = TcpConfig { key: SharedKey([8; 32]), ..config() };
    let (ours, theirs) = meet(&config(), &other);
    assert!(matches!(ours, Err(ConnectError::WrongKey)), "{ours:?}");
    assert!(matches!(theirs, Err(ConnectError::WrongKey)), "{theirs:?}");
    assert!(ours.unwrap_err().to_string().contains("another key"));
    let (ours, theirs) = meet(&config(), &config());
    assert!(ours.unwrap().encryption().is_on() && theirs.unwrap().encryption().is_on());
}

#[test]
fn both_ends_refuse_another_context() {
    // The two contexts have the same tag: frames alone would not tell them apart.
    let mut context = CONTEXT;
    context.0[31] ^= 1;
    assert_eq!(context.tag(), CONTEXT.tag());
    let (ours, theirs) = meet(&config(), &TcpConfig { context, ..config() });
    assert!(matches!(ours, Err(ConnectError::Context)), "{ours:?}");
    assert!(matches!(theirs, Err(ConnectError::Context)), "{theirs:?}");
    assert_ne!(context, ContextId::default());
}

#[test]
fn foreign_protocol_and_version_are_distinct_errors() {
    let hello = |version: u8, salt: usize| {
        let body = [b"syncline", &[version][..], &vec![5; salt]].concat();
        [&(body.len() as u32).to_be_bytes(), &body[..]].concat()
    };
    block_on(async {
        let foreign: [&[u8]; 5] = [
            b"GET / HTTP/1.1\r\n\r\n",
            b"\0\0\0\0",
            &[&[0, 0, 0, 41][..], &[b'x'; 41]].concat(),
            &hello(1, 31),
            &hello(1, 33),
        ];
        for bytes in foreign {
            let error = greeted(bytes).await.unwrap_err();
            assert!(matches!(error, ConnectError::Foreign), "{error} after {bytes:?}");
        }
        let error = greeted(&hello(2, 32)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Version { found: 2 }), "{error}");
        let error = greeted(&hello(1, 32)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Transport(TransportError::Closed)), "{error}");
        let error = greeted(&[hello(1, 32), vec![0, 0, 0, 3, 1, 2, 3]].concat()).await.unwrap_err();
        assert!(matches!(error, ConnectError::WrongKey), "{error}");
    });
}

#[test]
fn gives_up_on_silent_or_absent_peer() {
    block_on(async {
        let hasty = TcpConfig { greeting_budget: Duration::from_millis(20), ..config() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let error = connect(addr, &hasty).await.unwrap_err();
        assert!(matches!(error, ConnectError::Timeout), "{error}");
        drop(listener);
        let error = connect(addr, &config()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
        let (own, _other) = duplex(1 << 10);
        let error = greet(own, StreamSide::Accepter, &hasty).await.unwrap_err();
        assert!(matches!(error, ConnectError::Timeout), "{error}");
    });
}

/// A peer without the key can still reflect the proof of the other end.
#[test]
fn refuses_reflected_proof() {
    for side in [StreamSide::Opener, StreamSide::Accepter] {
        block_on(async {
            let (own, other) = duplex(1 << 10);
            let echo = async {
                let (mut reader, mut writer) = tokio::io::split(other);
                let mut bytes = [0; 64];
                while let Ok(read @ 1..) = reader.read(&mut bytes).await {
                    if writer.write_all(&bytes[..read]).await.is_err() {
                        break;
                    }
                }
            };
            let settings = config();
            let (greeted, ()) = tokio::join!(greet(own, side, &settings), echo);
            assert!(matches!(greeted, Err(ConnectError::WrongKey)), "{side:?}: {greeted:?}");
        });
    }
}
