//! What the runtime asks for beyond addresses (`runtimeConfig`; CONVENTIONS.md of containernetworking/cni): the
//! capabilities "bandwidth" and "portMappings". ADD and CHECK need it all; DEL needs only the host ports, and ignores
//! what cannot be read: it was never added. Pure.

use std::net::IpAddr;

use cni::json::{Element, Invalid};
use cni::{Error, Problems, code};
use nodeapi::v1::{Bandwidth, BindPortRequest, PortMapping};

/// Bits a second, as Kubernetes bounds its annotations: 1k to 1P.
const RATES: std::ops::RangeInclusive<u64> = 1_000..=1_000_000_000_000_000;

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// What the agent has to know of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuntimeConfig {
    bandwidth: Option<Bandwidth>,
    port_mappings: Vec<PortMapping>,
}

impl RuntimeConfig {
    /// Reads and checks it, of a whole configuration.
    ///
    /// # Errors
    /// Code 7, with everything that is wrong.
    pub fn read(root: &Element<'_>) -> Result<Self, Error> {
        let Some(runtime) = root.get("runtimeConfig")? else { return Ok(Self::default()) };
        let mut problems = Problems::default();
        let bandwidth = problems.take(runtime.get("bandwidth")).flatten();
        let bandwidth = bandwidth.map(|element| Bandwidth {
            ingress_rate: problems.take(amount(&element, "ingressRate")).unwrap_or_default(),
            ingress_burst: problems.take(amount(&element, "ingressBurst")).unwrap_or_default(),
            egress_rate: problems.take(amount(&element, "egressRate")).unwrap_or_default(),
            egress_burst: problems.take(amount(&element, "egressBurst")).unwrap_or_default(),
        });
        let ports = problems.take(runtime.list("portMappings")).unwrap_or_default();
        let port_mappings = ports.iter().filter_map(|element| problems.take(port_mapping(element))).collect();
        problems.into_result()?;
        let bandwidth = bandwidth.filter(|bandwidth| *bandwidth != Bandwidth::default());
        if let Some(bandwidth) = &bandwidth {
            check(bandwidth)?;
        }
        Ok(Self { bandwidth, port_mappings })
    }

    /// The host ports of the Pod.
    pub fn port_mappings(&self) -> &[PortMapping] {
        &self.port_mappings
    }

    /// The request with all that.
    pub fn complete(&self, request: BindPortRequest) -> BindPortRequest {
        let Self { bandwidth, port_mappings } = self.clone();
        BindPortRequest { bandwidth, port_mappings, ..request }
    }
}

/// Bits, or bits a second; 0 if it is absent.
fn amount(element: &Element<'_>, key: &str) -> Result<u64, Invalid> {
    let Some(element) = element.get(key)? else { return Ok(0) };
    let number: i64 = element.number()?;
    u64::try_from(number).map_err(|_| element.invalid(format!("{number}: must not be negative")))
}

fn check(bandwidth: &Bandwidth) -> Result<(), Error> {
    let mut problems = Problems::default();
    for (direction, rate, burst) in [
        ("ingress", bandwidth.ingress_rate, bandwidth.ingress_burst),
        ("egress", bandwidth.egress_rate, bandwidth.egress_burst),
    ] {
        let place = format!("runtimeConfig.bandwidth.{direction}");
        let what = match (rate, burst) {
            (0, 0) => continue,
            (0, _) => format!("{place}Rate: missing: a burst ({burst} bits) needs a rate"),
            (_, 0) => format!("{place}Burst: missing: a rate ({rate} bit/s) needs a burst"),
            _ if !RATES.contains(&rate) => {
                format!("{place}Rate: {rate}: must be {} to {} bit/s", RATES.start(), RATES.end())
            }
            _ => continue,
        };
        problems.add(code::CONFIG, what);
    }
    problems.into_result()
}

fn port_mapping(element: &Element<'_>) -> Result<PortMapping, Invalid> {
    let port = |key: &str| {
        let element = element.require(key)?;
        let number: i64 = element.number()?;
        let port = u16::try_from(number).ok().filter(|port| *port != 0);
        port.map(u32::from).ok_or_else(|| element.invalid(format!("{number}: must be 1 to 65535")))
    };
    let protocol = element.require("protocol")?;
    let name = protocol.text()?.to_ascii_lowercase();
    if !PROTOCOLS.contains(&name.as_str()) {
        return Err(protocol.invalid(format!("\"{name}\": must be one of {}", PROTOCOLS.join(", "))));
    }
    let host_ip = match element.word("hostIP")? {
        Some(_) => element.require("hostIP")?.parse::<IpAddr>()?.to_string(),
        None => String::new(),
    };
    Ok(PortMapping {
        host_port: port("hostPort")?,
        container_port: port("containerPort")?,
        protocol: name,
        host_ip,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(runtime: &Value) -> Result<RuntimeConfig, Error> {
        RuntimeConfig::read(&Element::root(&json!({"name": "net", "runtimeConfig": runtime})))
    }

    #[test]
    fn nothing_is_asked_for() {
        assert_eq!(RuntimeConfig::read(&Element::root(&json!({}))).unwrap(), RuntimeConfig::default());
        for nothing in [
            json!(null),
            json!({}),
            json!({"bandwidth": null, "portMappings": null}),
            json!({"bandwidth": {}, "portMappings": []}),
            json!({"bandwidth": {"ingressRate": 0, "ingressBurst": 0, "egressRate": 0, "egressBurst": null}}),
            json!({"mac": "nonsense", "unknown": 7}),
        ] {
            assert_eq!(read(&nothing).unwrap(), RuntimeConfig::default(), "{nothing}");
        }
    }

    #[test]
    fn what_runtimes_ask_for_reaches_the_agent() {
        let runtime = read(&json!({
            // containerd, of a Pod with kubernetes.io/egress-bandwidth: 10M.
            "bandwidth": {"egressRate": 10_000_000, "EGRESSBURST": u32::MAX},
            "portMappings": [
                {"hostPort": 8080, "containerPort": 80, "protocol": "TCP", "hostIP": ""},
                {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "fd00:0:0::1"},
                {"hostPort": 65535, "containerPort": 1, "protocol": "sctp", "hostIP": "192.0.2.1"},
            ],
        }));
        let request = runtime.unwrap().complete(BindPortRequest { name: "web".into(), ..Default::default() });
        assert_eq!(request.name, "web");
        let bandwidth =
            Bandwidth { egress_rate: 10_000_000, egress_burst: (1 << 32) - 1, ..Bandwidth::default() };
        assert_eq!(request.bandwidth, Some(bandwidth));
        let ports = request.port_mappings.iter().map(|port| (port.protocol.as_str(), port.host_ip.as_str()));
        assert_eq!(ports.collect::<Vec<_>>(), [("tcp", ""), ("udp", "fd00::1"), ("sctp", "192.0.2.1")]);
        assert_eq!((request.port_mappings[2].host_port, request.port_mappings[2].container_port), (65535, 1));
        // CRI-O's largest burst, and rates at the edges.
        for (rate, burst) in [(1_000u64, 1), (1_000_000_000_000_000, (1u64 << 35) - 9)] {
            read(&json!({"bandwidth": {"ingressRate": rate, "ingressBurst": burst}})).unwrap();
        }
    }

    #[test]
    fn refusals_name_key_and_value() {
        let bandwidth = |value: Value| json!({"bandwidth": value});
        let port = |key: &str, value: Value| {
            let mut port = json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"});
            port[key] = value;
            json!({"portMappings": [port]})
        };
        for (runtime, want) in [
            (json!([]), "runtimeConfig: must be an object, is a list"),
            (bandwidth(json!(7)), "runtimeConfig.bandwidth: must be an object, is a number"),
            (bandwidth(json!({"ingressRate": "10M"})), "bandwidth.ingressRate: must be a whole number"),
            (bandwidth(json!({"egressBurst": 1.5})), "bandwidth.egressBurst: must be a whole number"),
            (bandwidth(json!({"egressBurst": -8})), "bandwidth.egressBurst: -8: must not be negative"),
            (
                bandwidth(json!({"ingressRate": 1_000_000})),
                "bandwidth.ingressBurst: missing: a rate (1000000 bit/s) needs a burst",
            ),
            (
                bandwidth(json!({"egressBurst": 8})),
                "bandwidth.egressRate: missing: a burst (8 bits) needs a rate",
            ),
            (
                bandwidth(json!({"egressRate": 999, "egressBurst": 8})),
                "bandwidth.egressRate: 999: must be 1000 to",
            ),
            (
                bandwidth(json!({"ingressRate": 2_000_000_000_000_000u64, "ingressBurst": 8})),
                "bandwidth.ingressRate: 2000000000000000: must be 1000 to 1000000000000000 bit/s",
            ),
            (json!({"portMappings": {}}), "runtimeConfig.portMappings: must be a list, is an object"),
            (json!({"portMappings": [{}]}), "runtimeConfig.portMappings[0].protocol: missing"),
            (port("hostPort", json!(0)), "portMappings[0].hostPort: 0: must be 1 to 65535"),
            (port("hostPort", json!(null)), "portMappings[0].hostPort: missing"),
            (
                port("containerPort", json!(65_536)),
                "portMappings[0].containerPort: 65536: must be 1 to 65535",
            ),
            (port("containerPort", json!("80")), "portMappings[0].containerPort: must be a whole number"),
            (
                port("protocol", json!("icmp")),
                "portMappings[0].protocol: \"icmp\": must be one of tcp, udp, sctp",
            ),
            (port("hostIP", json!("localhost")), "portMappings[0].hostIP: \"localhost\""),
        ] {
            let error = read(&runtime).unwrap_err();
            assert_eq!(error.code, 7, "{error}");
            assert!(error.msg.contains(want), "{error}");
        }
        let all = json!({"bandwidth": {"ingressRate": -1, "egressRate": -2}, "portMappings": [{}, 7]});
        let msg = read(&all).unwrap_err().msg;
        for want in ["ingressRate: -1", "egressRate: -2", "[0].protocol", "[1]: must be an object"] {
            assert!(msg.contains(want), "{msg}");
        }
    }
}
