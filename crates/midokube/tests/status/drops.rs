//! Drops, from an agent that has some.

use nodeapi::v1::drops_server::Drops;
use nodeapi::v1::{self, ListDropsReply, ListDropsRequest};
use tonic::{Request, Response, Status, async_trait};

use super::support::{FakeAgent, full, text};

/// An agent's drops: one that everything is known of, one that nothing is, and two of nobody's policy.
#[derive(Clone, Default)]
pub(crate) struct FakeDrops;

#[async_trait]
impl Drops for FakeDrops {
    async fn list_drops(
        &self,
        request: Request<ListDropsRequest>,
    ) -> Result<Response<ListDropsReply>, Status> {
        let request = request.into_inner();
        if request.reason == "because" {
            return Err(Status::invalid_argument("reason: \"because\" is no reason for drops"));
        }
        let mut drops = vec![known(), unknown(), forged(), of_nobody()];
        if request.port == 80 {
            drops.truncate(1);
        }
        Ok(Response::new(ListDropsReply { matching: drops.len() as u64, drops }))
    }
}

fn end(address: &str, port: u32, pod: Option<&str>) -> Option<v1::DropEnd> {
    let pod = pod.map(|name| v1::PodName { namespace: "default".into(), name: name.into() });
    Some(v1::DropEnd { address: address.into(), port, pod, ..v1::DropEnd::default() })
}

pub(crate) fn known() -> v1::Drop {
    v1::Drop {
        first: "2026-01-01T00:00:00.000Z".into(),
        last: "2026-01-01T00:01:00.000Z".into(),
        last_seconds: 5,
        packets: 12,
        bytes: 888,
        direction: "ingress".into(),
        verdict: "deny".into(),
        reason: "policy_ingress".into(),
        source: end("10.244.1.3", 44_312, Some("client")),
        destination: end("10.244.2.3", 80, Some("web")),
        protocol: "tcp".into(),
        decided_by: "networkPolicy".into(),
        policies: vec!["default/web".into()],
        rule: Some(1),
        rule_name: "dns".into(),
        why: "ingress[1] (\"dns\") of NetworkPolicy default/web denies it".into(),
        remedy: "change the policy that is named".into(),
        ..v1::Drop::default()
    }
}

pub(crate) fn unknown() -> v1::Drop {
    v1::Drop {
        source: end("fd44::3", 0, None),
        destination: end("fd44::4", 0, None),
        protocol: String::new(),
        decided_by: "unknown".into(),
        policies: Vec::new(),
        rule: None,
        rule_name: String::new(),
        why: "the first fragment was not seen".into(),
        ..known()
    }
}

/// A packet from another node's tunnel with a source that may not be its own, for a Service.
pub(crate) fn forged() -> v1::Drop {
    let service = Some(v1::ServiceName { namespace: "default".into(), name: "db".into() });
    v1::Drop {
        reason: "overlay_source".into(),
        source: Some(v1::DropEnd {
            address: "172.30.0.12".into(),
            node: "node2".into(),
            ..v1::DropEnd::default()
        }),
        destination: Some(v1::DropEnd {
            address: "10.96.0.10".into(),
            port: 80,
            service,
            ..v1::DropEnd::default()
        }),
        interface: "midokube-vxlan".into(),
        claimed_address: "192.0.2.66".into(),
        decided_by: "none".into(),
        policies: Vec::new(),
        rule: None,
        rule_name: String::new(),
        why: "came through the tunnel with a source that is nobody's".into(),
        ..known()
    }
}

/// A frame from an interface that is no Pod's, with nothing in it that can be read.
fn of_nobody() -> v1::Drop {
    v1::Drop {
        reason: "port_not_bound".into(),
        source: end("", 0, None),
        destination: end("", 0, None),
        protocol: String::new(),
        interface: "mido7".into(),
        claimed_address: String::new(),
        claimed_mac: "0a:00:00:00:00:01".into(),
        ..forged()
    }
}

#[test]
fn every_form_shows_drops() {
    let agent = FakeAgent::dropping(FakeDrops);
    for (arguments, want) in [
        (&["drops"][..], "TCP default/client -> default/web:80"),
        (&["drops", "default/web", "-o", "wide"], "10.244.1.3:44312"),
        (&["drops", "-n", "default", "-o", "yaml"], "decidedBy: networkPolicy"),
        (&["drops", "-n", "other", "-A", "-o", "yaml"], "decidedBy: networkPolicy"),
        (&["drops", "--since", "1h", "-o", "json"], "\"protocol\": null"),
    ] {
        let output = agent.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        let shown = text(&output.stdout);
        assert!(shown.contains(want), "{arguments:?}: {want} is not in:\n{shown}");
    }
    let one = text(&agent.run(&["drops", "--port", "tcp/80"]).stdout);
    assert!(one.contains("default/web:80") && !one.contains("fd44::4"), "{one}");
}

#[test]
fn what_the_agent_refuses_is_told() {
    let agent = FakeAgent::dropping(FakeDrops);
    let old = FakeAgent::with(full());
    for (agent, arguments, wanted) in [
        (&agent, &["drops", "--reason", "because"][..], "is no reason for drops"),
        (&old, &["drops"], "different versions"),
    ] {
        let output = agent.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains(wanted) && said.lines().count() == 1, "{wanted} is not in: {said}");
    }
    assert_eq!(agent.run(&["drops", "--port", "80"]).status.code(), Some(2));
}
