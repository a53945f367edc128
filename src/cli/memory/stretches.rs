//! The allocator: large blocks lie in reserved stretches of address space, and grow where they are.
//!
//! A guest's memory grows while it is made, and again when the guest first allocates. The system's allocator moves it then,
//! unless what is behind it happens to be free: a megabyte is copied, which takes as long as the callback itself. Here it
//! stays, because the addresses behind it are its own, and the next instance finds its pages still there, which saves
//! their faults as well.
//!
//! Every other block is the system allocator's, and so is a large one when all stretches are taken or it outgrows one.
#![allow(
    unsafe_code,
    reason = "an allocator hands out raw memory, and reserving addresses is a call of the system"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

/// Blocks from this size on are large. A guest that was made with Rust or C has a stack of a megabyte, and begins with
/// a little less: the host makes its memory smaller at first, for the room that a vector gets when it grows.
const LARGE: usize = 256 * 1024;

/// The addresses of one stretch. A guest may have 50 MiB, unless the operator gives it more.
const RESERVED: usize = 64 * 1024 * 1024;

/// How much of a stretch stays in memory when its block is freed.
const KEPT: usize = 4 * 1024 * 1024;

/// How many stretches there are: callbacks that run, and those whose instances wait for a worker.
const STRETCHES: usize = 16;

/// Pages have 4 to 64 KiB, as the system was built; a Raspberry Pi 5 has 16.
const SMALLEST_PAGE: usize = 4 * 1024;
const LARGEST_PAGE: usize = 64 * 1024;

/// No addresses were reserved yet.
const EMPTY: u8 = 0;
/// The addresses are there, and nobody has them.
const FREE: u8 = 1;
/// A block lies there.
const TAKEN: u8 = 2;

/// The allocator.
pub struct Stretches {
    stretches: [Stretch; STRETCHES],
}

struct Stretch {
    state: AtomicU8,
    /// Where it begins. Set once, by the first thread that takes it.
    start: AtomicPtr<u8>,
}

impl Stretches {
    /// With nothing reserved.
    pub const fn new() -> Self {
        Self {
            stretches: [const { Stretch { state: AtomicU8::new(EMPTY), start: AtomicPtr::new(ptr::null_mut()) } };
                STRETCHES],
        }
    }

    /// Returns the pages of all free stretches to the system. Their addresses stay reserved.
    pub fn give_back(&self) {
        for stretch in &self.stretches {
            if stretch.becomes(FREE, TAKEN) {
                discard(stretch.start.load(Ordering::Acquire), 0, KEPT);
                stretch.state.store(FREE, Ordering::Release);
            }
        }
    }

    /// A stretch for a block. The first ones are preferred: their pages are in memory, and in the processor's caches.
    fn take(&self) -> Option<*mut u8> {
        let free = self.stretches.iter().find(|stretch| stretch.becomes(FREE, TAKEN));
        if let Some(stretch) = free {
            return Some(stretch.start.load(Ordering::Acquire));
        }
        let stretch = self.stretches.iter().find(|stretch| stretch.becomes(EMPTY, TAKEN))?;
        let start = reserve();
        stretch.start.store(start, Ordering::Release);
        if start.is_null() {
            stretch.state.store(EMPTY, Ordering::Release);
            return None;
        }
        Some(start)
    }

    /// The stretch of a block, unless the block is the system allocator's.
    fn of(&self, block: *mut u8) -> Option<&Stretch> {
        self.stretches.iter().find(|stretch| ptr::eq(stretch.start.load(Ordering::Acquire), block))
    }

    /// Takes a block back that used `size` bytes.
    fn free(&self, stretch: &Stretch, size: usize) {
        discard(stretch.start.load(Ordering::Acquire), KEPT, size);
        stretch.state.store(FREE, Ordering::Release);
    }

    /// Moves a block to where blocks of its new size lie.
    ///
    /// # Safety
    /// As [`GlobalAlloc::realloc`].
    unsafe fn relocate(&self, block: *mut u8, old: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller vouches for block and sizes; the new block is another one and is as large as what is copied.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, old.align()));
            if !new.is_null() {
                ptr::copy_nonoverlapping(block, new, old.size().min(size));
                self.dealloc(block, old);
            }
            new
        }
    }
}

impl Stretch {
    fn becomes(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

fn is_for_a_stretch(size: usize) -> bool {
    (LARGE..=RESERVED).contains(&size)
}

// SAFETY: a block is either the system allocator's, which keeps the rules, or a whole stretch that nobody else has until
// it is freed; which of them it is depends on its address alone. A stretch begins at a page, and `alloc` sends
// those that ask for more alignment than that to the system's allocator.
unsafe impl GlobalAlloc for Stretches {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_for_a_stretch(layout.size())
            && layout.align() <= SMALLEST_PAGE
            && let Some(start) = self.take()
        {
            return start;
        }
        // SAFETY: as the caller of this function vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // Fresh pages of the system are zero without being touched.
        // SAFETY: as the caller of this function vouches.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() >= LARGE
            && let Some(stretch) = self.of(block)
        {
            return self.free(stretch, layout.size());
        }
        // SAFETY: it is no stretch, so it came from there.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let lies_in_one = layout.size() >= LARGE && self.of(block).is_some();
        if lies_in_one && is_for_a_stretch(size) {
            discard(block, size.max(KEPT), layout.size());
            return block;
        }
        if lies_in_one || (layout.size() < LARGE && is_for_a_stretch(size)) {
            // SAFETY: as the caller of this function vouches.
            return unsafe { self.relocate(block, layout, size) };
        }
        // SAFETY: it is no stretch, so it came from there.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// Reserves the addresses of a stretch; null when the system has none. Memory is there when it is first written to.
fn reserve() -> *mut u8 {
    // SAFETY: it asks for new addresses and touches none that exist.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            RESERVED,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if start == libc::MAP_FAILED { ptr::null_mut() } else { start.cast() }
}

/// Returns the pages from one offset of a stretch to another to the system. They read as zero afterwards.
fn discard(start: *mut u8, from: usize, to: usize) {
    if from < to {
        let from = from.next_multiple_of(LARGEST_PAGE);
        // SAFETY: the caller has the stretch, and no block uses what lies there.
        unsafe {
            libc::madvise(start.wrapping_add(from).cast(), to.saturating_sub(from), libc::MADV_DONTNEED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of an allocator of its own, filled with its number.
    struct Block<'a> {
        of: &'a Stretches,
        start: *mut u8,
        layout: Layout,
    }

    impl<'a> Block<'a> {
        fn new(of: &'a Stretches, size: usize, fill: u8) -> Self {
            let layout = Layout::from_size_align(size, 1).unwrap();
            // SAFETY: the layout is not empty, and the block is as large as it says.
            let start = unsafe {
                let start = of.alloc(layout);
                assert!(!start.is_null());
                start.write_bytes(fill, size);
                start
            };
            Self { of, start, layout }
        }

        fn resize(&mut self, size: usize) {
            // SAFETY: block and layout belong together.
            self.start = unsafe { self.of.realloc(self.start, self.layout, size) };
            assert!(!self.start.is_null());
            self.layout = Layout::from_size_align(size, 1).unwrap();
        }

        fn bytes(&self) -> &[u8] {
            // SAFETY: the tests read what was written only.
            unsafe { std::slice::from_raw_parts(self.start, self.layout.size()) }
        }

        fn is_in_a_stretch(&self) -> bool {
            self.of.of(self.start).is_some()
        }
    }

    impl Drop for Block<'_> {
        fn drop(&mut self) {
            // SAFETY: block and layout belong together.
            unsafe { self.of.dealloc(self.start, self.layout) };
        }
    }

    #[test]
    fn large_blocks_lie_in_stretches_and_others_do_not() {
        let stretches = Stretches::new();
        for (size, expected) in [(1, false), (LARGE - 1, false), (LARGE, true), (LARGE + 1, true)] {
            assert_eq!(Block::new(&stretches, size, 1).is_in_a_stretch(), expected, "{size} bytes");
        }
        let layout = |size| Layout::from_size_align(size, 1).unwrap();
        for (size, expected) in [(RESERVED, true), (RESERVED + 1, false)] {
            // SAFETY: the block is freed as it was made, and not touched.
            unsafe {
                let start = stretches.alloc(layout(size));
                assert_eq!(stretches.of(start).is_some(), expected, "{size} bytes");
                stretches.dealloc(start, layout(size));
            }
        }
    }

    #[test]
    fn a_large_block_grows_and_shrinks_where_it_is() {
        let stretches = Stretches::new();
        let mut block = Block::new(&stretches, LARGE, 7);
        let start = block.start;
        for size in [LARGE + 1, 2 * LARGE, RESERVED, 6 * LARGE, LARGE] {
            block.resize(size);
            assert_eq!(block.start, start, "{size} bytes");
            assert!(block.bytes()[..LARGE].iter().all(|byte| *byte == 7), "{size} bytes");
        }
    }

    #[test]
    fn a_block_that_becomes_large_or_is_large_no_more_keeps_its_bytes() {
        let stretches = Stretches::new();
        let mut block = Block::new(&stretches, LARGE - 1, 7);
        for (size, expected) in [(LARGE, true), (LARGE - 1, false), (LARGE, true), (RESERVED + 1, false)] {
            block.resize(size);
            assert_eq!(block.is_in_a_stretch(), expected, "{size} bytes");
            assert!(block.bytes()[..LARGE - 1].iter().all(|byte| *byte == 7), "{size} bytes");
        }
    }

    #[test]
    fn no_two_blocks_share_a_stretch_and_the_next_block_gets_a_free_one() {
        let stretches = Stretches::new();
        let mut blocks: Vec<_> =
            (0..=STRETCHES as u8).map(|number| Block::new(&stretches, LARGE, number)).collect();
        let last = blocks.pop().unwrap();
        assert!(!last.is_in_a_stretch(), "all stretches were taken");
        for (number, block) in blocks.iter().enumerate() {
            assert!(block.is_in_a_stretch());
            assert!(block.bytes().iter().all(|byte| usize::from(*byte) == number), "block {number}");
        }
        let freed = blocks.remove(3).start;
        assert_eq!(Block::new(&stretches, LARGE, 1).start, freed);
    }

    #[test]
    fn threads_that_take_and_free_at_the_same_time_never_meet_in_one_stretch() {
        let stretches = &Stretches::new();
        std::thread::scope(|scope| {
            for number in 1..=4 {
                scope.spawn(move || {
                    for _ in 0..100 {
                        let block = Block::new(stretches, LARGE, number);
                        assert!(block.bytes().iter().all(|byte| *byte == number));
                    }
                });
            }
        });
    }

    #[test]
    fn what_is_given_back_is_what_no_block_uses() {
        let stretches = Stretches::new();
        let kept = Block::new(&stretches, LARGE, 7);
        let freed = {
            let block = Block::new(&stretches, KEPT + LARGE, 8);
            block.start
        };
        // SAFETY: the addresses of a free stretch stay reserved, and nobody else knows these.
        let byte_at = |offset: usize| unsafe { freed.add(offset).read_volatile() };
        assert_eq!((byte_at(KEPT - 1), byte_at(KEPT)), (8, 0), "only a part stays when a block is freed");
        stretches.give_back();
        assert_eq!(byte_at(0), 0);
        assert!(kept.bytes().iter().all(|byte| *byte == 7));
        assert_eq!(Block::new(&stretches, LARGE, 9).start, freed, "its addresses are taken again");
    }
}
