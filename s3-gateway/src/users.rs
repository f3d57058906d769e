//! The users of this machine by their names, as the policies of buckets name them.

/// The number of a user. The file is read anew each time: this is asked when a policy is put, and never else.
pub(crate) fn find(name: &str) -> Option<u32> {
    let passwd = std::fs::read_to_string("/etc/passwd");
    passwd.map_err(|error| tracing::warn!(%error, "/etc/passwd cannot be read")).ok().and_then(|text| uid(&text, name))
}

fn uid(passwd: &str, name: &str) -> Option<u32> {
    let mut lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find(|fields| fields[0] == name).and_then(|fields| fields.get(2)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_names() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1001:100::/home/ann:/bin/sh\nbroken\n";
        assert_eq!(["ann", "an", "broken", ""].map(|name| uid(passwd, name)), [Some(1001), None, None, None]);
    }
}
