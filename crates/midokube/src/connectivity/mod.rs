//! `midokube connectivity test`: who reaches whom in the cluster, and why not.
//!
//! `scene` is what there is, `scenarios` what is to be so, `check` judges one question, `cause` says why it failed, `report` how
//! that is told: all of this is pure. `cluster` makes the objects of `objects`, `session` asks Pods and nodes, `probe` is what
//! runs there. `site`, `stages` and `run` put it together.

mod args;
mod cause;
mod check;
mod cluster;
mod explain;
mod filter;
mod interrupt;
mod objects;
mod probe;
mod question;
mod report;
mod run;
mod scenarios;
mod scene;
mod session;
mod site;
mod stage;
mod stages;
mod tally;

use std::process::ExitCode;

use anyhow::{Context, Result};
use tokio::runtime::Builder;

pub(crate) use args::ConnectivityArgs;
use args::ConnectivityCommand;

/// Tests, or does what another midokube's test needs.
pub(crate) fn run(args: &ConnectivityArgs) -> Result<ExitCode> {
    let runtime =
        || Builder::new_current_thread().enable_all().build().context("cannot start the async runtime");
    match &args.command {
        ConnectivityCommand::Test(args) => return run::test(args),
        ConnectivityCommand::Serve(args) => runtime()?.block_on(probe::serve(&args.name, &args.ports))?,
        ConnectivityCommand::Ask => runtime()?.block_on(probe::ask())?,
    }
    Ok(ExitCode::SUCCESS)
}
