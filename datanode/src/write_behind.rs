//! Asks the kernel to begin writing a range of a file, without waiting for it.

use std::fs::File;
use std::os::fd::AsRawFd;

/// Begins; nothing is promised, and a failure shows at the next fsync.
pub(crate) fn start(file: &File, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else {
        return;
    };
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and the call takes no pointers.
    #[allow(unsafe_code, reason = "no library at hand wraps this call")]
    let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
}
