//! Places for compilers: bounded, with one that large modules never take, so that a small one waits for milliseconds and not for
//! the half minute of an interpreter.

use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::Error;

/// Bytes of Wasm above which a module is large: one of a mebibyte takes seconds, and most are far below.
const LARGE_BYTES: usize = 1 << 20;

/// How many modules are compiled at a time.
#[derive(Debug)]
pub(super) struct Compilers {
    all: Semaphore,
    large: Semaphore,
}

/// The right to run a compiler, until it is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    _one: SemaphorePermit<'a>,
    _large: Option<SemaphorePermit<'a>>,
}

impl Compilers {
    /// As many as there are threads for guests, which keep their share of the machine; two at least.
    pub(super) fn new(threads: usize) -> Self {
        let all = threads.max(2);
        Self { all: Semaphore::new(all), large: Semaphore::new(all - 1) }
    }

    /// A place for a module of so many bytes, as soon as one is free; large ones stand in a line of their own before that.
    pub(super) async fn place(&self, wasm_bytes: usize) -> Result<Place<'_>, Error> {
        let large = match wasm_bytes > LARGE_BYTES {
            true => Some(self.large.acquire().await.map_err(|_| Error::Stopped)?),
            false => None,
        };
        Ok(Place { _one: self.all.acquire().await.map_err(|_| Error::Stopped)?, _large: large })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn large_modules_leave_a_place_for_small_ones() {
        for threads in [1, 2, 4] {
            let compilers = Compilers::new(threads);
            let mut held = Vec::new();
            while let Some(place) = compilers.place(LARGE_BYTES + 1).now_or_never() {
                held.push(place.unwrap());
            }
            assert_eq!(held.len(), threads.max(2) - 1);
            let small = compilers.place(LARGE_BYTES).now_or_never().unwrap().unwrap();
            assert!(compilers.place(1).now_or_never().is_none(), "they are bounded, too");
            drop(small);
            assert!(compilers.place(1).now_or_never().is_some());
            drop(held);
            assert!(compilers.place(LARGE_BYTES + 1).now_or_never().is_some());
        }
    }
}
