//! Bodies that count what passes: requests up to a cap, responses up to another and never with a pause that is too long.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use wasmtime_wasi_http::{Error, WasiBody};

use super::send::of_hyper;

/// The body of a request, on its way out.
pub(super) struct Sending {
    body: WasiBody,
    left: u64,
    max: u64,
}

impl Sending {
    pub(super) const fn new(body: WasiBody, max: u64) -> Self {
        Self { body, left: max, max }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            match taken(self.left, frame) {
                Some(left) => self.left = left,
                None => return Poll::Ready(Some(Err(Error::HttpRequestBodySize(Some(self.max))))),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a response, on its way in.
pub(super) struct Receiving {
    body: Incoming,
    left: u64,
    max: u64,
    pause_max: Duration,
    pause: Pin<Box<Sleep>>,
    /// Whether someone waits: a guest that does not read is no pause of the server's.
    is_awaited: bool,
}

impl Receiving {
    pub(super) fn new(body: Incoming, max: u64, pause_max: Duration) -> Self {
        Self { body, left: max, max, pause_max, pause: Box::pin(sleep(pause_max)), is_awaited: false }
    }
}

impl Body for Receiving {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(polled) => {
                self.is_awaited = false;
                Poll::Ready(match polled {
                    Some(Ok(frame)) => match taken(self.left, &frame) {
                        Some(left) => {
                            self.left = left;
                            Some(Ok(frame))
                        }
                        None => Some(Err(Error::HttpResponseBodySize(Some(self.max)))),
                    },
                    Some(Err(error)) => Some(Err(of_hyper(error))),
                    None => None,
                })
            }
            Poll::Pending => {
                if !self.is_awaited {
                    self.is_awaited = true;
                    let until = Instant::now() + self.pause_max;
                    self.pause.as_mut().reset(until);
                }
                match self.pause.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(Error::ConnectionReadTimeout))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What is left of a cap after a frame.
fn taken(left: u64, frame: &Frame<Bytes>) -> Option<u64> {
    left.checked_sub(frame.data_ref().map_or(0, |data| data.len() as u64))
}
