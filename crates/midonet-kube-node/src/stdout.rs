//! Standard output of the commands that print and end. The agent itself writes nothing there.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result};

/// Prints a line. That nobody reads any more is no failure: the command does its work all the same.
///
/// # Errors
/// It cannot be written, such as to a full disk.
pub fn line(text: impl Display) -> Result<()> {
    written(writeln!(io::stdout().lock(), "{text}"))
}

/// Classifies the result of printing.
///
/// # Errors
/// See [`line`].
pub fn written(result: io::Result<()>) -> Result<()> {
    match result.and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}
