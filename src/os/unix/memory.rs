//! The heap of the agent.

use std::alloc::{GlobalAlloc, Layout, System};

use dlmalloc::GlobalDlmalloc;

/// Where everything is allocated. In a block of its own for each size, as musl keeps it, what is free in one is of no use to
/// another; dlmalloc joins it, and the agent does with two thirds of the memory.
#[global_allocator]
static HEAP: Heap = Heap;

struct Heap;

/// What is as large as this, in bytes, is left to libc: it takes it from the kernel, and gives it back at once when a large
/// config or a buffer is done with. dlmalloc would keep it for as long as anything smaller lies behind it.
const LARGE: usize = 128 * 1024;

// SAFETY: both are allocators, and the size, which is the same at both ends, says which one a piece is of.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what is asked of this allocator is asked of that one.
        unsafe { if layout.size() < LARGE { GlobalDlmalloc.alloc(layout) } else { System.alloc(layout) } }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        // SAFETY: it was allocated with this layout, and so by the one that is chosen again.
        unsafe {
            if layout.size() < LARGE { GlobalDlmalloc.dealloc(piece, layout) } else { System.dealloc(piece, layout) }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above. What comes from the kernel is zero without being touched.
        unsafe { if layout.size() < LARGE { GlobalDlmalloc.alloc_zeroed(layout) } else { System.alloc_zeroed(layout) } }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; one that changes sides is allocated there, copied, and given back here. Its new layout is
        // valid because the caller promises that for `size`.
        unsafe {
            match (layout.size() < LARGE, size < LARGE) {
                (true, true) => GlobalDlmalloc.realloc(piece, layout, size),
                (false, false) => System.realloc(piece, layout, size),
                _ => {
                    let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                    if !moved.is_null() {
                        moved.copy_from_nonoverlapping(piece, layout.size().min(size));
                        self.dealloc(piece, layout);
                    }
                    moved
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_grows_and_shrinks_over_the_limit_keeps_what_is_in_it() {
        let mut bytes = Vec::new();
        for step in 0_usize..12 {
            bytes.resize((super::LARGE >> 6) << step, step as u8);
        }
        for step in (0..12).rev() {
            bytes.truncate((super::LARGE >> 6) << step);
            bytes.shrink_to_fit();
            assert_eq!(bytes.last(), Some(&(step as u8)));
        }
        assert!(bytes.iter().all(|byte| *byte == 0));
    }
}
