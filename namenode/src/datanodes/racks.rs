//! Where machines stand. The rack of a host is what the map says (`rack_map`), else what the script says (`rack_script`), else
//! what its datanode says of itself.
//!
//! 1. Looking a rack up waits for nothing: the script runs for a datanode that registers, and in [`refresh`].
//! 2. A map or a script that fails changes nothing that is known.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::settings::Settings;
use crate::wire::MAX_LABEL;

/// A script that runs for longer is killed.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(10);
const SCRIPT_LOOK: Duration = Duration::from_millis(10);
/// Hosts that a script is asked about at once, and those that are remembered.
const SCRIPT_HOSTS: usize = 100;
const MAX_HOSTS: usize = 100_000;
/// A map, and an answer of a script, is at most so long.
const MAX_MAP: u64 = 16 << 20;
const MAX_ANSWER: u64 = 64 << 10;

/// Hosts and their racks.
type Map = BTreeMap<String, String>;

#[derive(Debug)]
pub(crate) struct Racks {
    map: Option<PathBuf>,
    script: Option<PathBuf>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    map: Map,
    /// When the file was changed that the map is from.
    modified: Option<SystemTime>,
    scripted: Map,
    /// Hosts that the script has not been asked about.
    wanted: BTreeSet<String>,
}

impl Racks {
    /// Fails with what is wrong with the map.
    pub(crate) fn open(settings: &Settings) -> Result<Self, String> {
        let Settings { rack_map, rack_script, .. } = settings;
        let racks = Self { map: rack_map.clone(), script: rack_script.clone(), known: Mutex::default() };
        racks.read_map()?;
        Ok(racks)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of this lock panics")
    }

    /// The rack of a machine with this name and, if it is known, this IP address; none if only it itself can say.
    pub(super) fn of(&self, host: &str, ip: Option<&str>) -> Option<String> {
        let mut known = self.known();
        let mapped = [Some(host), ip].into_iter().flatten().find_map(|name| known.map.get(name));
        if let Some(rack) = mapped.or_else(|| known.scripted.get(host)) {
            return Some(rack.clone());
        }
        if self.script.is_some() && !host.is_empty() && known.wanted.len() < MAX_HOSTS {
            known.wanted.insert(host.to_owned());
        }
        None
    }

    /// As [`Self::of`], and asks the script if it must. Blocks.
    fn find(&self, host: &str, ip: Option<&str>) -> Option<String> {
        if let Some(rack) = self.of(host, ip) {
            return Some(rack);
        }
        self.script.as_ref()?;
        self.ask(&[host.to_owned()]);
        self.of(host, ip)
    }

    /// Reads the map if it was changed since.
    fn read_map(&self) -> Result<(), String> {
        let Some(path) = &self.map else { return Ok(()) };
        let failed = |error: std::io::Error| format!("rack_map {}: {error}", path.display());
        let metadata = fs::metadata(path).map_err(failed)?;
        let modified = metadata.modified().map_err(failed)?;
        if self.known().modified == Some(modified) {
            return Ok(());
        }
        if metadata.len() > MAX_MAP {
            return Err(format!("rack_map {} is longer than {MAX_MAP} bytes", path.display()));
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        let map = parse(&text).map_err(|(line, problem)| format!("rack_map {}:{line}: {problem}", path.display()))?;
        info!(hosts = map.len(), path = %path.display(), "the map of racks is read");
        let mut known = self.known();
        (known.map, known.modified) = (map, Some(modified));
        Ok(())
    }

    /// Asks the script about hosts, and remembers what it says (invariant 2).
    fn ask(&self, hosts: &[String]) {
        let Some(script) = &self.script else { return };
        for hosts in hosts.chunks(SCRIPT_HOSTS) {
            match run(script, hosts) {
                Ok(racks) => {
                    let mut known = self.known();
                    known.wanted.retain(|host| !hosts.contains(host));
                    let room = MAX_HOSTS.saturating_sub(known.scripted.len());
                    known.scripted.extend(hosts.iter().cloned().zip(racks).take(room));
                }
                Err(problem) => warn!(script = %script.display(), problem, "the script tells no racks"),
            }
        }
    }

    fn look_again(&self) {
        if let Err(problem) = self.read_map() {
            warn!(problem, "the map of racks stays as it was");
        }
        let hosts = {
            let known = self.known();
            known.scripted.keys().chain(&known.wanted).cloned().collect::<Vec<_>>()
        };
        self.ask(&hosts);
    }
}

/// The rack of a datanode that registers, which says `own` of itself.
pub(crate) async fn of_datanode(racks: &Arc<Racks>, host: &str, transfer: &str, own: String) -> String {
    let (racks, host, ip) = (Arc::clone(racks), host.to_owned(), ip_of(transfer).map(str::to_owned));
    let found = tokio::task::spawn_blocking(move || racks.find(&host, ip.as_deref())).await;
    found.ok().flatten().unwrap_or(own)
}

/// Looks at the map and asks the script again, every `interval` until `stop`.
pub(crate) async fn refresh(racks: Arc<Racks>, interval: Duration, stop: CancellationToken) {
    if racks.map.is_none() && racks.script.is_none() {
        return;
    }
    while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
        let racks = Arc::clone(&racks);
        if let Err(error) = tokio::task::spawn_blocking(move || racks.look_again()).await {
            warn!(%error, "looking for racks ended early");
        }
    }
}

/// The IP address of a transfer address.
pub(super) fn ip_of(transfer: &str) -> Option<&str> {
    transfer.rsplit_once(':').map(|(ip, _)| ip.trim_start_matches('[').trim_end_matches(']'))
}

/// One host or address and its rack on each line; `#` begins a comment. The error is the line and what is wrong with it.
fn parse(text: &str) -> Result<Map, (usize, String)> {
    let mut map = Map::new();
    for (at, line) in text.lines().enumerate() {
        let wrong = |problem: String| (at + 1, problem);
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let [host, rack] = words[..] else {
            if words.is_empty() {
                continue;
            }
            return Err(wrong(format!("write a host and its rack, not {} words", words.len())));
        };
        check(rack).map_err(wrong)?;
        if map.insert(host.to_owned(), rack.to_owned()).is_some() {
            return Err(wrong(format!("{host} was there before")));
        }
        if map.len() > MAX_HOSTS {
            return Err(wrong(format!("there are more than {MAX_HOSTS} hosts")));
        }
    }
    Ok(map)
}

fn check(rack: &str) -> Result<(), String> {
    match rack.len() {
        2..=MAX_LABEL if rack.starts_with('/') && !rack.contains(char::is_whitespace) => Ok(()),
        _ => Err(format!("{rack:?} is not a rack such as /room1/rack7")),
    }
}

/// One rack for each host, from the lines that the script prints.
fn run(script: &Path, hosts: &[String]) -> Result<Vec<String>, String> {
    let mut command = Command::new(script);
    command.args(hosts).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
    let due = Instant::now() + SCRIPT_DEADLINE;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < due => std::thread::sleep(SCRIPT_LOOK),
            Ok(None) | Err(_) => {
                // If it has ended meanwhile, so much the better.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it did not end within {SCRIPT_DEADLINE:?}"));
            }
        }
    };
    if !status.success() {
        return Err(format!("it ended with {status}"));
    }
    let mut answer = String::new();
    let stdout = child.stdout.take().expect("it was piped");
    stdout.take(MAX_ANSWER).read_to_string(&mut answer).map_err(|error| format!("its answer: {error}"))?;
    let racks: Vec<String> = answer.split_whitespace().map(str::to_owned).collect();
    if racks.len() != hosts.len() {
        return Err(format!("it told {} racks of {} hosts", racks.len(), hosts.len()));
    }
    racks.iter().try_for_each(|rack| check(rack))?;
    Ok(racks)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn script(directory: &Path, body: &str) -> PathBuf {
        let path = directory.join("racks.sh");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("made executable");
        path
    }

    #[test]
    fn a_map_is_read_or_refused_with_its_line() {
        let map = parse("# racks\ndn1 /a\n127.0.0.2\t/b/c # the second\n\n").expect("legal");
        assert_eq!(map, Map::from([("dn1".into(), "/a".into()), ("127.0.0.2".into(), "/b/c".into())]));
        for (text, line) in
            [("dn1", 1), ("\ndn1 a", 2), ("dn1 /", 1), ("dn1 /a /b", 1), ("dn1 /a\n\ndn1 /b", 3), ("x /\u{a0}y", 1)]
        {
            assert_eq!(parse(text).expect_err(text).0, line, "{text:?}");
        }
    }

    #[test]
    fn the_map_goes_over_the_script_and_an_address_will_do() {
        let directory = tempfile::tempdir().expect("a directory");
        let map = directory.path().join("map");
        fs::write(&map, "dn1 /mapped\n127.0.0.9 /by-address\n").expect("written");
        let rack_script = script(directory.path(), "for host in \"$@\"; do echo /script/$host; done");
        let settings = Settings { rack_map: Some(map), rack_script: Some(rack_script), ..Settings::default() };
        let racks = Racks::open(&settings).expect("opened");
        assert_eq!(racks.of("dn1", None).as_deref(), Some("/mapped"));
        assert_eq!(racks.of("dn2", ip_of("127.0.0.9:9866")).as_deref(), Some("/by-address"));
        assert_eq!(racks.of("dn3", None), None, "nothing waits for the script");
        assert_eq!(racks.find("dn2", None).as_deref(), Some("/script/dn2"));
        racks.look_again();
        assert_eq!(racks.of("dn3", None).as_deref(), Some("/script/dn3"), "it was wanted");
    }

    /// Invariant 2.
    #[test]
    fn what_fails_changes_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let map = directory.path().join("map");
        let settings = Settings { rack_map: Some(map.clone()), ..Settings::default() };
        assert!(Racks::open(&settings).expect_err("there is no map").contains("rack_map"));
        fs::write(&map, "dn1 /a\n").expect("written");
        let rack_script = Some(script(directory.path(), "exit 1"));
        let racks = Racks::open(&Settings { rack_script, ..settings }).expect("opened");
        fs::write(&map, "dn1 rubbish\n").expect("written");
        fs::File::options()
            .append(true)
            .open(&map)
            .and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH))
            .expect("set");
        racks.look_again();
        assert_eq!(racks.of("dn1", None).as_deref(), Some("/a"));
        assert_eq!(racks.find("dn2", None), None);
    }

    #[test]
    fn a_script_that_tells_nonsense_is_not_believed() {
        let directory = tempfile::tempdir().expect("a directory");
        let hosts = ["dn1".to_owned(), "dn2".to_owned()];
        for body in ["echo /a", "echo /a; echo /b; echo /c", "echo a; echo b", "echo /a; echo /b; exit 3"] {
            assert!(run(&script(directory.path(), body), &hosts).is_err(), "{body}");
        }
        assert_eq!(run(&script(directory.path(), "echo /a /b"), &hosts), Ok(vec!["/a".to_owned(), "/b".to_owned()]));
    }
}
