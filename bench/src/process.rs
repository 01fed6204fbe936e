//! A process under test: what /proc says of it, and its end.

use std::time::Duration;

use tokio::process::Child;

use crate::Outcome;

/// The unit of CPU times in /proc: fixed at 100 for user space on Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// A process that was asked to end does so within this.
const END_MAX: Duration = Duration::from_secs(30);

/// CPU seconds of the process so far, user and system.
pub fn cpu_seconds(pid: u32) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().ok_or("no stat")?.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// The memory that the process holds now, in bytes.
pub fn memory(pid: u32) -> Outcome<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The most memory that the process held at once, in bytes.
pub fn peak_memory(pid: u32) -> Outcome<u64> {
    status_bytes(pid, "VmHWM:")
}

fn status_bytes(pid: u32, field: &str) -> Outcome<u64> {
    let missing = || format!("process {pid} shows no {field}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field)).ok_or_else(missing)?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or_else(missing)?.parse()?;
    Ok(kib * 1024)
}

/// Asks the process to end, and waits until it has.
pub async fn end(mut child: Child) -> Outcome<()> {
    if let Some(pid) = child.id().and_then(|p| i32::try_from(p).ok()).and_then(rustix::process::Pid::from_raw) {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    }
    tokio::time::timeout(END_MAX, child.wait()).await??;
    Ok(())
}
