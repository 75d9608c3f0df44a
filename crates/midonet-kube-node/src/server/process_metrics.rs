//! What Prometheus gets of the agent's own cost.

use anyhow::Result;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

/// Adds the metrics of this process.
///
/// # Errors
/// The kernel does not tell of it.
pub(super) fn register(registry: &mut Registry) -> Result<()> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let used = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    registry.register_with_unit(
        "process_cpu",
        "Time of processors that the agent has used",
        Unit::Seconds,
        ConstCounter::new(used as f64 / 1e6),
    );
    let status = std::fs::read_to_string("/proc/self/status")?;
    registry.register_with_unit(
        "process_resident_memory",
        "Memory of the machine that the agent has",
        Unit::Bytes,
        ConstGauge::new(resident(&status).unwrap_or_default()),
    );
    Ok(())
}

/// The resident memory in bytes, of what /proc tells of a process.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_as_the_kernel_writes_it() {
        let status = "Name:\tagent\nVmHWM:\t   20000 kB\nVmRSS:\t   12345 kB\nThreads:\t3\n";
        assert_eq!(resident(status), Some(12345 * 1024));
        for other in ["", "VmRSS:\n", "VmRSS:\t 12 MB\n", "VmRSS:\t 18446744073709551615 kB\n"] {
            assert_eq!(resident(other), None, "{other}");
        }
        assert!(resident(&std::fs::read_to_string("/proc/self/status").unwrap()) > Some(1 << 20));
    }
}
