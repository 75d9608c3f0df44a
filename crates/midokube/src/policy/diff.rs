//! Which connections two folders of manifests differ in.

mod state;
mod text;
mod view;

use std::process::ExitCode;

use anyhow::{Context, Result};
use terminal::output;

use super::args::DiffArgs;
use state::State;
use text::text;
use view::View;

/// The exit status of states that differ.
const DIFFERENT: u8 = 1;

/// The exit status of states that cannot be compared.
const TROUBLE: u8 = 2;

/// Compares and prints what differs. As of diff(1), the exit status says whether anything does.
pub(super) fn run(args: &DiffArgs) -> ExitCode {
    match compare(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(DIFFERENT),
        Err(error) => {
            output::complain("midokube", &output::explain(&error));
            ExitCode::from(TROUBLE)
        }
    }
}

fn compare(args: &DiffArgs) -> Result<bool> {
    let (old, new) = (State::read(&args.old)?, State::read(&args.new)?);
    let comparison = policy::compare(&old.judge, &new.judge).context("cannot compare the policies")?;
    let view = View::new(comparison, &old, &new);
    output::write(&args.output.text(&view, text)?)?;
    Ok(view.is_same())
}
