//! The heap of the agent.

/// Where everything is allocated. In a block of its own for each size, as musl keeps it, what is free in one is of no use to
/// another; this one joins it, and the agent does with two thirds of the memory.
#[global_allocator]
static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
