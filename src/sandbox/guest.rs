//! The state beside one instance: what it may see of the world, and what it has said and taken.
//!
//! **Invariant:** nothing of the machine is inherited: no directory, no network, no environment of the host's, a clock of
//! milliseconds and a seeded stream of random numbers; what goes beyond that is in its grants.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use sha2::{Digest as _, Sha256};
use wasmtime::{CallHook, CallHookHandler, Store, StoreContextMut};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::epoch::Ticking;
use super::http::Outgoing;
use super::invocation::{Attempt, Cancel, Invocation};
use super::limiter::Limiter;
use super::mask::Mask;
use super::module::Module;
use super::notes::{Clock, Notes};
use super::reach::Asking;
use super::stdio::{Lines, Output};
use crate::model::grants::{ClockGrain, RandomSource};
use crate::model::{Contract, Limits, Metering};

/// Bytes that one host call may take from a guest, besides its output: arguments are copied before anyone looks at them.
const HOST_CALL_BYTES: u64 = 16 << 20;

/// Open handles of a guest, on its side and on ours, where each takes some hundred bytes that no limit of the guest counts:
/// one call of `poll_oneoff` could ask for a million. Interpreters use a few dozen.
const HANDLES_MAX: usize = 1_000;

/// Random bytes in one call: many times what seeds a hash map or names a file.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

/// A guest in host calls gives way at least so often: fuel measures only what happens inside of it.
const HOST_CALL_SLICE: Duration = Duration::from_micros(200);

/// What a host call costs, as the call of a function that computes for a third of a microsecond would: a guest that does nothing
/// but call its host pays for it, and a budget of fuel bounds its calls.
const HOST_CALL_FUEL: u64 = 5_000;

/// The fine clock is for attacks on caches.
const CLOCK_RESOLUTION: Duration = Duration::from_millis(1);

/// What a store holds.
pub(super) struct Guest {
    pub(super) limiter: Limiter,
    pub(super) notes: Notes,
    pub(super) output: Output,
    pub(super) attempt: Attempt,
    pub(super) asking: Asking,
    pub(super) http: Outgoing,
    pub(super) cancel: Cancel,
    pub(super) attempt_timeout: Duration,
    pub(super) output_bytes_max: u64,
    /// What it may use at most; unless that is not counted.
    pub(super) fuel: Option<u64>,
    wasi: WasiP1Ctx,
    lines: [Lines; 2],
    /// When it last let others run after a host call.
    gave_way: Instant,
    metering: Metering,
    /// What makes it give way while it computes, where that is not its fuel.
    ticking: Option<Ticking>,
}

impl Guest {
    fn new(module: &Module, invocation: Invocation) -> Self {
        let Invocation { attempt, input, limits, manifest, reach, now, notes, cancel } = invocation;
        let clock = Clock { handed_over: now, since: Instant::now() };
        let mask = Mask::default();
        let notes = Notes::new(notes, clock, mask.clone(), limits.log_bytes);
        let output = Output::new(limits.output_bytes);
        let lines = [Lines::new(notes.clone()), Lines::new(notes.clone())];
        let [stdout, stderr] = &lines;
        let mut wasi = WasiCtxBuilder::new();
        wasi.stderr(stderr.clone());
        match module.contract() {
            Contract::Command | Contract::CommandComponent => {
                wasi.stdin(MemoryInputPipe::new(input)).stdout(output.clone());
                wasi.arg("task").args(&manifest.args_for(&attempt.task));
                for (key, value) in &reach.granted.config {
                    wasi.env(key.as_str(), value);
                }
                wasi.env("LOVAGE_TASK", attempt.task.as_str());
                wasi.env("LOVAGE_TASK_ID", attempt.task_id.as_str());
                wasi.env("LOVAGE_ATTEMPT", attempt.attempt.to_string());
                wasi.env("LOVAGE_DEADLINE_MS", limits.attempt_timeout.as_millis().to_string());
            }
            Contract::Task | Contract::Typed => {
                wasi.stdin(MemoryInputPipe::new(Bytes::new())).stdout(stdout.clone());
            }
        }
        clocks(&mut wasi, reach.granted.clock, clock);
        random(&mut wasi, reach.granted.random, &attempt);
        let mut wasi = wasi.build_p1();
        wasi.ctx().table.set_max_capacity(HANDLES_MAX);
        let http = Outgoing::new(module.http.as_ref(), &reach.granted, &attempt.tenant, &notes);
        Self {
            limiter: Limiter::new(&limits, cancel.clone()),
            notes,
            output,
            attempt,
            asking: Asking::new(reach, mask),
            http,
            cancel,
            attempt_timeout: limits.attempt_timeout,
            output_bytes_max: limits.output_bytes,
            fuel: limits.fuel,
            wasi,
            lines,
            gave_way: clock.since,
            metering: module.class().metering,
            ticking: None,
        }
    }

    pub(super) const fn wasi_p1(&mut self) -> &mut WasiP1Ctx {
        &mut self.wasi
    }

    /// Passes on lines that have no end.
    pub(super) fn finish_lines(&self) {
        self.lines.iter().for_each(Lines::finish);
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.http.view(self.wasi.ctx().table)
    }
}

/// A fresh store with every limit set: start functions run when it is instantiated.
///
/// # Errors
/// An engine of another metering, which its machine's is not.
pub(super) fn store(module: &Module, invocation: Invocation) -> wasmtime::Result<Store<Guest>> {
    let Limits { fuel, output_bytes, .. } = invocation.limits;
    let mut store = Store::new(&module.machine.engine, Guest::new(module, invocation));
    store.limiter(|guest| &mut guest.limiter);
    store.data_mut().ticking = module.machine.meter(&mut store, fuel)?;
    // An output may pass in one call.
    let host_call_bytes = HOST_CALL_BYTES.saturating_add(output_bytes);
    store.set_hostcall_fuel(usize::try_from(host_call_bytes).unwrap_or(usize::MAX));
    store.set_max_component_handles(HANDLES_MAX);
    store.call_hook_async(GiveWay);
    Ok(store)
}

/// Makes a guest that spends its time in host calls give way, as fuel or the epoch does to one that computes: only then can its
/// deadline or a cancel end it, and only then do others on its thread go on.
struct GiveWay;

#[wasmtime_wasi::async_trait]
impl CallHookHandler<Guest> for GiveWay {
    async fn handle_call_event(&self, mut store: StoreContextMut<'_, Guest>, event: CallHook) -> wasmtime::Result<()> {
        if matches!(event, CallHook::ReturningFromHost) {
            let guest = store.data_mut();
            if guest.metering.is_fuel() {
                let owed = guest.asking.take_owed().saturating_add(guest.http.take_owed());
                let left = store.get_fuel()?;
                store.set_fuel(left.saturating_sub(HOST_CALL_FUEL.saturating_add(owed)))?;
            }
            let gave_way = &mut store.data_mut().gave_way;
            if gave_way.elapsed() >= HOST_CALL_SLICE {
                *gave_way = Instant::now();
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}

/// The same numbers for every try of an attempt, and others for the next attempt and for every other task.
fn seeds(attempt: &Attempt) -> ([u8; 32], u128) {
    let hash = |purpose: &str| -> [u8; 32] {
        let mut hasher = Sha256::new();
        for part in [purpose, attempt.tenant.as_str(), attempt.task_id.as_str()] {
            hasher.update(part.as_bytes());
            hasher.update([0]);
        }
        hasher.update(attempt.attempt.to_le_bytes());
        hasher.finalize().into()
    };
    let insecure = hash("insecure").iter().take(16).fold(0u128, |seed, byte| (seed << 8) | u128::from(*byte));
    (hash("random"), insecure)
}

/// The clocks of a guest: of whole milliseconds, unless the fine one is granted.
fn clocks(wasi: &mut WasiCtxBuilder, grain: ClockGrain, clock: Clock) {
    match grain {
        ClockGrain::Coarse => wasi.wall_clock(Coarse(clock)).monotonic_clock(Coarse(clock)),
        ClockGrain::Precise => wasi.wall_clock(Fine(clock)).monotonic_clock(Fine(clock)),
    };
}

/// The random numbers of a guest: a stream that follows from its attempt, unless the entropy of the machine is granted.
fn random(wasi: &mut WasiCtxBuilder, source: RandomSource, attempt: &Attempt) {
    wasi.max_random_size(RANDOM_BYTES_MAX);
    let (seed, insecure_seed) = seeds(attempt);
    let (seed, insecure_seed) = match source {
        RandomSource::Seeded => (seed, insecure_seed),
        // A generator for cryptography that begins anywhere.
        RandomSource::Entropy => (rand::random(), rand::random()),
    };
    wasi.secure_random(StdRng::from_seed(seed)).insecure_random(StdRng::from_seed(seed));
    wasi.insecure_random_seed(insecure_seed);
}

/// The clock of the machine from the time of the hand-over on.
struct Fine(Clock);

impl HostWallClock for Fine {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        let millis = u64::try_from(self.0.handed_over.as_millis()).unwrap_or_default();
        Duration::from_millis(millis).saturating_add(self.0.since.elapsed())
    }
}

impl HostMonotonicClock for Fine {
    fn resolution(&self) -> u64 {
        1
    }

    /// It begins at a millisecond, as the coarse one does.
    fn now(&self) -> u64 {
        u64::try_from(self.0.since.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1_000_000)
    }
}

/// A clock rounded down to milliseconds.
struct Coarse(Clock);

impl HostWallClock for Coarse {
    fn resolution(&self) -> Duration {
        CLOCK_RESOLUTION
    }

    fn now(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.now().as_millis()).unwrap_or(0))
    }
}

impl HostMonotonicClock for Coarse {
    fn resolution(&self) -> u64 {
        u64::try_from(CLOCK_RESOLUTION.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The first millisecond is number 1: the runtime of Go takes a clock that says 0 for a broken one, and gives up.
    fn now(&self) -> u64 {
        let millis = u64::try_from(self.0.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        millis.saturating_add(1).saturating_mul(1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn the_monotonic_clock_never_says_zero() {
        let clock = Clock { handed_over: Timestamp::from_millis(0), since: Instant::now() };
        assert!(HostMonotonicClock::now(&Coarse(clock)) > 0);
    }
}
