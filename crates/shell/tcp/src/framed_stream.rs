//! Length-prefixed byte strings over a stream of bytes: four bytes of length, big-endian, then the bytes.
//!
//! This is not `tokio_util::codec`, because that reports "frame size too big" without the size, and reserves
//! memory for an announced length before the first byte of the body has arrived.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io;
use std::pin::pin;
use std::time::Duration;
use syncline_sync::{FrameError, TransportError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, timeout};

const HEAD_BYTES: usize = 4;
/// The least free space of the inbound buffer before a read.
const CHUNK_BYTES: usize = 16 << 10;

/// How long the peer may take for one byte string.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budgets {
    /// From its first byte to its last, while this end waits for it.
    pub(crate) read: Duration,
    /// Until the system has taken all of it.
    pub(crate) write: Duration,
}

/// One end of a stream of byte strings. Strings arrive complete and in order, or not at all.
#[derive(Debug)]
pub(crate) struct FramedStream<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    limit: usize,
    budgets: Budgets,
    inbound: BytesMut,
    /// How long this end has waited for the rest of the string at the start of `inbound`.
    waited: Duration,
    /// Bytes that the system has not taken yet. More than one string if the caller dropped an earlier write.
    outbound: BytesMut,
    is_readable: bool,
    is_writable: bool,
}

impl<S: AsyncRead + AsyncWrite> FramedStream<S> {
    /// A stream of byte strings of `limit` bytes at most.
    pub(crate) fn new(stream: S, limit: usize, budgets: Budgets) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        debug_assert!(u32::try_from(limit).is_ok(), "every allowed length fits into the head");
        Self {
            reader,
            writer,
            limit,
            budgets,
            inbound: BytesMut::new(),
            waited: Duration::ZERO,
            outbound: BytesMut::new(),
            is_readable: true,
            is_writable: true,
        }
    }

    /// Raises the limit on the length of a byte string, in both directions, to `limit` bytes.
    pub(crate) const fn raise_limit(&mut self, limit: usize) {
        debug_assert!(limit >= self.limit, "a string that was accepted stays acceptable");
        self.limit = limit;
    }

    /// Waits for the next byte string. `None` once the peer has closed the stream; an incomplete string at its
    /// end is discarded. Cancel safe: a dropped call loses nothing.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] for an announced length beyond the limit, before any memory is reserved for
    /// it; [`TransportError::TooSlow`] if a string has begun and is not complete in time; [`TransportError::Io`] if
    /// the medium fails. Nothing can be read after any of these errors.
    pub(crate) async fn read(&mut self) -> Result<Option<Bytes>, TransportError> {
        loop {
            // Complete strings that were read ahead come first, also after the end of the stream.
            let taken = self.take().inspect_err(|_| self.stop_reading())?;
            if taken.is_some() || !self.is_readable {
                return Ok(taken);
            }
            self.inbound.reserve(CHUNK_BYTES);
            match self.read_some().await {
                // The end. The loop runs once more, for a string that arrived complete.
                Some(Ok(0)) => self.is_readable = false,
                Some(Ok(_)) => {}
                None => {
                    self.stop_reading();
                    let limit = self.budgets.read;
                    return Err(TransportError::TooSlow { what: "send one message", limit });
                }
                Some(Err(error)) => {
                    self.stop_reading();
                    // A reset is how some peers close. No complete string is lost: complete strings were
                    // taken above.
                    match medium_error(&error) {
                        TransportError::Closed => {}
                        failure => return Err(failure),
                    }
                }
            }
        }
    }

    /// Reads what has arrived, or waits for it. `None` if the string that has begun has used up its time. Between
    /// strings the wait has no limit: that is the caller's.
    async fn read_some(&mut self) -> Option<io::Result<usize>> {
        if self.inbound.is_empty() {
            return Some(self.reader.read_buf(&mut self.inbound).await);
        }
        let left = self.budgets.read.saturating_sub(self.waited);
        // Only time in which this end waits counts, so that its own work does not shorten the time of the peer. A call
        // that is dropped counts too: callers that wait in small pieces would otherwise wait for ever.
        let _count = WaitTime { total: &mut self.waited, since: Instant::now() };
        timeout(left, self.reader.read_buf(&mut self.inbound)).await.ok()
    }

    /// Takes the first byte string out of the inbound buffer, if it is complete.
    fn take(&mut self) -> Result<Option<Bytes>, TransportError> {
        let Some((head, body)) = self.inbound.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let len = u32::from_be_bytes(*head) as usize;
        // Before the body arrives: a peer must not make this end buffer an announced gigabyte.
        if len > self.limit {
            return Err(FrameError::TooLarge { found: len, limit: self.limit }.into());
        }
        if body.len() < len {
            return Ok(None);
        }
        self.inbound.advance(HEAD_BYTES);
        debug_assert!(self.inbound.len() >= len, "the body is complete");
        self.waited = Duration::ZERO;
        Ok(Some(self.inbound.split_to(len).freeze()))
    }

    /// Discards the inbound buffer: after an error the next head cannot be found.
    fn stop_reading(&mut self) {
        self.is_readable = false;
        self.inbound.clear();
    }

    /// Sends one byte string, and waits until the system has taken it. If the call is dropped before, the next
    /// call sends the rest of this string first.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] beyond the limit. [`TransportError::Closed`] if either end has closed the
    /// stream, [`TransportError::TooSlow`] if the peer did not read in time, [`TransportError::Io`] if the medium
    /// failed; nothing can be written after these three.
    pub(crate) async fn write(&mut self, body: &[u8]) -> Result<(), TransportError> {
        if !self.is_writable {
            return Err(TransportError::Closed);
        }
        let too_large = FrameError::TooLarge { found: body.len(), limit: self.limit };
        let len = u32::try_from(body.len()).map_err(|_| too_large)?;
        if body.len() > self.limit {
            return Err(too_large.into());
        }
        self.outbound.put_u32(len);
        self.outbound.put_slice(body);
        let limit = self.budgets.write;
        let failure = match timeout(limit, self.write_and_read()).await {
            Ok(Ok(())) => {
                debug_assert!(self.outbound.is_empty(), "a completed write leaves nothing queued");
                return Ok(());
            }
            Ok(Err(error)) => medium_error(&error),
            Err(_) => TransportError::TooSlow { what: "read one message", limit },
        };
        // The peer may have received part of a string, and would read anything that follows as the rest of
        // it.
        self.is_writable = false;
        self.outbound.clear();
        Err(failure)
    }

    /// Writes the outbound buffer, and meanwhile reads ahead. Without that, two ends that write large strings
    /// at the same time would each wait for the other to read: a deadlock. Reading ahead stops after one
    /// string of maximal length.
    async fn write_and_read(&mut self) -> io::Result<()> {
        let Self { reader, writer, limit, inbound, outbound, is_readable, .. } = self;
        let mut writing = pin!(async {
            writer.write_all_buf(outbound).await?;
            writer.flush().await
        });
        loop {
            let has_room = *is_readable && inbound.len() < HEAD_BYTES + *limit;
            if has_room {
                inbound.reserve(CHUNK_BYTES);
            }
            // Writing first: a peer that floods this end must not delay its answer.
            tokio::select! {
                biased;
                written = &mut writing => return written,
                read = reader.read_buf(inbound), if has_room => *is_readable = read.is_ok_and(|bytes| bytes > 0),
            }
        }
    }

    /// Closes this end for writing. Strings already written may still arrive, and strings from the peer can
    /// still be read. A peer that has left, or does not acknowledge in time, is no error.
    pub(crate) async fn close(&mut self) -> Result<(), TransportError> {
        self.is_writable = false;
        match timeout(self.budgets.write, self.writer.shutdown()).await {
            Ok(Err(error)) => match medium_error(&error) {
                TransportError::Closed => Ok(()),
                failure => Err(failure),
            },
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

/// Adds the time of a wait to a total, also if the wait is dropped.
struct WaitTime<'a> {
    total: &'a mut Duration,
    since: Instant,
}

impl Drop for WaitTime<'_> {
    fn drop(&mut self) {
        *self.total += self.since.elapsed();
    }
}

/// Converts an error of the medium. Every way in which a peer can leave is [`TransportError::Closed`].
pub(crate) fn medium_error(error: &io::Error) -> TransportError {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof => {
            TransportError::Closed
        }
        _ => TransportError::Io(error.to_string()),
    }
}
