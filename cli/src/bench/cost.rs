//! What a benchmark cost: wall time, and CPU time of this process and of the servers that worked for it.

use std::fs;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Started before the work, asked after it.
#[derive(Debug)]
pub(crate) struct Meter {
    servers: Vec<u32>,
    began: Instant,
    cpu_before: f64,
}

/// What the work between start and stop of a [`Meter`] cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    /// Seconds of CPU, all threads of all processes, kernel time included.
    pub(crate) cpu: f64,
}

impl Meter {
    /// Watches this process alone.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Watches this process and every server on this machine.
    pub(crate) fn named() -> Self {
        Self::start_with(&local_servers())
    }

    /// Watches this process and `servers`.
    pub(crate) fn start_with(servers: &[u32]) -> Self {
        let servers = servers.to_vec();
        let cpu_before = cpu_of(&servers);
        Self { servers, began: Instant::now(), cpu_before }
    }

    pub(crate) fn stop(&self) -> Cost {
        let seconds = self.began.elapsed().as_secs_f64();
        Cost { seconds, cpu: (cpu_of(&self.servers) - self.cpu_before).max(0.0) }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

fn cpu_of(servers: &[u32]) -> f64 {
    let own = clock_gettime(ClockId::ProcessCPUTime);
    let own = own.tv_sec as f64 + own.tv_nsec as f64 / 1e9;
    own + servers.iter().filter_map(|pid| cpu_of_process(*pid)).sum::<f64>()
}

/// User and system time of a process so far; none when it is gone.
fn cpu_of_process(pid: u32) -> Option<f64> {
    parse_cpu_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
        .map(|ticks| ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Fields 14 and 15 of proc_pid_stat(5). The name in field 2 may hold spaces and parentheses.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    let mut after_name = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = after_name.next()?.parse().ok()?;
    let system: u64 = after_name.next()?.parse().ok()?;
    Some(user + system)
}

/// The Ashlar servers that run on this machine, other than this process. Right as long as one cluster runs here.
pub(crate) fn local_servers() -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id() && is_server(*pid)).collect()
}

/// A process that runs one of our servers: from this very program, or from one of its name.
fn is_server(pid: u32) -> bool {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let mut words = line.split(|byte| *byte == 0);
    let program = words.next().unwrap_or_default();
    let same = || fs::read_link(format!("/proc/{pid}/exe")).ok() == fs::read_link("/proc/self/exe").ok();
    let ours = program.rsplit(|byte| *byte == b'/').next() == Some(b"ashlar") || same();
    ours && words.any(|word| matches!(word, b"namenode" | b"datanode" | b"quickstart"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_ticks_are_found_behind_any_process_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 11 22 33 44 700 80 5 6 20 0 9 0 1 2 3";
        assert_eq!(parse_cpu_ticks(stat), Some(780));
        assert_eq!(parse_cpu_ticks("42 (short) S 1"), None);
        assert_eq!(parse_cpu_ticks(""), None);
    }

    #[test]
    fn work_shows_as_cpu_time() {
        let meter = Meter::start();
        let mut sum = 0_u64;
        while meter.elapsed() < Duration::from_millis(20) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let cost = meter.stop();
        assert!(cost.seconds >= 0.02 && cost.cpu > 0.0, "{cost:?}");
    }
}
