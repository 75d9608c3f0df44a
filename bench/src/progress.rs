//! Telling what is being done: a bar on a terminal, a plain line per step elsewhere. On standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// The steps of a run, with their times.
pub(crate) struct Progress {
    start: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let moving = std::io::stderr().is_terminal() && std::env::var_os("CI").is_none();
        let bar = moving.then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = ProgressBar::new_spinner().with_style(style);
            // Rarely: drawing must not be what is measured.
            bar.enable_steady_tick(Duration::from_secs(1));
            bar
        });
        Self { start: Instant::now(), bar }
    }

    fn line(&self, what: &str) -> String {
        format!("[{:5.1} s] {what}", self.start.elapsed().as_secs_f64())
    }

    /// A step begins.
    pub(crate) fn step(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(self.line(what)),
            None => eprintln!("{}", self.line(what)),
        }
    }

    /// The running step got further; only seen where it does not fill a log.
    pub(crate) fn detail(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(self.line(what));
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
