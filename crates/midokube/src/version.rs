//! `midokube version`: of this program and of the agent.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use terminal::table::{UNKNOWN, fields};
use terminal::{Format, output};

use crate::API_VERSION;
use crate::agent::Agent;

pub(crate) const HELP: &str = "\
Exit status: 0 when both versions are known, 1 when the agent cannot be asked; this program's
is shown in any case. The fields of -o json and -o yaml are described in docs/reference.md.
Example:
  midokube version -o json | jq -r .agent.version";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    api_version: &'static str,
    kind: &'static str,
    client: Client,
    /// `None` when the agent cannot be asked.
    agent: Option<Answer>,
}

#[derive(Debug, Serialize)]
struct Client {
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct Answer {
    version: String,
    node: String,
}

/// Prints both versions.
pub(crate) fn run(agent: &Agent, format: Format) -> Result<ExitCode> {
    let report = agent.report();
    let answer = report.as_ref().ok();
    let versions = Versions {
        api_version: API_VERSION,
        kind: "Version",
        client: Client { version: env!("CARGO_PKG_VERSION") },
        agent: answer.map(|r| Answer { version: r.agent.version.clone(), node: r.agent.node.clone() }),
    };
    output::write(&format.text(&versions, |versions, _| text(versions))?)?;
    report.map(|_| ExitCode::SUCCESS)
}

fn text(versions: &Versions) -> String {
    let agent = versions.agent.as_ref();
    let agent =
        agent.map_or_else(|| UNKNOWN.to_owned(), |agent| format!("{} (node {})", agent.version, agent.node));
    fields(None, &[("client", versions.client.version.to_owned()), ("agent", agent)])
}
