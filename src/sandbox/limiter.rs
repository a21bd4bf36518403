//! Sums memory and tables over a whole store: the limiter that comes with wasmtime bounds each of them alone.

use wasmtime::ResourceLimiter;

use super::engine::INSTANCES_PER_COMPONENT;
use super::invocation::Cancel;
use crate::model::Limits;

/// Counts what a store holds and refuses what would exceed its limits.
#[derive(Debug)]
pub(super) struct Limiter {
    memory: Sum,
    table: Sum,
    /// Where others see what is held.
    seen: Cancel,
}

/// One summed resource.
#[derive(Debug)]
struct Sum {
    held: u64,
    peak: u64,
    max: u64,
    refused: bool,
    /// The growth that was just allowed, taken back if the engine cannot perform it.
    last: u64,
}

impl Sum {
    const fn new(max: u64) -> Self {
        Self { held: 0, peak: 0, max, refused: false, last: 0 }
    }

    fn grow(&mut self, current: usize, desired: usize, declared_max: Option<usize>) -> bool {
        let more = (desired as u64).saturating_sub(current as u64);
        let held = self.held.saturating_add(more);
        if held > self.max {
            self.refused = true;
            return false;
        }
        if declared_max.is_some_and(|max| desired > max) {
            // The module's own bound, not ours: its growth fails, and it is not a matter of limits.
            return false;
        }
        (self.held, self.last, self.peak) = (held, more, self.peak.max(held));
        true
    }

    fn take_back(&mut self) {
        self.held = self.held.saturating_sub(self.last);
        self.last = 0;
        // What the engine itself has no room for is a limit, too: the operator's.
        self.refused = true;
    }
}

impl Limiter {
    pub(super) const fn new(limits: &Limits, seen: Cancel) -> Self {
        Self { memory: Sum::new(limits.memory_bytes), table: Sum::new(limits.table_elements), seen }
    }

    /// What there was too little of, if any growth was refused: a trap after it is named by it.
    pub(super) fn refused(&self) -> Option<String> {
        let Self { memory, table, .. } = self;
        match (memory.refused, table.refused) {
            (true, _) => Some(format!("{} bytes of memory", memory.max)),
            (false, true) => Some(format!("{} elements of tables", table.max)),
            (false, false) => None,
        }
    }

    pub(super) const fn memory_peak_bytes(&self) -> u64 {
        self.memory.peak
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, max: Option<usize>) -> wasmtime::Result<bool> {
        let grown = self.memory.grow(current, desired, max);
        self.seen.hold(self.memory.held);
        Ok(grown)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.take_back();
        self.seen.hold(self.memory.held);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, max: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.table.grow(current, desired, max))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.table.take_back();
        Ok(())
    }

    fn instances(&self) -> usize {
        INSTANCES_PER_COMPONENT as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter() -> Limiter {
        Limiter::new(&Limits { memory_bytes: 100, table_elements: 10, ..Limits::default() }, Cancel::default())
    }

    #[test]
    fn what_a_guest_holds_is_seen_while_it_runs() {
        let seen = Cancel::default();
        let mut limiter = Limiter::new(&Limits { memory_bytes: 100, ..Limits::default() }, seen.clone());
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert_eq!(seen.memory_bytes(), 60);
        limiter.memory_grow_failed(wasmtime::Error::msg("no")).unwrap();
        assert_eq!(seen.memory_bytes(), 0);
    }

    #[test]
    fn memories_are_summed() {
        let mut limiter = limiter();
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.memory_growing(0, 40, None).unwrap());
        assert_eq!(limiter.refused(), None);
        assert!(!limiter.memory_growing(60, 61, None).unwrap());
        assert!(limiter.refused().is_some());
        assert_eq!(limiter.memory_peak_bytes(), 100);
    }

    #[test]
    fn a_module_that_hits_its_own_maximum_was_not_refused_by_us() {
        let mut limiter = limiter();
        assert!(!limiter.table_growing(1, 5, Some(4)).unwrap());
        assert_eq!(limiter.refused(), None);
    }

    #[test]
    fn growth_that_the_engine_fails_is_not_held() {
        let mut limiter = limiter();
        assert!(limiter.table_growing(0, 8, None).unwrap());
        limiter.table_grow_failed(wasmtime::Error::msg("no")).unwrap();
        assert!(limiter.table_growing(0, 10, None).unwrap());
        assert!(limiter.refused().is_some());
    }
}
