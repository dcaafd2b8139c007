//! Byte strings over a stream of bytes: the length of each in four bytes, big endian, then the bytes.
//!
//! Written by hand rather than with `tokio_util::codec`: that says "frame size too big" and not how
//! big, and it makes room for an announced length before anything of it has come.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io;
use std::pin::pin;
use std::time::Duration;
use syncline_sync::{FrameError, TransportError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;

const HEAD_BYTES: usize = 4;
/// Room made for one read.
const CHUNK_BYTES: usize = 16 << 10;

/// One end of a stream.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    limit: usize,
    write_budget: Duration,
    inbound: BytesMut,
    /// What is not on its way yet: more than one string if an earlier write was given up by its caller.
    outbound: BytesMut,
    is_readable: bool,
    is_writable: bool,
}

impl<S: AsyncRead + AsyncWrite> Wire<S> {
    /// A wire whose byte strings are of `limit` bytes at most, and whose other end has `write_budget` to
    /// take each.
    pub(crate) fn new(stream: S, limit: usize, write_budget: Duration) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let (inbound, outbound) = (BytesMut::new(), BytesMut::new());
        Self { reader, writer, limit, write_budget, inbound, outbound, is_readable: true, is_writable: true }
    }

    /// Changes the longest length, in bytes, for what is read and written from now on.
    pub(crate) const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Waits for the next byte string. `None` once the other end is gone; what it had not sent whole is
    /// lost. May be dropped and called again without loss.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] for an announced length beyond the limit, before room is made for it;
    /// [`TransportError::Io`] if the medium fails. Nothing can be read after either.
    pub(crate) async fn read(&mut self) -> Result<Option<Bytes>, TransportError> {
        loop {
            let taken = self.take().inspect_err(|_| self.stop_reading())?;
            if taken.is_some() || !self.is_readable {
                return Ok(taken);
            }
            self.inbound.reserve(CHUNK_BYTES);
            match self.reader.read_buf(&mut self.inbound).await {
                Ok(0) => self.is_readable = false,
                Ok(_) => {}
                Err(error) => {
                    self.stop_reading();
                    match medium_error(&error) {
                        TransportError::Closed => {}
                        failure => return Err(failure),
                    }
                }
            }
        }
    }

    /// The first byte string of what has come, if it is there whole.
    fn take(&mut self) -> Result<Option<Bytes>, TransportError> {
        let Some((head, body)) = self.inbound.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let len = u32::from_be_bytes(*head) as usize;
        if len > self.limit {
            return Err(FrameError::TooLarge { found: len }.into());
        }
        if body.len() < len {
            return Ok(None);
        }
        self.inbound.advance(HEAD_BYTES);
        Ok(Some(self.inbound.split_to(len).freeze()))
    }

    fn stop_reading(&mut self) {
        self.is_readable = false;
        self.inbound.clear();
    }

    /// Sends one byte string, and waits until the system has taken it. If it is dropped before, the next
    /// call goes on where it stopped.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] beyond the limit. [`TransportError::Closed`] if either end has closed the
    /// stream, [`TransportError::Io`] if the other end did not take it in time or the medium failed;
    /// nothing can be written after these.
    pub(crate) async fn write(&mut self, body: &[u8]) -> Result<(), TransportError> {
        if !self.is_writable {
            return Err(TransportError::Closed);
        }
        let too_large = FrameError::TooLarge { found: body.len() };
        let len = u32::try_from(body.len()).map_err(|_| too_large)?;
        if body.len() > self.limit {
            return Err(too_large.into());
        }
        self.outbound.put_u32(len);
        self.outbound.put_slice(body);
        let budget = self.write_budget;
        let failure = match timeout(budget, self.write_and_read()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => medium_error(&error),
            Err(_) => TransportError::Io(format!("the other end did not read for {budget:?}")),
        };
        // Part of a byte string may be on its way: nothing may follow it.
        self.is_writable = false;
        self.outbound.clear();
        Err(failure)
    }

    /// Writes what waits. Meanwhile reads ahead, though not without bound: two ends that write at once
    /// would else wait for each other to read.
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
            tokio::select! {
                biased;
                written = &mut writing => return written,
                read = reader.read_buf(inbound), if has_room => *is_readable = read.is_ok_and(|bytes| bytes > 0),
            }
        }
    }

    /// Closes this end for writing. What was written may still arrive, and what the other end writes can
    /// still be read.
    pub(crate) async fn close(&mut self) -> Result<(), TransportError> {
        self.is_writable = false;
        match timeout(self.write_budget, self.writer.shutdown()).await {
            Ok(Err(error)) => match medium_error(&error) {
                TransportError::Closed => Ok(()),
                failure => Err(failure),
            },
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

/// A stream that the other end has left is closed, however it left.
pub(crate) fn medium_error(error: &io::Error) -> TransportError {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof => {
            TransportError::Closed
        }
        _ => TransportError::Io(error.to_string()),
    }
}
