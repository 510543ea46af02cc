//! The heap of the agent.

use std::alloc::{GlobalAlloc, Layout, System};

use dlmalloc::GlobalDlmalloc;

/// The allocator of the agent. musl's allocator has separate blocks for each size, so free memory in one cannot serve
/// another size. dlmalloc joins free memory, and the agent needs only two thirds as much.
#[global_allocator]
static HEAP: Heap = Heap;

struct Heap;

/// Pieces from this size on, in bytes, are left to libc: it takes them from the kernel and returns them at once, for
/// example after a large config. dlmalloc would keep such a piece for as long as a smaller one lies behind it.
const LARGE: usize = 128 * 1024;

// SAFETY: both are allocators. The size of a piece decides which one it is from, and is the same when it is freed.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises to this allocator are passed on to the other one.
        unsafe { if layout.size() < LARGE { GlobalDlmalloc.alloc(layout) } else { System.alloc(layout) } }
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        // SAFETY: the piece was allocated with this layout, so by the allocator that the size selects again.
        unsafe {
            if layout.size() < LARGE { GlobalDlmalloc.dealloc(piece, layout) } else { System.dealloc(piece, layout) }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`. Memory from the kernel is zero without being touched.
        unsafe { if layout.size() < LARGE { GlobalDlmalloc.alloc_zeroed(layout) } else { System.alloc_zeroed(layout) } }
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above. A piece that changes allocators is allocated in the new one, copied, and freed in the old
        // one. The new layout is valid because the caller promises that for `size`.
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
    fn a_piece_that_changes_allocators_keeps_its_content() {
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
