//! The program's allocator: memory is handed out in a row and given back as a whole by the end of the process.
//!
//! One run lives for milliseconds and frees nearly nothing before its end. So a small block costs an addition, nothing but
//! the pages that are used is ever touched, and a standard run needs no system call: the first region lies in `.bss`.
//! Given back and used again are the newest block, large blocks, which have mappings of their own, and the longest block
//! that was freed in between: a page that was touched before is the cheapest one.

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
/// Blocks of this size get a mapping of their own, which grows without a copy and goes back to the kernel.
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
    /// What is left of the longest block that was given back before its turn.
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
    fn start(&mut self, address: usize, size: usize) {
        *self = Region { cursor: address, end: address + size, fresh: address, spare: 0..0 };
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

    /// Gives the block back if it is the newest, or is longer than what is spare; otherwise it stays unused.
    fn give_back(&mut self, address: usize, size: usize) {
        if address + size == self.cursor {
            self.cursor = address;
        } else if address + size == self.spare.start {
            self.spare.start = address;
        } else if size > self.spare.len() {
            self.spare = address..address + size;
        }
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
// blocks are mappings of their own. Which of both a block is follows from its size, which callers must give back unchanged.
unsafe impl GlobalAlloc for Arena {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > MAX_ALIGN {
            return null_mut();
        }
        let address = if is_large(layout.size()) {
            map(layout.size())
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
        if is_large(layout.size()) {
            // SAFETY: the block is a mapping of its own, of that many pages. A failure leaves it mapped, no more.
            unsafe { libc::munmap(block.cast(), pages(layout.size()).unwrap_or(0)) };
        } else {
            self.with_region(|region| region.give_back(block as usize, layout.size()));
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
                // SAFETY: the block is a mapping of its own, of `old` bytes.
                let moved = unsafe { libc::mremap(block.cast(), old, new, libc::MREMAP_MAYMOVE) };
                return if moved == libc::MAP_FAILED { null_mut() } else { moved.cast() };
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
mod tests {
    use super::*;

    /// A block and the byte that fills it.
    struct Block {
        start: *mut u8,
        layout: Layout,
        fill: u8,
    }

    impl Block {
        fn bytes(&self) -> &[u8] {
            // SAFETY: the block is live and has that many bytes.
            unsafe { std::slice::from_raw_parts(self.start, self.layout.size()) }
        }

        fn fill(&mut self, byte: u8) {
            self.fill = byte;
            // SAFETY: as above.
            unsafe { self.start.write_bytes(byte, self.layout.size()) };
        }

        fn check(&self) {
            assert!(self.bytes().iter().all(|b| *b == self.fill), "a block of {:?} was written over", self.layout);
        }
    }

    /// A new arena; leaked, for it is large.
    fn arena() -> &'static Arena {
        Box::leak(Box::new(Arena::new()))
    }

    struct Dice(u64);

    impl Dice {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % n
        }

        fn layout(&mut self) -> Layout {
            let most = [16, 300, 5000, LARGE + 9000][self.below(4)];
            Layout::from_size_align(1 + self.below(most), 1 << self.below(13)).unwrap()
        }
    }

    /// SAFETY of the calls below: layouts have a size, and blocks come from the same arena with the same layout.
    fn play(arena: &Arena, seed: u64, rounds: usize) {
        let mut dice = Dice(seed);
        let mut blocks: Vec<Block> = Vec::new();
        for round in 0..rounds {
            let fill = round as u8;
            let which = if blocks.is_empty() { 0 } else { dice.below(blocks.len()) };
            match dice.below(6) {
                0 | 1 => {
                    let layout = dice.layout();
                    // SAFETY: see above.
                    blocks.push(Block { start: unsafe { arena.alloc(layout) }, layout, fill });
                }
                2 => {
                    let layout = dice.layout();
                    // SAFETY: see above.
                    let zeroed = Block { start: unsafe { arena.alloc_zeroed(layout) }, layout, fill: 0 };
                    zeroed.check();
                    blocks.push(Block { fill, ..zeroed });
                }
                3 if !blocks.is_empty() => {
                    let old = blocks.swap_remove(which);
                    old.check();
                    // SAFETY: see above.
                    unsafe { arena.dealloc(old.start, old.layout) };
                    continue;
                }
                // The newest block half of the time, for it is the special one.
                4 | 5 if !blocks.is_empty() => {
                    let which = if dice.below(2) == 0 { blocks.len() - 1 } else { which };
                    let old = blocks.swap_remove(which);
                    let layout = Layout::from_size_align(dice.layout().size(), old.layout.align()).unwrap();
                    // SAFETY: see above.
                    let start = unsafe { arena.realloc(old.start, old.layout, layout.size()) };
                    let kept = old.layout.size().min(layout.size());
                    let new = Block { start, layout, fill };
                    assert!(new.bytes()[..kept].iter().all(|b| *b == old.fill));
                    blocks.push(new);
                }
                _ => continue,
            }
            let newest = blocks.last_mut().unwrap();
            assert!(!newest.start.is_null() && (newest.start as usize).is_multiple_of(newest.layout.align()));
            newest.fill(fill);
        }
        blocks.iter().for_each(Block::check);
        for block in blocks {
            // SAFETY: see above.
            unsafe { arena.dealloc(block.start, block.layout) };
        }
    }

    #[test]
    fn blocks_are_aligned_apart_and_keep_their_bytes() {
        for seed in 0..10 {
            play(arena(), seed, 1000);
        }
    }

    #[test]
    fn threads_may_share_it() {
        let arena = arena();
        std::thread::scope(|scope| {
            for seed in 0..4 {
                scope.spawn(move || play(arena, seed, 500));
            }
        });
    }

    #[test]
    fn the_newest_block_grows_shrinks_and_comes_back_in_place() {
        let arena = arena();
        let layout = Layout::from_size_align(100, 8).unwrap();
        // SAFETY: blocks come from this arena, with the layouts given.
        unsafe {
            let a = arena.alloc(layout);
            let b = arena.alloc(layout);
            assert_eq!(arena.realloc(b, layout, 5000), b);
            assert_ne!(arena.realloc(a, layout, 200), a, "not the newest");
            let c = arena.alloc(layout);
            arena.dealloc(c, layout);
            assert_eq!(arena.alloc(layout), c);
            c.write_bytes(7, 100);
            arena.dealloc(c, layout);
            let again = arena.alloc_zeroed(layout);
            assert_eq!((again, again.read(), again.add(99).read()), (c, 0, 0));
        }
    }

    #[test]
    fn the_longest_block_that_was_freed_is_used_again() {
        let arena = arena();
        let [long, short] = [1000, 100].map(|size| Layout::from_size_align(size, 8).unwrap());
        // SAFETY: blocks come from this arena, with the layouts given.
        unsafe {
            let a = arena.alloc(long);
            let b = arena.alloc(short);
            let last = arena.alloc(short);
            a.write_bytes(7, 1000);
            arena.dealloc(b, short);
            arena.dealloc(a, long);
            let again = arena.alloc_zeroed(short);
            assert_eq!((again, again.read(), again.add(99).read()), (a, 0, 0));
            assert_eq!(arena.realloc(again, short, 600), a, "grows within it");
            assert_ne!(arena.alloc(long), a, "too long for the rest");
            assert_eq!(arena.alloc(short), a.add(600));
            assert!(!last.is_null());
        }
    }

    #[test]
    fn what_cannot_be_had_is_null() {
        let arena = arena();
        // SAFETY: the layouts have a size.
        unsafe {
            assert!(arena.alloc(Layout::from_size_align(8, 2 * MAX_ALIGN).unwrap()).is_null());
            assert!(arena.alloc_zeroed(Layout::from_size_align(8, 2 * MAX_ALIGN).unwrap()).is_null());
            let most = Layout::from_size_align(isize::MAX as usize & !7, 8).unwrap();
            assert!(arena.alloc(most).is_null());
            let small = Layout::from_size_align(8, 8).unwrap();
            let block = arena.alloc(small);
            block.write_bytes(3, 8);
            assert!(arena.realloc(block, small, most.size()).is_null());
            assert_eq!(block.read(), 3, "a failed realloc leaves the block");
        }
    }

    #[test]
    fn a_region_that_is_full_is_followed_by_another() {
        let arena = arena();
        let layout = Layout::from_size_align(LARGE - 1, 1).unwrap();
        let blocks: Vec<Block> = (0..100)
            .map(|fill| {
                // SAFETY: the layout has a size.
                let mut block = Block { start: unsafe { arena.alloc_zeroed(layout) }, layout, fill: 0 };
                block.check();
                block.fill(fill);
                block
            })
            .collect();
        blocks.iter().for_each(Block::check);
    }
}
