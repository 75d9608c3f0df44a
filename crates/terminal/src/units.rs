//! Numbers with units: written for people, read from the command line.

use std::time::Duration;

/// A number of bytes with a unit.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Bits a second with a unit, as traffic control has them: in thousands.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub fn bit_rate(bits: u64) -> String {
    let mut value = bits as f64;
    for unit in ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"] {
        if value < 1000.0 {
            return format!("{value} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value} Tbit/s")
}

/// Seconds in the two largest units that they fill.
pub fn seconds(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, m) => format!("{m}m{}s", seconds % 60),
        (0, h, m) => format!("{h}h{m}m"),
        (d, h, _) => format!("{d}d{h}h"),
    }
}

/// A duration on the command line: a number with the unit ms, s, m or h; seconds without one.
pub fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "ms" => Some(0.001),
        "" | "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    let value = number.parse::<f64>().ok().zip(seconds).map(|(number, seconds)| number * seconds);
    value
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| (SHORTEST..=LONGEST).contains(duration))
        .ok_or_else(|| "a duration from 100ms to 24h is expected, for example 500ms, 5s or 1m".to_owned())
}

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_powers_of_1024() {
        for (n, want) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")] {
            assert_eq!(bytes(n), want);
        }
    }

    #[test]
    fn bit_rates_in_powers_of_1000() {
        for (n, want) in
            [(999, "999 bit/s"), (10_000_000, "10 Mbit/s"), (1_500_000_000_000_000, "1500 Tbit/s")]
        {
            assert_eq!(bit_rate(n), want);
        }
    }

    #[test]
    fn seconds_in_two_units() {
        for (n, want) in [(5, "5s"), (65, "1m5s"), (3_700, "1h1m"), (200_000, "2d7h")] {
            assert_eq!(seconds(n), want);
        }
    }

    #[test]
    fn durations_are_read() {
        for (text, milliseconds) in
            [("500ms", 500), ("5s", 5000), ("2", 2000), ("0.5", 500), ("1m", 60_000), ("1h", 3_600_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "s", "5x", "-1s", "0", "1.2.3s", "25h", "5 s", "1e3s", "inf"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
