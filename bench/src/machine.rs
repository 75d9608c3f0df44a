//! The machine that the figures are of.

use std::fs;

use serde::Serialize;

/// The machine that the figures are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    /// The load averages when the run began: others at work make the figures rough.
    pub(crate) load: String,
}

impl Machine {
    pub(crate) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: field(&text("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: field(&text("/proc/meminfo"), "MemTotal")
                .and_then(|kib| kibibytes(&kib))
                .unwrap_or(0)
                / (1024 * 1024),
            load: text("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" "),
        }
    }
}

/// The value of the first `name: value` line.
pub(crate) fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

/// `123 kB`, as /proc writes it.
pub(crate) fn kibibytes(value: &str) -> Option<u64> {
    value.strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_proc() {
        let text = "processor\t: 0\nmodel name\t: A CPU: 3 GHz\nVmHWM:\t  5120 kB\n";
        assert_eq!(field(text, "model name").unwrap(), "A CPU: 3 GHz");
        assert_eq!(kibibytes(&field(text, "VmHWM").unwrap()), Some(5120));
        assert_eq!(field(text, "VmRSS"), None);
        assert_eq!(kibibytes("12 MB"), None);
    }
}
