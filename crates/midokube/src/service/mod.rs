//! `midokube service`: everything about one Service.

mod text;
mod view;

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use nodeapi::call;
use nodeapi::v1::GetServiceRequest;
use terminal::{Format, output};

use crate::agent::Agent;
use crate::name::Name;
use view::View;

pub(crate) const HELP: &str = "\
Exit status: 0, or 1 when there is no such Service, or the agent cannot be asked. The fields of -o json and
-o yaml are described in docs/reference.md of the project.
Examples:
  midokube service kube-system/kube-dns
  midokube service default/web -o json | jq '.ports[].backends[] | select(.notInCluster)'";

/// Which Service to show, and how.
#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// The Service.
    #[arg(value_name = "NAMESPACE/NAME")]
    pub(crate) service: Name,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) agent: Agent,
}

/// Asks the agent and prints its answer.
pub(crate) fn run(args: &ServiceArgs) -> Result<ExitCode> {
    let Name { namespace, name } = args.service.clone();
    let request = GetServiceRequest { namespace, name };
    let reply = args.agent.ask(&call::GET_SERVICE, &request, &format!("the Service {}", args.service))?;
    output::write(&args.output.text(&View::from(reply), text::text)?)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
