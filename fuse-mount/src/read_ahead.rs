//! How far the kernel reads ahead. Of a FUSE mount that is 128 KiB, unless it is told otherwise in `/sys`.

use std::io;
use std::path::Path;

/// Four of the longest requests.
const KIB: u32 = 4096;

/// Lets the kernel read further ahead in what is mounted on `point`. Only the superuser may.
pub fn raise(point: &Path) -> io::Result<()> {
    let point = point.canonicalize()?;
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let point = point.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    let device = device(&table, point).ok_or(io::ErrorKind::NotFound)?;
    std::fs::write(format!("/sys/class/bdi/{device}/read_ahead_kb"), KIB.to_string())
}

/// The device number of the last mount on a point, from the lines of proc_pid_mountinfo(5).
fn device<'a>(table: &'a str, point: &str) -> Option<&'a str> {
    let escaped = point.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011").replace('\n', "\\012");
    let fields = |line: &'a str| {
        let mut fields = line.split(' ').skip(2);
        Some((fields.next()?, fields.nth(1)?))
    };
    table.lines().rev().filter_map(fields).find(|(_, on)| *on == escaped).map(|(device, _)| device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_mount_on_a_point_is_found() {
        let table = "36 35 98:0 / /mnt rw - ext3 /dev/root rw\n\
                     40 35 0:31 / /mnt/a\\040b rw - fuse.ashlar ashlar rw\n\
                     41 36 0:32 / /mnt rw - fuse.ashlar ashlar rw\n";
        let found = ["/mnt", "/mnt/a b", "/mnt/a", "/"].map(|point| device(table, point));
        assert_eq!(found, [Some("0:32"), Some("0:31"), None, None]);
    }
}
