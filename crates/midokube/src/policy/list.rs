//! What applies to Pods.

mod text;
mod view;

use std::process::ExitCode;

use anyhow::Result;
use nodeapi::call;
use nodeapi::v1::{ListPoliciesRequest, PodName};
use terminal::{Format, output};

use crate::agent::Agent;
use crate::name::Name;
pub(super) use text::text;
pub(super) use view::View;

/// Asks the agent and prints its answer.
pub(super) fn run(pod: Option<&Name>, format: Format, agent: &Agent) -> Result<ExitCode> {
    let pod = pod.cloned().map(|Name { namespace, name }| PodName { namespace, name });
    let reply = agent.ask(&call::LIST_POLICIES, &ListPoliciesRequest { pod }, "its policies")?;
    output::write(&format.text(&View::from(reply), text)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What applies to a Pod, or to all Pods of the node, as programs get it.
///
/// # Errors
/// The agent cannot be asked, or enforces nothing.
pub(crate) fn document(pod: Option<&Name>, agent: &Agent) -> Result<String> {
    let pod = pod.cloned().map(|Name { namespace, name }| PodName { namespace, name });
    let reply = agent.ask(&call::LIST_POLICIES, &ListPoliciesRequest { pod }, "its policies")?;
    Format::Json.text(&View::from(reply), text)
}
