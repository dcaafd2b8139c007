//! The bounds of an acceptor, on real sockets.

use crate::side::*;
use std::time::Duration;
use syncline_sync::{StreamSide, SyncTransport, TransportError};
use syncline_tcp::{
    AcceptCounts, AcceptLimits, ConnectError, TcpAcceptor, TcpConfig, TcpTransport, connect, greet,
};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_millis(5);

/// Settings under which only the bounds end a greeting.
fn patient() -> TcpConfig {
    TcpConfig { greeting_budget: EVER, ..config() }
}

async fn acceptor(limits: AcceptLimits) -> (TcpAcceptor, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (TcpAcceptor::new(listener, patient(), limits), addr)
}

/// A connection from the address 127.0.0.`from`, which says nothing.
async fn silent(from: u8, to: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, from], 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Runs the acceptor until `until` holds. Nobody greets meanwhile.
async fn run(acceptor: &mut TcpAcceptor, until: impl Fn(&TcpAcceptor) -> bool) {
    while !until(acceptor) {
        let accepted = timeout(SOON, acceptor.accept()).await;
        assert!(accepted.is_err(), "nobody greets: {accepted:?}");
    }
}

/// Whether the other end has closed the stream. Its own greeting comes first.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 64];
    loop {
        match timeout(SOON, stream.read(&mut bytes)).await {
            Ok(Ok(0) | Err(_)) => return true,
            Ok(Ok(_)) => {}
            Err(_) => return false,
        }
    }
}

/// An honest peer from the address 127.0.0.`from`.
async fn honest(
    from: u8,
    to: std::net::SocketAddr,
    acceptor: &mut TcpAcceptor,
) -> (TcpTransport, TcpTransport) {
    let settings = patient();
    let greeting = async {
        let stream = silent(from, to).await;
        greet(stream, StreamSide::Opener, &settings).await
    };
    let (greeted, accepted) = tokio::join!(greeting, acceptor.accept());
    let (accepted, peer) = accepted.unwrap();
    assert_eq!(peer.ip(), std::net::IpAddr::from([127, 0, 0, from]));
    (greeted.unwrap(), accepted)
}

#[cfg(target_os = "linux")]
#[test]
fn silent_peers_delay_nobody() {
    block_on(async {
        let limits = AcceptLimits { connections: 9, greetings: 4, greetings_per_address: 3 };
        let (mut acceptor, addr) = acceptor(limits).await;
        let mut silents = Vec::new();
        for _ in 0..3 {
            silents.push(silent(2, addr).await);
        }
        run(&mut acceptor, |acceptor| acceptor.greetings() == 3).await;
        // The fourth of one address is closed; another address is welcome.
        let mut fourth = silent(2, addr).await;
        run(&mut acceptor, |acceptor| acceptor.counts().refused == 1).await;
        assert!(is_closed(&mut fourth).await);
        let connected = honest(3, addr, &mut acceptor).await;
        assert_eq!((acceptor.greetings(), acceptor.connections()), (3, 1));
        // With all places taken, the oldest goes.
        silents.push(silent(4, addr).await);
        silents.push(silent(5, addr).await);
        run(&mut acceptor, |acceptor| acceptor.counts().refused == 2).await;
        assert_eq!(acceptor.greetings(), 4);
        assert!(is_closed(&mut silents[0]).await);
        for later in &mut silents[1..] {
            assert!(!is_closed(later).await);
        }
        let again = honest(3, addr, &mut acceptor).await;
        let expected = AcceptCounts { accepted: 2, refused: 3, failed: 0, exhausted: 0 };
        assert_eq!((acceptor.counts(), acceptor.connections()), (expected, 2));
        drop((connected, again));
        assert_eq!(acceptor.connections(), 0);
    });
}

/// A flood of silent connections, from one address and from many.
#[cfg(target_os = "linux")]
#[test]
fn flood_keeps_bounds() {
    block_on(async {
        let limits = AcceptLimits { connections: 9, greetings: 8, greetings_per_address: 2 };
        let (mut acceptor, addr) = acceptor(limits).await;
        let mut flood = Vec::new();
        for nth in 0..60u8 {
            flood.push(silent(2 + nth % 30, addr).await);
            run(&mut acceptor, |acceptor| {
                acceptor.greetings() + acceptor.counts().refused as usize == flood.len()
            })
            .await;
            assert!(acceptor.greetings() <= 8);
        }
        let (mut ours, mut theirs) = honest(200, addr, &mut acceptor).await;
        theirs.close().await.unwrap();
        assert_eq!(ours.recv().await, Ok(None));
        assert_eq!(acceptor.counts().accepted, 1);
    });
}

#[test]
fn connections_are_bounded() {
    block_on(async {
        let limits = AcceptLimits { connections: 2, ..AcceptLimits::default() };
        let (mut acceptor, addr) = acceptor(limits).await;
        let mut connected = Vec::new();
        for _ in 0..2 {
            let settings = patient();
            let (greeted, accepted) = tokio::join!(connect(addr, &settings), acceptor.accept());
            connected.push((greeted.unwrap(), accepted.unwrap().0));
        }
        let settings = patient();
        let refused = tokio::select! {
            greeted = connect(addr, &settings) => greeted,
            accepted = acceptor.accept() => panic!("{accepted:?}"),
        };
        assert!(matches!(refused, Err(ConnectError::Transport(TransportError::Closed))), "{refused:?}");
        assert_eq!((acceptor.connections(), acceptor.counts().refused), (2, 1));
        // A place is free as soon as a connection is dropped.
        connected.pop();
        let (greeted, accepted) = tokio::join!(connect(addr, &settings), acceptor.accept());
        assert!(greeted.is_ok() && accepted.is_ok());
        assert_eq!(acceptor.counts(), AcceptCounts { accepted: 3, refused: 1, failed: 0, exhausted: 0 });
    });
}

/// Peers without the key fail one by one, and end nothing.
#[test]
fn failed_greetings_are_counted() {
    block_on(async {
        let (mut acceptor, addr) = acceptor(AcceptLimits::default()).await;
        let stranger = TcpConfig { key: syncline_sync::SharedKey([8; 32]), ..patient() };
        for failed in 1..=3 {
            let refused = tokio::select! {
                greeted = connect(addr, &stranger) => greeted,
                accepted = acceptor.accept() => panic!("{accepted:?}"),
            };
            assert!(matches!(refused, Err(ConnectError::WrongKey)), "{refused:?}");
            run(&mut acceptor, |acceptor| acceptor.counts().failed == failed).await;
        }
        let settings = patient();
        let (greeted, accepted) = tokio::join!(connect(addr, &settings), acceptor.accept());
        assert!(greeted.is_ok() && accepted.is_ok());
    });
}
