//! The calls of the C library that std has no safe way for. The one file of the program with `unsafe`.
//!
//! Constants: `include/uapi/asm-generic/mman-common.h` of the kernel, the same on x86-64, arm64 and riscv64.

#![allow(
    unsafe_code,
    reason = "mmap with MAP_HUGETLB, madvise and a second listen are not in std"
)]

use std::ffi::{c_int, c_void};
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::ptr::{NonNull, null_mut};
use std::slice;

const PROT_READ: c_int = 1;
const PROT_WRITE: c_int = 2;
const MAP_PRIVATE: c_int = 0x02;
const MAP_ANONYMOUS: c_int = 0x20;
const MAP_HUGETLB: c_int = 0x40000;
/// The base-2 logarithm of the page size stands in the flags from this bit on.
const MAP_HUGE_SHIFT: u32 = 26;
const MADV_HUGEPAGE: c_int = 14;
const MADV_NOHUGEPAGE: c_int = 15;

unsafe extern "C" {
    fn mmap(start: *mut c_void, length: usize, prot: c_int, flags: c_int, fd: c_int, at: i64) -> *mut c_void;
    fn munmap(start: *mut c_void, length: usize) -> c_int;
    fn madvise(start: *mut c_void, length: usize, advice: c_int) -> c_int;
    fn listen(socket: c_int, backlog: c_int) -> c_int;
}

/// What the kernel is told of transparent huge pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transparent {
    Wanted,
    Unwanted,
    /// Nothing: the guest's setting decides.
    Unsaid,
}

/// Anonymous memory, zeroed, of this process alone.
#[derive(Debug)]
pub(crate) struct Memory {
    start: NonNull<c_void>,
    length: usize,
}

impl Memory {
    /// Ordinary pages.
    pub(crate) fn ordinary(length: usize, transparent: Transparent) -> io::Result<Self> {
        let memory = Self::map(length, 0)?;
        let advice = match transparent {
            Transparent::Wanted => MADV_HUGEPAGE,
            Transparent::Unwanted => MADV_NOHUGEPAGE,
            Transparent::Unsaid => return Ok(memory),
        };
        // SAFETY: the range is the mapping that was just made; neither advice changes what it holds.
        let refused = unsafe { madvise(memory.start.as_ptr(), length, advice) } != 0;
        // A kernel without transparent huge pages knows no such advice, and gives none.
        if refused && transparent == Transparent::Wanted {
            return Err(io::Error::last_os_error());
        }
        Ok(memory)
    }

    /// Pages of the pool of this size, a power of two; the length is a multiple of it.
    pub(crate) fn from_pool(length: usize, page: usize) -> io::Result<Self> {
        let size = c_int::try_from(page.trailing_zeros()).map_err(io::Error::other)?;
        Self::map(length, MAP_HUGETLB | (size << MAP_HUGE_SHIFT))
    }

    fn map(length: usize, more: c_int) -> io::Result<Self> {
        let (prot, flags) = (PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | more);
        // SAFETY: a new anonymous mapping where the kernel likes it touches no memory that is in use.
        let start = unsafe { mmap(null_mut(), length, prot, flags, -1, 0) };
        // MAP_FAILED is -1.
        match NonNull::new(start) {
            Some(start) if start.addr().get() != usize::MAX => Ok(Self { start, length }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// All of it, as words.
    pub(crate) fn words(&mut self) -> &mut [usize] {
        let words = self.length / size_of::<usize>();
        // SAFETY: the mapping is readable, writable, zeroed, aligned to a page, and lives and is borrowed as long as
        // `self`; any bits are a usize.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr().cast(), words) }
    }

    /// Where it begins.
    pub(crate) fn address(&self) -> usize {
        self.start.addr().get()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody borrows it any more.
        unsafe { munmap(self.start.as_ptr(), self.length) };
    }
}

/// Asks for another length of the queue of connections that wait to be accepted; the kernel takes at most
/// `net.core.somaxconn`.
pub(crate) fn set_backlog(listener: &TcpListener, backlog: c_int) -> io::Result<()> {
    // SAFETY: the socket is open as long as `listener`; a second listen changes its backlog only.
    if unsafe { listen(listener.as_raw_fd(), backlog) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zeroed_and_ours() {
        let mut memory = Memory::ordinary(1 << 16, Transparent::Unwanted).unwrap();
        assert_eq!(memory.words().len(), (1 << 16) / 8);
        assert!(memory.words().iter().all(|word| *word == 0));
        memory.words()[8191] = 7;
        assert_eq!((memory.words()[8191], memory.address() % 4096), (7, 0));
        assert!(Memory::ordinary(0, Transparent::Unwanted).is_err());
        assert!(
            Memory::from_pool(1 << 16, 1 << 16).is_err(),
            "no such pool on x86"
        );
    }
}
