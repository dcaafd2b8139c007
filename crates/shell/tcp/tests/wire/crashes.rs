//! One of the two processes is killed during a session, and restarted.

use crate::processes::Process;
use crate::side::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use syncline_sync::{
    DriveError, EncryptionState, Nonce, Outcome, SharedKey, StreamMessage, SyncTransport, TransportError,
    serve,
};
use syncline_tcp::{TcpTransport, accept, connect};
use tokio::net::TcpListener;

/// When in a session the other process is killed.
#[derive(Clone, Copy, Debug)]
enum KillTime {
    /// We have its nth message and have not answered yet: the process waits for us.
    AfterReceiving(u64),
    /// Our nth message is in flight: the process is handling it, or about to.
    AfterSending(u64),
}

use KillTime::{AfterReceiving, AfterSending};

const KILL_TIMES: [KillTime; 7] = [
    AfterSending(1),
    AfterReceiving(1),
    AfterSending(2),
    AfterReceiving(3),
    AfterSending(4),
    AfterReceiving(6),
    AfterSending(7),
];

/// The kill times that the protocol number `nth` is tested with: all seven in release builds, and a third of them
/// in debug builds, a different third for each protocol.
fn kill_times(nth: usize) -> impl Iterator<Item = (usize, KillTime)> {
    let is_full = !cfg!(debug_assertions);
    (0..).zip(KILL_TIMES).filter(move |(at, _)| is_full || at % PROTOCOLS.len() == nth)
}

/// A transport that kills the peer's process.
struct Deadly<'a> {
    inner: TcpTransport,
    moment: KillTime,
    sent: u64,
    received: u64,
    victim: Option<&'a mut Process>,
}

impl<'a> Deadly<'a> {
    fn new(inner: TcpTransport, moment: KillTime, victim: &'a mut Process) -> Self {
        Self { inner, moment, sent: 0, received: 0, victim: Some(victim) }
    }

    fn strike(&mut self) {
        let now = match self.moment {
            AfterReceiving(n) => self.received >= n,
            AfterSending(n) => self.sent >= n,
        };
        if now && let Some(victim) = self.victim.take() {
            if let AfterSending(n) = self.moment {
                // A different delay for each moment, so that kills hit different parts of the peer's work.
                std::thread::sleep(Duration::from_micros(n * n * 311));
            }
            victim.kill();
        }
    }

    fn has_struck(&self) -> bool {
        self.victim.is_none()
    }
}

impl SyncTransport for Deadly<'_> {
    async fn send(&mut self, message: &StreamMessage<'_>) -> Result<(), TransportError> {
        self.inner.send(message).await?;
        self.sent += 1;
        self.strike();
        Ok(())
    }

    async fn recv(&mut self) -> Result<Option<StreamMessage<'static>>, TransportError> {
        let received = self.inner.recv().await?;
        self.received += u64::from(received.is_some());
        self.strike();
        Ok(received)
    }

    async fn recv_timeout(
        &mut self,
        budget: Duration,
    ) -> Result<Option<StreamMessage<'static>>, TransportError> {
        let received = self.inner.recv_timeout(budget).await?;
        self.received += u64::from(received.is_some());
        self.strike();
        Ok(received)
    }

    fn set_encryption(&mut self, encryption: Option<(SharedKey, Nonce)>) {
        self.inner.set_encryption(encryption);
    }

    fn encryption(&self) -> &EncryptionState {
        self.inner.encryption()
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        self.inner.close().await
    }
}

/// Both stores as before the session: made once, and copied for each kill.
struct Stores {
    protocol: Protocol,
    folder: PathBuf,
}

impl Stores {
    fn make(protocol: Protocol, name: &str) -> Self {
        let stores = Self { protocol, folder: folder(&format!("{name}-{}", protocol.name())) };
        let (client, server) = protocol.entries();
        make(&stores.folder.join("client"), CLIENT, client);
        make(&stores.folder.join("server"), SERVER, server);
        stores
    }

    fn copies(&self, at: usize) -> (PathBuf, PathBuf) {
        let copy_of = |side: &str| {
            let target = self.folder.join(format!("{at}-{side}"));
            copy(&self.folder.join(side), &target);
            target
        };
        (copy_of("client"), copy_of("server"))
    }

    /// Checks that both stores have the entries of both sides, and deletes them.
    fn check_both(&self, client: &Path, server: &Path) {
        let (ours, theirs) = self.protocol.entries();
        let all = [ours, theirs];
        assert_eq!(reopened_root(client, &all), reopened_root(server, &all), "{:?}", self.protocol);
        for path in [client, server] {
            fs::remove_dir_all(path).unwrap();
        }
    }
}

const PROTOCOLS: [Protocol; 3] = [Protocol::Snapshot, Protocol::Walk, Protocol::Deltas];

#[test]
fn killed_server_converges_after_restart() {
    for (nth, protocol) in PROTOCOLS.into_iter().enumerate() {
        let stores = Stores::make(protocol, "server-killed");
        for (at, moment) in kill_times(nth) {
            let (ours, theirs) = stores.copies(at);
            let mut host = open(&ours, CLIENT);
            let (mut process, port) = Process::server(&theirs);
            let error = block_on(async {
                let inner = connect(("127.0.0.1", port), &config()).await.unwrap();
                let mut transport = Deadly::new(inner, moment, &mut process);
                let driven = protocol.run(&mut host, &mut transport).await;
                assert!(transport.has_struck(), "{protocol:?} ended before {moment:?}: {driven:?}");
                driven.unwrap_err()
            });
            assert_eq!(error, DriveError::Transport(TransportError::Closed), "{protocol:?} {moment:?}");
            reopened_root(&theirs, &[protocol.entries().1]);
            root_with(&host.store, &[protocol.entries().0]);

            let (mut process, port) = Process::server(&theirs);
            block_on(async {
                let mut transport = connect(("127.0.0.1", port), &config()).await.unwrap();
                let (outcome, _) = protocol.run(&mut host, &mut transport).await.unwrap();
                assert!(matches!(outcome, Outcome::Converged { .. }), "{protocol:?} {moment:?}: {outcome:?}");
            });
            drop(host);
            process.kill();
            stores.check_both(&ours, &theirs);
        }
    }
}

#[test]
fn killed_client_converges_after_restart() {
    for (nth, protocol) in PROTOCOLS.into_iter().enumerate() {
        let stores = Stores::make(protocol, "client-killed");
        for (at, moment) in kill_times(nth) {
            let (theirs, ours) = stores.copies(at);
            let mut host = open(&ours, SERVER);
            block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let port = listener.local_addr().unwrap().port();
                let mut process = Process::client(&theirs, protocol, port);
                let inner = accept(listener.accept().await.unwrap().0, &config()).await.unwrap();
                let mut transport = Deadly::new(inner, moment, &mut process);
                match serve(&mut host, &mut transport).await {
                    Ok(_) | Err(DriveError::Transport(TransportError::Closed)) => {}
                    Err(error) => panic!("{protocol:?} {moment:?}: {error}"),
                }
                assert!(transport.has_struck(), "{protocol:?} ended before {moment:?}");
                reopened_root(&theirs, &[protocol.entries().0]);
                root_with(&host.store, &[protocol.entries().1]);

                let mut process = Process::client(&theirs, protocol, port);
                let mut transport = accept(listener.accept().await.unwrap().0, &config()).await.unwrap();
                match serve(&mut host, &mut transport).await {
                    Ok(served) => assert!(served.answered > 0),
                    Err(error) => panic!("{protocol:?} {moment:?}: {error}"),
                }
                assert_eq!(process.said("root"), format!("{:#}", root_with(&host.store, &[])));
            });
            drop(host);
            stores.check_both(&theirs, &ours);
        }
    }
}
