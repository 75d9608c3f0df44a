//! Progress on standard error: one line that changes on a terminal, a line for each step elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Steps of a longer work, with their times.
pub(crate) struct Progress {
    start: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        // Who runs in CI keeps a log, terminal or not.
        let moving = io::stderr().is_terminal() && std::env::var_os("CI").is_none();
        let bar = moving.then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(Duration::from_millis(80));
            bar
        });
        Self { start: Instant::now(), bar }
    }

    /// A step begins.
    pub(crate) fn step(&self, what: &str) {
        let line = format!("[{:5.1} s] {what}", self.start.elapsed().as_secs_f64());
        match &self.bar {
            Some(bar) => bar.set_message(line),
            // A log that cannot be written stops nothing.
            None => {
                let _ = writeln!(io::stderr(), "{line}");
            }
        }
    }

    /// The running step got further; only seen where it does not fill a log.
    pub(crate) fn detail(&self, what: &str) {
        if self.bar.is_some() {
            self.step(what);
        }
    }

    /// Leaves the terminal as if nothing had been shown.
    pub(crate) fn finish(&self) -> Duration {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.start.elapsed()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
