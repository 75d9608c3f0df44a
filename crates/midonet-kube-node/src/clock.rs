//! The kernel's clock, and that of the wall.

use std::time::{Duration, SystemTime};

/// What the kernel's clock (CLOCK_BOOTTIME) shows at a time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The time.
    pub wall: SystemTime,
    /// Since the system started.
    pub uptime: Duration,
}

impl Clock {
    /// Both, as they are now.
    pub fn now() -> Self {
        Self { wall: SystemTime::now(), uptime: datapath::uptime() }
    }

    /// The time that it was when the kernel's clock showed this.
    pub fn at(&self, uptime: Duration) -> SystemTime {
        // A clock that nobody has set yet begins in 1970; what is before that cannot be written.
        self.wall
            .checked_sub(self.since(uptime))
            .unwrap_or(SystemTime::UNIX_EPOCH)
            .max(SystemTime::UNIX_EPOCH)
    }

    /// The same in words (RFC 3339), to the millisecond.
    pub fn rfc3339(&self, uptime: Duration) -> String {
        humantime::format_rfc3339_millis(self.at(uptime)).to_string()
    }

    /// The same in nanoseconds since 1970.
    pub fn nanoseconds(&self, uptime: Duration) -> u128 {
        self.at(uptime).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos()
    }

    /// How long ago the kernel's clock showed this; not at all if that is still to come.
    pub fn since(&self, uptime: Duration) -> Duration {
        self.uptime.saturating_sub(uptime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_time_becomes_that_of_the_wall() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let clock = Clock { wall, uptime: Duration::from_secs(600) };
        assert_eq!(clock.at(Duration::from_secs(590)), wall - Duration::from_secs(10));
        assert_eq!(clock.rfc3339(Duration::from_secs(590)), "1970-01-01T00:16:30.000Z");
        assert_eq!(clock.nanoseconds(Duration::from_secs(590)), 990_000_000_000);
        // A packet that came after the clock was read, and a clock before 1970.
        assert_eq!(clock.at(Duration::from_secs(601)), wall);
        let early = Clock { wall: SystemTime::UNIX_EPOCH, ..clock };
        assert_eq!(early.at(Duration::ZERO), SystemTime::UNIX_EPOCH);
    }
}
