//! The program's allocator: memory is handed out in a row and given back as a whole by the end of the process.
//!
//! One run lives for milliseconds and frees nearly nothing before its end. So a small block costs an addition, nothing but
//! the pages that are used is ever touched, and a standard run needs no system call: the first region lies in `.bss`.
//! Used again are the newest block and the longest row of blocks that were freed in between, large ones too: a page that
//! was touched before is the cheapest one.

use super::limits::page_size;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ops::Range;
use std::ptr::{copy_nonoverlapping, null_mut, write_bytes};
use std::sync::atomic::{AtomicBool, Ordering};

/// Size of the region in `.bss`.
const FIRST: usize = 256 << 10;
/// Size of every later region; a page of it that is not used costs nothing.
const NEXT: usize = 4 << 20;
/// Blocks of this size consist of whole pages, mostly of a mapping of their own, and grow without a copy.
const LARGE: usize = 128 << 10;
/// Larger alignments are refused: nothing in the program has one.
const MAX_ALIGN: usize = 4096;

/// An allocator to be installed with `#[global_allocator]`. The order of the fields puts the bookkeeping on the page of the
/// first blocks.
#[repr(C)]
pub struct Arena {
    busy: AtomicBool,
    region: UnsafeCell<Region>,
    first: UnsafeCell<[u8; FIRST]>,
}

/// Addresses within the region in use. All are 0 before the first block.
struct Region {
    /// Where the next block may start.
    cursor: usize,
    end: usize,
    /// From here on nothing was ever handed out, so it is still zero.
    fresh: usize,
    /// What is left of the longest row of blocks that were given back before their turn.
    spare: Range<usize>,
}

// SAFETY: `region`, and `first` through it, are touched only by the holder of `busy`.
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena that has handed out nothing.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Arena {
        Arena {
            busy: AtomicBool::new(false),
            region: UnsafeCell::new(Region { cursor: 0, end: 0, fresh: 0, spare: 0..0 }),
            first: UnsafeCell::new([0; FIRST]),
        }
    }

    /// Runs `work` on the region while nobody else does. The program has one thread: waiting is for correctness only.
    fn with_region<T>(&self, work: impl FnOnce(&mut Region) -> T) -> T {
        while self.busy.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            std::hint::spin_loop();
        }
        // SAFETY: `busy` is ours, and `work` does not come back here.
        let region = unsafe { &mut *self.region.get() };
        if region.end == 0 {
            region.start(self.first.get() as usize, FIRST);
        }
        let result = work(region);
        self.busy.store(false, Ordering::Release);
        result
    }
}

impl Region {
    /// Goes on in a new region; what is left of the old one may still be the longest that is spare.
    fn start(&mut self, address: usize, size: usize) {
        let left = self.cursor..self.end;
        let spare = if left.len() > self.spare.len() { left } else { self.spare.clone() };
        *self = Region { cursor: address, end: address + size, fresh: address, spare };
    }

    /// The address of a new block, and how many of its first bytes may be other than zero. `None` = it does not fit.
    fn take(&mut self, layout: Layout) -> Option<(usize, usize)> {
        if let Some(start) = self.take_spare(layout) {
            return Some((start, layout.size()));
        }
        let start = self.cursor.checked_next_multiple_of(layout.align())?;
        let end = start.checked_add(layout.size()).filter(|end| *end <= self.end)?;
        self.cursor = end;
        let used_before = self.fresh.saturating_sub(start).min(layout.size());
        self.fresh = self.fresh.max(end);
        Some((start, used_before))
    }

    /// A large block from what is spare; only its owner touches its pages.
    fn take_spare_pages(&mut self, size: usize) -> Option<usize> {
        self.take_spare(Layout::from_size_align(pages(size)?, page_size() as usize).ok()?)
    }

    fn take_spare(&mut self, layout: Layout) -> Option<usize> {
        let start = self.spare.start.checked_next_multiple_of(layout.align())?;
        let end = start.checked_add(layout.size()).filter(|end| *end <= self.spare.end)?;
        self.spare.start = end;
        Some(start)
    }

    /// As [`Region::take`], in a new region if need be.
    fn take_or_grow(&mut self, layout: Layout) -> Option<(usize, usize)> {
        if let Some(taken) = self.take(layout) {
            return Some(taken);
        }
        self.start(map(NEXT)?, NEXT);
        self.take(layout)
    }

    /// Takes a block back that is the newest, borders on what is spare, or is longer than that; `false` = it stays unused.
    fn give_back(&mut self, address: usize, size: usize) -> bool {
        if address + size == self.cursor {
            self.cursor = address;
        } else if address + size == self.spare.start {
            self.spare.start = address;
        } else if address == self.spare.end {
            self.spare.end += size;
        } else if size > self.spare.len() {
            self.spare = address..address + size;
        } else {
            return false;
        }
        if self.spare.end == self.cursor && !self.spare.is_empty() {
            self.cursor = self.spare.start;
            self.spare = 0..0;
        }
        true
    }

    /// Changes the size of the block where it lies; false = it cannot be done there.
    fn resize(&mut self, address: usize, old: usize, new: usize) -> bool {
        if address + old == self.spare.start && address.checked_add(new).is_some_and(|end| end <= self.spare.end) {
            self.spare.start = address + new;
            return true;
        }
        if address + old != self.cursor {
            return new <= old;
        }
        match address.checked_add(new) {
            Some(end) if end <= self.end => {
                self.cursor = end;
                self.fresh = self.fresh.max(end);
                true
            }
            _ => false,
        }
    }
}

fn is_large(size: usize) -> bool {
    size >= LARGE
}

/// Whole pages for `size` bytes.
fn pages(size: usize) -> Option<usize> {
    size.checked_next_multiple_of(page_size() as usize)
}

/// New zero pages; `None` when the kernel has none.
fn map(size: usize) -> Option<usize> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at a place that the kernel chooses touches nothing that exists.
    let address = unsafe { libc::mmap(null_mut(), pages(size)?, protection, flags, -1, 0) };
    (address != libc::MAP_FAILED).then_some(address as usize)
}

// Never inlined: link-time optimisation would copy the whole allocator to every place that allocates.
//
// SAFETY: blocks do not overlap: within a region the cursor only moves over space that no live block holds, and large
// blocks are whole pages. Which of both a block is follows from its size, which callers must give back unchanged.
unsafe impl GlobalAlloc for Arena {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > MAX_ALIGN {
            return null_mut();
        }
        let address = if is_large(layout.size()) {
            self.with_region(|region| region.take_spare_pages(layout.size())).or_else(|| map(layout.size()))
        } else {
            self.with_region(|region| region.take_or_grow(layout)).map(|(address, _)| address)
        };
        address.unwrap_or(0) as *mut u8
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() > MAX_ALIGN {
            return null_mut();
        }
        if is_large(layout.size()) {
            return map(layout.size()).unwrap_or(0) as *mut u8;
        }
        match self.with_region(|region| region.take_or_grow(layout)) {
            Some((address, used_before)) => {
                let block = address as *mut u8;
                // SAFETY: `used_before` is at most the size of the block, which is ours.
                unsafe { write_bytes(block, 0, used_before) };
                block
            }
            None => null_mut(),
        }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let large = is_large(layout.size());
        let size = if large { pages(layout.size()).unwrap_or(0) } else { layout.size() };
        let kept = self.with_region(|region| region.give_back(block as usize, size));
        if large && !kept {
            // SAFETY: a large block is whole pages that nobody else uses. A failure leaves them mapped, no more.
            unsafe { libc::munmap(block.cast(), size) };
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        match (is_large(layout.size()), is_large(new_size)) {
            (true, true) => {
                let (Some(old), Some(new)) = (pages(layout.size()), pages(new_size)) else { return null_mut() };
                if old == new {
                    return block;
                }
                // SAFETY: a large block is whole pages that nobody else uses, `old` bytes of them.
                let moved = unsafe { libc::mremap(block.cast(), old, new, libc::MREMAP_MAYMOVE) };
                // It fails, among others, for a block that was made of two mappings.
                if moved != libc::MAP_FAILED {
                    return moved.cast();
                }
            }
            (false, false) if self.with_region(|r| r.resize(block as usize, layout.size(), new_size)) => {
                return block;
            }
            _ => {}
        }
        // SAFETY: `new_size` is not 0 and does not overflow, as the caller promises; the old alignment is valid.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: as the caller promises for this block; both blocks are live, apart and large enough.
        unsafe {
            let new = self.alloc(new_layout);
            if !new.is_null() {
                copy_nonoverlapping(block, new, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests;
