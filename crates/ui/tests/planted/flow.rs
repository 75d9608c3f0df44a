//! A planted flow.

use serde_json::{Value, json};
use ui::{Fault, Map, Place};

use super::{place, traffic};

/// A flow. An end is `namespace/pod`, a node's name, or an address.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    pub(crate) id: String,
    pub(crate) node: String,
    pub(crate) client: String,
    pub(crate) server: String,
    pub(crate) port: String,
    pub(crate) service: Option<String>,
    pub(crate) verdict: &'static str,
    pub(crate) reason: Option<String>,
    pub(crate) why: Option<String>,
    pub(crate) policies: Vec<String>,
    pub(crate) packets: u64,
    pub(crate) rate: u64,
    pub(crate) round_trip: Option<u64>,
    pub(crate) last_seconds: u64,
    pub(crate) ended: bool,
}

/// A flow that passes.
pub(crate) fn flow(client: &str, server: &str, port: &str) -> Flow {
    Flow {
        id: format!("{client} {server} {port}"),
        node: "node1".to_owned(),
        client: client.to_owned(),
        server: server.to_owned(),
        port: port.to_owned(),
        service: None,
        verdict: "allow",
        reason: None,
        why: None,
        policies: Vec::new(),
        packets: 42,
        rate: 1500,
        round_trip: Some(240),
        last_seconds: 1,
        ended: false,
    }
}

impl Flow {
    /// The same, through a Service.
    pub(crate) fn via(self, service: &str) -> Self {
        Self { service: Some(service.to_owned()), ..self }
    }

    /// The same, denied by a policy.
    pub(crate) fn denied(self, policy: &str, why: &str) -> Self {
        Self {
            verdict: "deny",
            reason: Some("policy_ingress".to_owned()),
            why: Some(why.to_owned()),
            policies: vec![policy.to_owned()],
            rate: 0,
            round_trip: None,
            ..self
        }
    }

    /// Where its ends are.
    pub(crate) fn places(&self) -> (Place<'_>, Place<'_>) {
        (place(&self.client), place(&self.server))
    }

    pub(crate) fn add_to(&self, map: &mut Map) {
        let (client, server) = self.places();
        map.add(client, server, &traffic(self));
    }

    /// As `midokube flows -o json` has it.
    pub(crate) fn document(&self) -> Value {
        let (protocol, port) = self.port.split_once('/').unwrap_or((&self.port, ""));
        let server_port = port.parse::<u32>().ok();
        let end = |name: &str, port: Option<u32>| {
            let hash =
                name.bytes().fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
            let pod = name.contains('/').then_some(name);
            let address = if pod.is_some() {
                format!("10.244.{}.{}", hash % 3 + 1, hash / 3 % 250 + 3)
            } else {
                name.to_owned()
            };
            json!({"address": address, "port": port, "pod": pod})
        };
        let (client, server) = (end(&self.client, Some(40_000)), end(&self.server, server_port));
        let denied = self.verdict == "deny";
        let decision = (!self.policies.is_empty()).then(|| {
            json!({"decidedBy": "networkPolicy", "policies": self.policies, "rule": null, "ruleName": null, "audit": self.verdict == "audit"})
        });
        let frontend = self.service.as_ref().map_or_else(
            || server.clone(),
            |_| json!({"address": "10.96.0.80", "port": server_port, "pod": null}),
        );
        json!({
            "nodes": [self.node], "id": self.id, "protocol": protocol, "client": client, "frontend": frontend, "source": client,
            "backend": server, "service": self.service, "servicePort": null, "endpointOf": [],
            "state": if denied { "denied" } else if self.ended { "closed" } else { "established" }, "ended": self.ended, "verdict": self.verdict,
            "reason": self.reason, "why": self.why, "ingress": decision, "egress": null, "clientPackets": self.packets,
            "clientBytes": self.packets * 74, "serverPackets": if denied { 0 } else { self.packets }, "serverBytes": if denied { 0 } else { self.packets * 810 },
            "roundTripMicroseconds": self.round_trip, "began": "2026-11-30T03:00:00Z", "last": "2026-11-30T03:04:05Z", "lastSeconds": self.last_seconds,
            "late": false, "beganMilliseconds": 1_796_007_600_000_u64, "lastMilliseconds": 1_796_007_845_000_u64, "bytesPerSecond": self.rate,
        })
    }

    /// Whether it is such a flow; enough of `midokube flows` for the page.
    pub(crate) fn meets(&self, condition: &str) -> Result<bool, Fault> {
        let (option, value) = condition.split_once('=').unwrap_or((condition, ""));
        let ends = [self.client.as_str(), self.server.as_str()];
        Ok(match option {
            "pod" => ends.contains(&value),
            "namespace" => {
                ends.iter().any(|end| end.split_once('/').is_some_and(|(namespace, _)| namespace == value))
            }
            "address" if value.parse::<std::net::IpAddr>().is_err() => {
                return Err(Fault::Invalid(format!("{value} is no IP address")));
            }
            "address" => ends.contains(&value),
            "port" => self.port == value,
            "verdict" => self.verdict == value,
            "reason" => self.reason.as_deref() == Some(value),
            "service" => self.service.as_deref() == Some(value),
            _ => return Err(Fault::Invalid(format!("there is no option {option}"))),
        })
    }
}
