//! Who is refused before the first message, and how that is said.

use crate::side::*;
use std::time::Duration;
use syncline_sync::{SharedKey, StreamSide, SyncTransport, TransportError};
use syncline_tcp::{ConnectError, TcpConfig, TcpTransport, accept, connect, greet};
use syncline_types::ContextId;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;

type Greeted = Result<TcpTransport, ConnectError>;

/// Both ends' view of a connection on which each holds its own settings.
fn meet(client: &TcpConfig, server: &TcpConfig) -> (Greeted, Greeted) {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let accepting = async { accept(listener.accept().await.unwrap().0, server).await };
        tokio::join!(connect(addr, client), accepting)
    })
}

/// What becomes of a greeting to an end that only says `bytes`.
async fn greeted(bytes: &[u8]) -> Result<TcpTransport<DuplexStream>, ConnectError> {
    let (own, mut other) = duplex(1 << 10);
    other.write_all(bytes).await.unwrap();
    other.shutdown().await.unwrap();
    greet(own, StreamSide::Accepter, &config()).await
}

#[test]
fn an_end_with_another_key_is_refused_by_both() {
    let other = TcpConfig { key: SharedKey([8; 32]), ..config() };
    let (ours, theirs) = meet(&config(), &other);
    assert!(matches!(ours, Err(ConnectError::WrongKey)), "{ours:?}");
    assert!(matches!(theirs, Err(ConnectError::WrongKey)), "{theirs:?}");
    assert!(ours.unwrap_err().to_string().contains("another key"));
    let (ours, theirs) = meet(&config(), &config());
    assert!(ours.unwrap().encryption().is_on() && theirs.unwrap().encryption().is_on());
}

#[test]
fn an_end_of_another_context_is_refused_by_both() {
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
fn an_end_that_speaks_something_else_is_told_from_one_of_another_version() {
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
fn an_end_that_says_nothing_or_is_not_there_is_given_up() {
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

/// Without a key one can still send back what the other end itself has proved.
#[test]
fn an_end_that_only_echoes_is_refused() {
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
