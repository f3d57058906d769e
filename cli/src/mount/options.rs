//! The words behind `-o`, as mount(8) and fstab(5) have them.

use std::str::FromStr;
use std::time::Duration;

use fuse_mount::{Options, Refused};
use rustix::mount::MountFlags;
use types::{ByteSize, Path};

use crate::exit::Failure;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MountOption {
    ReadOnly(bool),
    AccessTimes(bool),
    Refuse(Refused),
    /// Of a mount that is there: `ro`, `nosuid` and their like are as this line says from now on.
    Remount,
    AllowOther,
    RootSquash(bool),
    AttrTimeout(Duration),
    WriteMemory(ByteSize),
    Threads(usize),
    Subdir(Path),
    Cluster(String),
    /// For mount(8), or what we do anyway.
    Nothing,
}

/// Words that mean nothing to us: of mount(8), or what is always so.
const IGNORED: [&str; 14] = [
    "defaults",
    "default_permissions",
    "auto",
    "noauto",
    "nofail",
    "_netdev",
    "user",
    "users",
    "nouser",
    "nodiratime",
    "async",
    "exec",
    "suid",
    "dev",
];
const KNOWN: [&str; 16] = [
    "remount",
    "relatime",
    "noatime",
    "ro",
    "rw",
    "nosuid",
    "nodev",
    "noexec",
    "allow_other",
    "root_squash",
    "no_root_squash",
    "attr_timeout",
    "write_memory",
    "threads",
    "subdir",
    "cluster",
];

impl FromStr for MountOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, value) = text.split_once('=').unwrap_or((text, ""));
        let wants = |example: &str| format!("{word} wants a value; write {word}={example}");
        let size = || value.parse::<ByteSize>().map_err(|_| wants("256MiB"));
        Ok(match word {
            "ro" => Self::ReadOnly(true),
            "rw" => Self::ReadOnly(false),
            "remount" => Self::Remount,
            "relatime" => Self::AccessTimes(true),
            "noatime" => Self::AccessTimes(false),
            "nosuid" => Self::Refuse(Refused::Privileges),
            "nodev" => Self::Refuse(Refused::Devices),
            "noexec" => Self::Refuse(Refused::Programs),
            "allow_other" => Self::AllowOther,
            "root_squash" => Self::RootSquash(true),
            "no_root_squash" => Self::RootSquash(false),
            "attr_timeout" => Self::AttrTimeout(humantime::parse_duration(value).map_err(|_| wants("1s"))?),
            "write_memory" => Self::WriteMemory(size()?),
            "threads" => match value.parse() {
                Ok(threads @ 1..=64) => Self::Threads(threads),
                _ => return Err(wants("4 (at most 64)")),
            },
            "subdir" => Self::Subdir(path(value)?),
            // Several addresses: commas separate options, so they come as options of their own.
            "cluster" if !value.is_empty() => Self::Cluster(value.to_owned()),
            "cluster" => return Err(wants("127.0.0.1:8020")),
            _ if IGNORED.contains(&word) || word.starts_with("x-") || word.starts_with("comment") => Self::Nothing,
            _ => return Err(unknown(word)),
        })
    }
}

fn unknown(word: &str) -> String {
    let nearest =
        KNOWN.iter().max_by(|one, other| strsim::jaro_winkler(one, word).total_cmp(&strsim::jaro_winkler(other, word)));
    format!("{word:?} is not an option of this mount; did you mean {}?", nearest.expect("there are some"))
}

pub(super) fn path(text: &str) -> Result<Path, String> {
    Path::parse(text.as_bytes()).map_err(|error| format!("{text:?} is not a path of the cluster: {error}"))
}

impl MountOption {
    pub(super) fn apply(&self, options: &mut Options, cluster: &mut Vec<String>) {
        match self {
            Self::ReadOnly(read_only) => options.read_only = *read_only,
            Self::AccessTimes(kept) => options.access_times = *kept,
            Self::Refuse(what) => options.refused.push(*what),
            Self::AllowOther => options.allow_other = true,
            Self::RootSquash(squash) => options.root_squash = *squash,
            Self::AttrTimeout(timeout) => options.attr_timeout = *timeout,
            Self::WriteMemory(size) => options.write_memory = *size,
            Self::Threads(threads) => options.threads = *threads,
            Self::Subdir(path) => options.subdir = path.clone(),
            Self::Cluster(address) => cluster.push(address.clone()),
            Self::Remount | Self::Nothing => {}
        }
    }
}

/// Has the kernel treat what is mounted on `point` as the options say. What the daemon does stays as it is.
pub(super) fn remount(point: &std::path::Path, options: &Options) -> Result<(), Failure> {
    let refused = options.refused.iter().map(|what| match what {
        Refused::Privileges => MountFlags::NOSUID,
        Refused::Devices => MountFlags::NODEV,
        Refused::Programs => MountFlags::NOEXEC,
    });
    let read_only = options.read_only.then_some(MountFlags::RDONLY);
    rustix::mount::mount_remount(point, refused.chain(read_only).collect(), c"")
        .map_err(|error| Failure::local(point, &error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_an_fstab_line_are_read() {
        let mut options = Options::default();
        let mut cluster = Vec::new();
        let line = "defaults,_netdev,noatime,nosuid,nodev,ro,write_memory=1GiB,attr_timeout=5s,subdir=/a/b,cluster=h:1,cluster=h:2,x-systemd.automount";
        for word in line.split(',') {
            word.parse::<MountOption>().expect("legal").apply(&mut options, &mut cluster);
        }
        let wanted = Options {
            read_only: true,
            access_times: false,
            refused: vec![Refused::Privileges, Refused::Devices],
            write_memory: ByteSize::mib(1024),
            attr_timeout: Duration::from_secs(5),
            subdir: Path::parse(b"/a/b").expect("legal"),
            ..Options::default()
        };
        assert_eq!((options, cluster), (wanted, vec!["h:1".to_owned(), "h:2".to_owned()]));
    }

    #[test]
    fn a_wrong_option_is_told_with_the_nearest_or_an_example() {
        let refused = |text: &str| text.parse::<MountOption>().expect_err("wrong");
        assert_eq!(
            refused("allow_others"),
            "\"allow_others\" is not an option of this mount; did you mean allow_other?"
        );
        assert_eq!(refused("write_memory=much"), "write_memory wants a value; write write_memory=256MiB");
        assert_eq!(refused("threads=0"), "threads wants a value; write threads=4 (at most 64)");
    }
}
