//! The thread that makes guests without fuel give way: it moves their engine's epoch on for as long as any of them runs.
//!
//! Guests that count fuel give way by their own count. The others look at the epoch in every loop and at every function, and give
//! way when it has moved: [`turn`](super::turn) then decides whether they go on.
//!
//! **Invariant:** while nobody is [`Ticking`], the thread sleeps and costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use wasmtime::Engine;

use super::error::Error;

/// Between two steps of the epoch: a guest's turn is one or two of them, and 2,000 wakings a second take about one percent of a core.
const STEP: Duration = Duration::from_micros(500);

/// The thread of one engine; it ends with this.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Guests that run now.
    guests: AtomicUsize,
    stop: AtomicBool,
}

/// A guest that wants the epoch to move, until it is dropped.
#[derive(Debug)]
pub(super) struct Ticking {
    shared: Arc<Shared>,
}

impl Ticker {
    pub(super) fn begin(engine: Engine) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = thread::Builder::new().name("lovage-epoch".to_owned());
        let thread = thread.spawn(move || seen.tick(&engine)).map_err(Error::io("start the thread of the epoch"))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The epoch moves until what is returned is dropped.
    pub(super) fn ticking(&self) -> Ticking {
        if self.shared.guests.fetch_add(1, Ordering::SeqCst) == 0 {
            self.wake();
        }
        Ticking { shared: Arc::clone(&self.shared) }
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.as_ref().map(JoinHandle::thread) {
            Thread::unpark(thread);
        }
    }
}

impl Shared {
    fn tick(&self, engine: &Engine) {
        while !self.stop.load(Ordering::SeqCst) {
            // Whoever wakes it between the look and the sleep has left a token, and it does not sleep.
            if self.guests.load(Ordering::SeqCst) == 0 {
                thread::park();
            } else {
                thread::park_timeout(STEP);
                engine.increment_epoch();
            }
        }
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.shared.guests.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.wake();
        // It ends within one step; a thread that panicked has nothing left to end.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_stands_still_unless_a_guest_runs() {
        let mut settings = wasmtime::Config::new();
        settings.epoch_interruption(true);
        let engine = Engine::new(&settings).unwrap();
        let ticker = Ticker::begin(engine.clone()).unwrap();
        let endless = wat::parse_str(r#"(module (func (export "f") (loop $a (br $a))))"#).unwrap();
        let module = wasmtime::Module::new(&engine, endless).unwrap();
        let stops = |ticking: Option<Ticking>| {
            let mut store = wasmtime::Store::new(&engine, ());
            store.set_epoch_deadline(3);
            let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
            let call = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap().call(&mut store, ());
            drop(ticking);
            call.unwrap_err().downcast::<wasmtime::Trap>().unwrap() == wasmtime::Trap::Interrupt
        };
        assert!(stops(Some(ticker.ticking())));
        assert_eq!(ticker.shared.guests.load(Ordering::SeqCst), 0);
        // And again, after it has slept.
        let (one, other) = (ticker.ticking(), ticker.ticking());
        drop(one);
        assert!(stops(Some(other)));
        let guests = Arc::downgrade(&ticker.shared);
        drop(ticker);
        assert!(guests.upgrade().is_none(), "its thread has ended");
    }
}
