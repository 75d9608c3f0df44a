//! Preflight: whether this node has everything that the network needs. Every problem is named with its remedy,
//! all of them at once.

mod cluster;
mod finding;
mod kernel;
mod midonet;
mod node;
mod ports;
mod proxy;

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::Serialize;

use crate::config::{self, Config, NetworkKind};
use crate::stdout;

pub use finding::{Finding, Problem, State};
pub(crate) use node::ipam_plugin;

/// The shape of the document for programs; the version grows when a field goes or changes its meaning.
const API_VERSION: &str = "midokube.midonet.org/v1";

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line a finding.
    Text,
    /// One JSON document: apiVersion, kind, version, node, ok, and findings, each with what, state (ok, warning,
    /// invalid or missing), and unless it is ok problem and remedy.
    Json,
    /// The same as YAML.
    Yaml,
}

/// The document for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    api_version: &'a str,
    kind: &'a str,
    version: &'a str,
    node: &'a str,
    ok: bool,
    findings: &'a [Finding],
}

/// Settings, rights and files: quick enough for every start, and asking nobody. `unknown` is what of the environment
/// looks like a setting and is none.
pub fn quickly(args: &Config, unknown: Vec<config::Problem>) -> Vec<Finding> {
    let mut problems = args.problems();
    problems.extend(unknown);
    let mut findings: Vec<_> =
        problems.into_iter().map(|found| Finding::invalid("settings", found.problem, found.remedy)).collect();
    findings.extend(node::check(args));
    match args.network {
        NetworkKind::Embedded => findings.push(ports::overlay(args.tunnel_port)),
        NetworkKind::Midonet => findings.push(midonet::host_id(&args.paths.midonet_host_id)),
    }
    findings
}

/// The kernel's features, each tried in a network namespace that is gone afterwards.
pub fn kernel(args: &Config) -> Vec<Finding> {
    match args.network {
        NetworkKind::Embedded => kernel::try_out(args),
        NetworkKind::Midonet => kernel::try_out(args).into_iter().chain([midonet::kernel()]).collect(),
    }
}

/// `midonet-kube-node check`: prints everything that was checked.
///
/// # Errors
/// Something is invalid or missing, or the findings cannot be printed.
pub fn check(run: &Config, output: Output, unknown: Vec<config::Problem>) -> Result<()> {
    plumbing::sysctl::set_root(&run.paths.sysctl_dir);
    let mut findings = quickly(run, unknown);
    findings.extend(ipam_plugin(run));
    findings.push(ports::http(run.http_listen));
    if run.serves_services() {
        findings.push(ports::ephemeral());
    }
    findings.extend(proxy::check(run));
    findings.extend(cluster::check(run));
    findings.extend(kernel(run));
    print(output, &run.node_name, &findings)?;
    let count = |kind: fn(&State) -> bool| findings.iter().filter(|finding| kind(&finding.state)).count();
    match (
        count(|state| matches!(state, State::Invalid(_))),
        count(|state| matches!(state, State::Missing(_))),
    ) {
        (0, 0) => Ok(()),
        (invalid, missing) => {
            bail!("this node is not ready for the network: {invalid} invalid, {missing} missing")
        }
    }
}

fn print(output: Output, node: &str, findings: &[Finding]) -> Result<()> {
    let report = Report {
        api_version: API_VERSION,
        kind: "Check",
        version: env!("CARGO_PKG_VERSION"),
        node,
        ok: !findings.iter().any(Finding::is_bad),
        findings,
    };
    match output {
        Output::Text => findings.iter().try_for_each(stdout::line),
        Output::Json => stdout::line(serde_json::to_string_pretty(&report)?),
        Output::Yaml => stdout::line(serde_yaml_ng::to_string(&report)?.trim_end()),
    }
}

/// Everything that makes it impossible to go on, in one message; empty if there is nothing.
pub fn complaint(findings: &[Finding]) -> String {
    let bad = findings.iter().filter(|finding| finding.is_bad());
    bad.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_a_document_of_a_known_shape() {
        let findings = [Finding::good("a"), Finding::bad(true, "b", "too large", "make it smaller")];
        let report = Report {
            api_version: API_VERSION,
            kind: "Check",
            version: "1",
            node: "n",
            ok: false,
            findings: &findings,
        };
        let want = serde_json::json!({
            "apiVersion": "midokube.midonet.org/v1", "kind": "Check", "version": "1", "node": "n", "ok": false,
            "findings": [
                {"what": "a", "state": "ok"},
                {"what": "b", "state": "invalid", "problem": "too large", "remedy": "make it smaller"},
            ],
        });
        assert_eq!(serde_json::to_value(&report).unwrap(), want);
        let yaml: serde_json::Value =
            serde_yaml_ng::from_str(&serde_yaml_ng::to_string(&report).unwrap()).unwrap();
        assert_eq!(yaml, want);
        assert_eq!(complaint(&findings), "INVALID  b: too large; make it smaller");
    }
}
