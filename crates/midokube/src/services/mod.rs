//! `midokube services`: the ports of Services that a node serves.

mod port;
mod text;

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use nodeapi::call;
use nodeapi::v1::{ListServicesReply, ListServicesRequest};
use serde::Serialize;
use terminal::{Format, output};

use crate::API_VERSION;
use crate::agent::Agent;
use crate::name::Namespaces;

pub(crate) use port::{CLUSTER, LOCAL, Port, service_name, socket};
pub(crate) use text::{affinity, connections, family, frontends, policy, port_name};

pub(crate) const HELP: &str = "\
BACKENDS are those in use, of all endpoints. POLICY is the traffic policy; two of them are the internal
and the external one. CONNECTIONS are those of this node, since the Service came.
Exit status: 0, or 1 when the agent cannot be asked. The fields of -o json and -o yaml are described in
docs/reference.md of the project.
Examples:
  midokube services
  midokube services -n kube-system -o wide
  midokube services kube-dns -o json | jq '.services[].frontends'";

/// Which Services to show, and how.
#[derive(Debug, Args)]
pub(crate) struct ServicesArgs {
    /// Only Services of this name.
    pub(crate) name: Option<String>,
    #[command(flatten)]
    namespaces: Namespaces,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) agent: Agent,
}

/// The document for programs: see docs/reference.md.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    api_version: &'static str,
    kind: &'static str,
    services: Vec<Port>,
}

impl From<ListServicesReply> for View {
    fn from(reply: ListServicesReply) -> Self {
        let services = reply.ports.into_iter().map(Port::from).collect();
        Self { api_version: API_VERSION, kind: "Services", services }
    }
}

/// Asks the agent and prints its answer.
pub(crate) fn run(args: &ServicesArgs) -> Result<ExitCode> {
    let request = ListServicesRequest {
        namespace: args.namespaces.one().unwrap_or_default(),
        name: args.name.clone().unwrap_or_default(),
    };
    let reply = args.agent.ask(&call::LIST_SERVICES, &request, "its Services")?;
    let text = args.output.text(&View::from(reply), |view, wide| text::text(&view.services, wide))?;
    output::write(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// All Services, as programs get them.
///
/// # Errors
/// The agent cannot be asked.
pub(crate) fn document(agent: &Agent) -> Result<String> {
    let reply = agent.ask(&call::LIST_SERVICES, &ListServicesRequest::default(), "its Services")?;
    Format::Json.text(&View::from(reply), |view, wide| text::text(&view.services, wide))
}

#[cfg(test)]
mod tests;
