//! The guest's allocator: an arena that is there from the start, then the system's.
//!
//! A guest lives for one call, and most need little. Growing a Wasm memory costs the host tens of microseconds, since it
//! changes page tables on all its threads, and again when the memory shrinks for the next guest: a call that fits into the
//! arena never grows. The arena is zeros, which take no room in the module's file.
#![expect(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};

/// Bytes of the arena: inputs and outputs of some kilobytes with their JSON. Pages that are not used are never touched.
#[cfg(target_arch = "wasm32")]
const ARENA_BYTES: usize = 128 << 10;

#[cfg(all(target_arch = "wasm32", feature = "heap"))]
#[global_allocator]
static HEAP: Heap<ARENA_BYTES> = Heap::new();

/// Gives out the arena from its beginning to its end and takes back only what was given out last; what does not fit comes
/// from the system.
pub(crate) struct Heap<const BYTES: usize> {
    arena: UnsafeCell<Arena<BYTES>>,
    /// Bytes of the arena that are given out.
    used: Cell<usize>,
}

#[repr(align(16))]
struct Arena<const BYTES: usize>([u8; BYTES]);

// SAFETY: a guest has one thread; tests keep to one each.
unsafe impl<const BYTES: usize> Sync for Heap<BYTES> {}

impl<const BYTES: usize> Heap<BYTES> {
    pub(crate) const fn new() -> Self {
        Self { arena: UnsafeCell::new(Arena([0; BYTES])), used: Cell::new(0) }
    }

    fn base(&self) -> *mut u8 {
        self.arena.get().cast()
    }

    /// Where a block begins in the arena; `None` if it came from the system.
    fn place(&self, block: *mut u8) -> Option<usize> {
        (block as usize).checked_sub(self.base() as usize).filter(|place| *place < BYTES)
    }

    fn is_last(&self, place: usize, layout: Layout) -> bool {
        place + layout.size() == self.used.get()
    }
}

// SAFETY: blocks of the arena do not overlap, since `used` only moves past what is given out and back over the last block;
// they lie inside of it and are aligned. All others are the system's, and go back there.
unsafe impl<const BYTES: usize> GlobalAlloc for Heap<BYTES> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let address = self.base() as usize + self.used.get();
        let place = self.used.get() + (address.next_multiple_of(layout.align()) - address);
        match place.checked_add(layout.size()) {
            Some(end) if end <= BYTES => {
                self.used.set(end);
                // SAFETY: the block ends inside of the arena.
                unsafe { self.base().add(place) }
            }
            // SAFETY: the caller's promises are passed on.
            _ => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.place(block) {
            Some(place) if self.is_last(place, layout) => self.used.set(place),
            Some(_) => {}
            // SAFETY: it is not the arena's, so the system gave it out.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(place) = self.place(block) else {
            // SAFETY: it is not the arena's, so the system gave it out.
            return unsafe { System.realloc(block, layout, size) };
        };
        if size <= layout.size()
            || (self.is_last(place, layout) && place.checked_add(size).is_some_and(|end| end <= BYTES))
        {
            if self.is_last(place, layout) {
                self.used.set(place + size);
            }
            return block;
        }
        // SAFETY: the caller promises that the new size makes a layout; both blocks hold the bytes that are copied, and do not
        // overlap.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(block, new, layout.size());
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn blocks_are_aligned_and_apart() {
        let heap = Heap::<256>::new();
        let (a, b) = unsafe { (heap.alloc(layout(3, 1)), heap.alloc(layout(16, 16))) };
        assert_eq!((heap.place(a), heap.place(b)), (Some(0), Some(16)));
        assert_eq!(b as usize % 16, 0);
    }

    #[test]
    fn the_last_block_is_taken_back_and_grows_in_place() {
        let heap = Heap::<256>::new();
        unsafe {
            let a = heap.alloc(layout(8, 8));
            a.write_bytes(7, 8);
            let grown = heap.realloc(a, layout(8, 8), 100);
            assert_eq!((grown, heap.used.get()), (a, 100));
            heap.dealloc(grown, layout(100, 8));
            assert_eq!(heap.used.get(), 0);
        }
    }

    #[test]
    fn a_block_before_others_moves_when_it_grows() {
        let heap = Heap::<256>::new();
        unsafe {
            let a = heap.alloc(layout(8, 8));
            a.write_bytes(7, 8);
            heap.alloc(layout(8, 8));
            let grown = heap.realloc(a, layout(8, 8), 16);
            assert_ne!(grown, a);
            assert_eq!(std::slice::from_raw_parts(grown, 8), [7; 8]);
        }
    }

    #[test]
    fn what_does_not_fit_is_the_systems() {
        let heap = Heap::<64>::new();
        unsafe {
            let large = heap.alloc(layout(65, 1));
            assert_eq!((heap.place(large), heap.used.get()), (None, 0));
            large.write_bytes(1, 65);
            let larger = heap.realloc(large, layout(65, 1), 1_000);
            assert_eq!(*larger.add(64), 1);
            heap.dealloc(larger, layout(1_000, 1));
            let small = heap.alloc(layout(60, 1));
            small.write_bytes(9, 60);
            let moved = heap.realloc(small, layout(60, 1), 100);
            assert_eq!((heap.place(moved), *moved.add(59), heap.used.get()), (None, 9, 0));
            heap.dealloc(moved, layout(100, 1));
        }
    }
}
