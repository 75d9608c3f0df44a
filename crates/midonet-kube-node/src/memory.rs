//! The C library keeps what is freed, for each thread on its own: after a list of thousands of objects that
//! is most of what the agent would ever take.

/// Lets all threads share one arena: the agent allocates too little for them to wait for each other.
pub fn share_one_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: plain integers; it is called before there are other threads.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives what is free back to the kernel.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: a plain integer; the allocator takes its own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
