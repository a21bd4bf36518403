//! Standard streams of a guest: an output that is bounded, and lines that become notes.
//!
//! Streams of our own, since those that come with wasmtime-wasi trap without a name when they are full.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::notes::{Notes, cut};
use crate::model::Level;

/// What a guest may write in one call before it asks again.
const PERMIT_BYTES: usize = 64 << 10;

/// A line longer than this is passed on in parts.
pub(super) const LINE_BYTES_MAX: usize = 8 << 10;

/// The stdout of a command: collects the task's output up to its limit, then stops the guest.
#[derive(Clone, Debug)]
pub(super) struct Output(Arc<Mutex<Collected>>);

#[derive(Debug)]
struct Collected {
    bytes: BytesMut,
    bytes_max: u64,
    exceeded: bool,
}

impl Output {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self(Arc::new(Mutex::new(Collected { bytes: BytesMut::new(), bytes_max, exceeded: false })))
    }

    /// Whether the guest wrote more than it may.
    pub(super) fn has_exceeded(&self) -> bool {
        self.lock().exceeded
    }

    /// What was written; the stream is empty afterwards.
    pub(super) fn take(&self) -> Bytes {
        self.lock().bytes.split().freeze()
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    /// Only WASI 0.3 asks for it, which is off.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut collected = self.lock();
        let len = (collected.bytes.len() as u64).saturating_add(bytes.len() as u64);
        if len > collected.bytes_max {
            collected.exceeded = true;
            return Err(StreamError::trap("the output exceeds its limit"));
        }
        collected.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT_BYTES)
    }
}

/// A stream whose lines become notes: stderr always, stdout too where the output has another way.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    notes: Notes,
    partial: Arc<Mutex<Vec<u8>>>,
}

impl Lines {
    pub(super) fn new(notes: Notes) -> Self {
        Self { notes, partial: Arc::default() }
    }

    /// Passes on the last line, which need not have an end.
    pub(super) fn finish(&self) {
        let partial = std::mem::take(&mut *self.lock());
        if !partial.is_empty() {
            self.pass_on(&partial);
        }
    }

    fn push(&self, mut bytes: &[u8]) {
        let mut partial = self.lock();
        while let Some(at) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(at);
            bytes = rest.strip_prefix(b"\n").unwrap_or(rest);
            partial.extend_from_slice(line);
            self.pass_on(&partial);
            partial.clear();
        }
        partial.extend_from_slice(bytes);
        while partial.len() > LINE_BYTES_MAX {
            let rest = partial.split_off(LINE_BYTES_MAX);
            let line = std::mem::replace(&mut *partial, rest);
            self.pass_on(&line);
        }
    }

    fn pass_on(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        self.notes.remember(cut(&text, LINE_BYTES_MAX));
        self.notes.log(Level::Info, &text);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    /// Only WASI 0.3 asks for it, which is off.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT_BYTES)
    }
}
