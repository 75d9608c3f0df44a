//! Whether kube-proxy runs or left rules on a node whose agent serves Services, and whether its ports are free. None of it
//! keeps Pods from having a network.

use std::net::SocketAddr;

use super::Finding;
use super::ports;
use crate::config::Config;
use crate::proxy;
use crate::proxy::beside::Beside;

/// kube-proxy, and the ports that it has.
pub(super) fn check(args: &Config) -> Vec<Finding> {
    if !args.serves_services() {
        return Vec::new();
    }
    let what = "no kube-proxy besides";
    let mut findings = match Beside::default().look() {
        Ok(problems) if problems.is_empty() => vec![Finding::good(what)],
        Ok(problems) => problems
            .into_iter()
            .map(|found| Finding::warning(what, format!("{}: {}", found.object, found.problem), found.remedy))
            .collect(),
        Err(error) => {
            vec![Finding::warning(
                what,
                format!("cannot look: {error:#}"),
                "run this as root, and look at the node's log",
            )]
        }
    };
    let port = |what: &str, flag, address| port(what, flag, address, args.http_listen);
    findings.push(port("health", "--proxy-health-address", args.proxy_health_address));
    findings.push(port("metrics", "--proxy-metrics-address", args.proxy_metrics_address));
    findings
}

fn port(of: &str, flag: &str, address: SocketAddr, http: SocketAddr) -> Finding {
    let what = format!("TCP port {} at {} for the {of} of Services", address.port(), address.ip());
    match proxy::why_taken(address) {
        None => Finding::good(what),
        // A running agent that has it not tells so itself.
        Some(_) if ports::is_agent(http).unwrap_or(false) => Finding::good(what),
        Some(why) => Finding::warning(
            what,
            why,
            format!("end what uses it, or give another {flag}: the agent serves it as soon as it is free"),
        ),
    }
}
