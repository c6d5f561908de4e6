//! Large memory in large pages.
//!
//! A wide layer's weights are thousands of pages of 4 KiB, more than a processor remembers the places of, and every timestep
//! reads all of them. Linux gives pages of 2 MiB, on many systems only where they are asked for. That is a wish: not to get
//! them costs time, nothing else. On other systems memory from the allocator has no such wish.

use std::mem::MaybeUninit;

/// Asks for large pages under memory that is not written yet.
pub(super) fn wish(memory: &mut [MaybeUninit<f32>]) {
    #[cfg(target_os = "linux")]
    advise(memory, libc::MADV_HUGEPAGE);
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}

/// Moves memory into large pages whose small ones are there already, as where the allocator had it in use before.
pub(super) fn collapse(memory: &mut [f32]) {
    /// Of Linux 6.1 on; `libc` names it for the GNU library alone.
    #[cfg(target_os = "linux")]
    const COLLAPSE: libc::c_int = 25;
    #[cfg(target_os = "linux")]
    advise(memory, COLLAPSE);
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "system calls")]
fn advise<T>(memory: &mut [T], advice: libc::c_int) {
    /// Bytes of a large page on x86-64, and on AArch64 with small ones of 4 KiB.
    const LARGE: usize = 2 << 20;
    if size_of_val(memory) < LARGE {
        return;
    }
    // SAFETY: asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let Ok(page) = usize::try_from(page) else {
        return;
    };
    // A range begins with a small page; leaving out the one in which the memory begins would cost a large one.
    let before = memory.as_ptr().addr() % page.max(1);
    let start = memory.as_mut_ptr().wrapping_byte_sub(before);
    let len = before + size_of_val(memory);
    // SAFETY: every page of the range has bytes of `memory`, and the advice leaves what pages contain as it is.
    if unsafe { libc::madvise(start.cast(), len, advice) } != 0 {
        let error = std::io::Error::last_os_error();
        log::debug!("no large pages for {len} bytes: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_any_size_keeps_what_is_written() {
        for len in [0, 1, 1 << 18, (1 << 19) - 1, 1 << 20, (3 << 19) + 5] {
            let mut values = Vec::with_capacity(len);
            wish(values.spare_capacity_mut());
            values.extend((0..len).map(|index| index as f32));
            collapse(&mut values);
            let expected = (0..len).map(|index| index as f32);
            assert!(values.into_iter().eq(expected), "{len}");
        }
    }
}
