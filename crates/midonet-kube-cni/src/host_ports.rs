//! Host ports of Pods (`hostPort`; the capability "portMappings"). The agent serves them. One that serves no Services says
//! that it leaves them to others: then the reference plugin `portmap` is executed for the Pods that have host ports, and
//! for no other. A port that the agent serves is never portmap's, too.

use cni::{CniResult, Document, Error, Version, code, delegate};
use nodeapi::v1::PortMapping;
use serde_json::{Value, json};

use crate::request::Request;

/// The plugin's name.
const PORTMAP: &str = "portmap";

/// The CNI version of its calls, which every `portmap` since 1.0.0 (2021) knows.
const VERSION: Version = Version::V1_0_0;

/// Has `portmap` serve the Pod's host ports, which the agent leaves to others.
///
/// # Errors
/// It is not installed, or what it reported.
pub(crate) fn serve(verb: &'static str, request: &Request, result: &CniResult) -> Result<(), Error> {
    if !is_installed(request) {
        let ports: Vec<String> = request.conf.runtime.port_mappings().iter().map(described).collect();
        let what = format!(
            "runtimeConfig.portMappings: {}: the agent of this node serves no Services (--services off), and nothing else \
             serves ports of the node that lead to Pods: install the reference plugin portmap beside midonet-kube-cni, \
             or have the agent serve Services",
            ports.join(", ")
        );
        return Err(Error::new(code::UNSUPPORTED_FIELD, what));
    }
    run(verb, request, Some(result))
}

/// Has `portmap` delete what it made for the Pod, if it is installed: the agent may have left the host ports to it when the
/// Pod was added.
///
/// # Errors
/// What it reported.
pub(crate) fn delete(request: &Request) -> Result<(), Error> {
    if is_installed(request) { run("DEL", request, None) } else { Ok(()) }
}

/// Whether the Pod has any.
pub(crate) fn are_asked_for(request: &Request) -> bool {
    !request.conf.runtime.port_mappings().is_empty()
}

fn is_installed(request: &Request) -> bool {
    delegate::is_installed(PORTMAP, &request.env.path)
}

fn described(port: &PortMapping) -> String {
    let PortMapping { host_port, container_port, protocol, host_ip } = port;
    let at = if host_ip.is_empty() { String::new() } else { format!(" of {host_ip}") };
    format!("hostPort {host_port}/{protocol}{at} for containerPort {container_port}")
}

fn run(verb: &'static str, request: &Request, result: Option<&CniResult>) -> Result<(), Error> {
    let config = config(&request.conf.net.network, request.conf.runtime.port_mappings(), result);
    let document = Document::parse(config.to_string().into_bytes());
    let document = document.map_err(|error| Error::new(code::INTERNAL, format!("{PORTMAP}: {error}")))?;
    delegate::run(PORTMAP, verb, &request.env.call(&document)).map(drop).map_err(|error| error_of(&error))
}

fn config(network: &str, ports: &[PortMapping], result: Option<&CniResult>) -> Value {
    let ports = ports.iter().map(|port| {
        json!({
            "hostPort": port.host_port,
            "containerPort": port.container_port,
            "protocol": port.protocol,
            "hostIP": port.host_ip,
        })
    });
    let mut config = json!({
        "cniVersion": VERSION.as_str(),
        "name": network,
        "type": PORTMAP,
        // Also from the node itself and from the Pod itself.
        "snat": true,
        "runtimeConfig": {"portMappings": ports.collect::<Vec<_>>()},
    });
    if let (Some(result), Some(config)) = (result, config.as_object_mut()) {
        config.insert("prevResult".into(), result.to_json(VERSION));
    }
    config
}

fn error_of(error: &delegate::Error) -> Error {
    Error {
        code: error.code(code::PLUMBING),
        msg: format!("runtimeConfig.portMappings: the plugin {PORTMAP} failed: {}", error.cause),
        details: error.details().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portmap_gets_the_ports_and_what_add_made() {
        let port = PortMapping {
            host_port: 8080,
            container_port: 80,
            protocol: "tcp".into(),
            host_ip: "fd00::1".into(),
        };
        let result = CniResult::default();
        let config = config("net", &[port], Some(&result));
        let port = json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "fd00::1"});
        assert_eq!(config["runtimeConfig"], json!({"portMappings": [port]}));
        assert_eq!((&config["name"], &config["type"]), (&json!("net"), &json!("portmap")));
        assert_eq!(
            (&config["cniVersion"], &config["prevResult"]["cniVersion"]),
            (&json!("1.0.0"), &json!("1.0.0"))
        );
        assert!(super::config("net", &[], None).get("prevResult").is_none());
    }

    #[test]
    fn what_portmap_reports_is_passed_on() {
        let reported =
            Error { code: 999, msg: "neither iptables nor nft".into(), details: "install one".into() };
        let error =
            error_of(&delegate::Error { plugin: PORTMAP.into(), cause: delegate::Cause::Reported(reported) });
        assert_eq!((error.code, error.details.as_str()), (999, "install one"));
        assert!(
            error.msg.starts_with("runtimeConfig.portMappings: ")
                && error.msg.ends_with("neither iptables nor nft")
        );
    }
}
