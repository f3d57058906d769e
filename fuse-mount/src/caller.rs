//! On whose behalf the kernel asks.

use client::User;
use fuser::Request;

/// The user of a request. The kernel gives uid and gid; the other groups are those of the thread that asks.
pub(crate) fn of(request: &Request) -> User {
    // The superuser needs none, and to read them costs as much as the rest of a small request.
    let groups = if request.uid() == 0 { Vec::new() } else { groups(request.pid()) };
    User { uid: request.uid(), gid: request.gid(), groups }
}

/// Without them (the thread is in another PID namespace, or gone) there are fewer rights, not more.
fn groups(thread: u32) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    line.split_ascii_whitespace().filter_map(|group| group.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_of_a_thread_are_read() {
        let mut own = User::of_process().groups;
        let mut read = groups(std::process::id());
        own.sort_unstable();
        read.sort_unstable();
        assert_eq!(read, own);
        assert!(groups(0).is_empty());
    }
}
