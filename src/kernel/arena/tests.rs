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
fn neighbours_that_were_freed_are_one() {
    let arena = arena();
    let [one, three] = [1000, 3000].map(|size| Layout::from_size_align(size, 8).unwrap());
    // SAFETY: blocks come from this arena, with the layouts given.
    unsafe {
        let [a, b, c, last] = [(); 4].map(|()| arena.alloc(one));
        for block in [b, c, a] {
            arena.dealloc(block, one);
        }
        assert_eq!(arena.alloc(three), a);
        arena.dealloc(a, three);
        arena.dealloc(last, one);
        assert_eq!(arena.alloc(one), a, "up to the newest");
    }
}

#[test]
fn large_blocks_are_used_again() {
    let arena = arena();
    let layout = |size| Layout::from_size_align(size, 8).unwrap();
    let (large, small) = (layout(3 * LARGE), layout(100));
    // SAFETY: blocks come from this arena, with the layouts given.
    unsafe {
        let a = arena.alloc(large);
        a.write_bytes(7, large.size());
        arena.dealloc(a, large);
        let b = arena.alloc(small);
        assert_eq!(b, a);
        let page = page_size() as usize;
        let c = arena.alloc(layout(LARGE));
        assert_eq!(c, a.add(page), "whole pages only");
        let d = arena.realloc(c, layout(LARGE), 2 * LARGE);
        assert_eq!((d.read(), d.add(LARGE - 1).read()), (7, 7));
        // A region that is full does not make it forgotten.
        let many: Vec<*mut u8> = (0..5).map(|_| arena.alloc(layout(LARGE - 1))).collect();
        assert!(many.iter().any(|block| (a as usize..a as usize + large.size()).contains(&(*block as usize))));
        let after = arena.alloc(layout(LARGE));
        after.write_bytes(1, LARGE);
        assert_eq!(b.read(), 7);
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
