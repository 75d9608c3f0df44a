//! Flows, from an agent that has some.

use nodeapi::v1::flows_server::Flows;
use nodeapi::v1::{self, ListFlowsReply, ListFlowsRequest};
use tonic::{Request, Response, Status, async_trait};

use super::support::{FakeAgent, full, text};

/// An agent's flows: one that everything is known of, one that nothing is, and what was denied; on two pages.
#[derive(Clone, Default)]
pub(crate) struct FakeFlows;

#[async_trait]
impl Flows for FakeFlows {
    async fn list_flows(
        &self,
        request: Request<ListFlowsRequest>,
    ) -> Result<Response<ListFlowsReply>, Status> {
        let request = request.into_inner();
        let (flows, next) = match request.after {
            0 => (vec![known()], 1),
            // The last one as the client's node knows it.
            1 => (vec![unknown(), v1::Flow { ingress: None, ..known() }], 2),
            last => (vec![], last),
        };
        let drops = if request.drops { vec![super::drops::known(), super::drops::unknown()] } else { vec![] };
        Ok(Response::new(ListFlowsReply {
            flows,
            next,
            more: next == 1,
            totals: Some(v1::FlowTotals { events: 100, lost: 7, kept: 2, space: 10, dropped: 0 }),
            node: "node1".into(),
            drops,
        }))
    }
}

fn end(address: &str, port: u32, pod: Option<&str>) -> Option<v1::FlowEnd> {
    let pod = pod.map(|name| v1::PodName { namespace: "default".into(), name: name.into() });
    Some(v1::FlowEnd { address: address.into(), port, pod })
}

fn known() -> v1::Flow {
    let decision = || {
        Some(v1::FlowDecision {
            decided_by: "networkPolicy".into(),
            policies: vec!["default/web".into()],
            rule: Some(1),
            rule_name: "dns".into(),
            audit: false,
        })
    };
    v1::Flow {
        id: "6/a/b/1".into(),
        protocol: "tcp".into(),
        client: end("10.244.1.3", 40_000, Some("client")),
        frontend: end("10.96.0.7", 80, None),
        source: end("10.244.1.3", 40_000, None),
        backend: end("10.244.2.3", 8080, Some("web")),
        service: Some(v1::ServiceName { namespace: "default".into(), name: "web".into() }),
        service_port: "http".into(),
        state: "closed".into(),
        ended: true,
        verdict: "allow".into(),
        ingress: decision(),
        egress: decision(),
        client_packets: 6,
        client_bytes: 600,
        server_packets: 5,
        server_bytes: 5000,
        round_trip_microseconds: 250,
        began: "2026-01-01T00:00:00.000Z".into(),
        last: "2026-01-01T00:01:00.000Z".into(),
        last_seconds: 5,
        late: false,
        began_milliseconds: 1_767_225_600_000,
        last_milliseconds: 1_767_225_660_000,
    }
}

fn unknown() -> v1::Flow {
    let decided = |one: v1::FlowDecision| v1::FlowDecision { rule: None, rule_name: String::new(), ..one };
    v1::Flow {
        id: "1/a/b/2".into(),
        protocol: "icmp".into(),
        client: end("fd44::3", 7, None),
        frontend: end("fd44::4", 7, None),
        source: end("fd44::3", 7, None),
        backend: end("fd44::4", 7, None),
        service: None,
        service_port: String::new(),
        ingress: known().ingress.map(decided),
        egress: None,
        round_trip_microseconds: 0,
        ..known()
    }
}

#[test]
fn every_form_shows_flows_of_all_pages() {
    let agent = FakeAgent::telling(FakeFlows);
    for (arguments, want) in [
        (&["flows", "--this-node"][..], "TCP default/client -> default/web:8080 (default/web)"),
        (&["flows", "--this-node"], "ICMP fd44::3 -> fd44::4"),
        (&["flows", "--this-node"], "7 of 100 events"),
        (&["flows", "--this-node", "-o", "wide"], "default/web[1]"),
        (&["flows", "--this-node", "--verdict", "deny"], "deny policy_ingress"),
        (&["flows", "--this-node", "--service", "default/web", "-o", "yaml"], "roundTripMicroseconds: 250"),
        (&["flows", "--this-node", "--by", "verdict"], "allow"),
    ] {
        let output = agent.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        let shown = text(&output.stdout);
        assert!(shown.contains(want), "{arguments:?}: {want} is not in:\n{shown}");
    }
    // What nobody has is said, with what may be meant.
    for (arguments, want) in [
        (
            &["flows", "--this-node", "default/clent"][..],
            "none is of the Pod default/clent; did you mean default/client?",
        ),
        (
            &["flows", "--this-node", "--service", "default/wbe"],
            "Service default/wbe; did you mean default/web?",
        ),
        (
            &["flows", "--this-node", "--reason", "policy_igress"],
            "reason policy_igress; did you mean policy_ingress?",
        ),
        (
            &["flows", "--this-node", "-n", "defualt", "--by", "pod"],
            "namespace defualt; did you mean default?",
        ),
    ] {
        let shown = text(&agent.run(arguments).stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.starts_with("none of ") && shown.contains(want), "{arguments:?}: {shown}");
    }
    let not =
        text(&agent.run(&["flows", "--this-node", "--not", "port=icmp", "--not", "verdict=deny"]).stdout);
    assert!(not.contains("default/client") && !not.contains("fd44::"), "{not}");
}

#[test]
fn several_agents_are_asked_at_their_sockets() {
    let (one, other) = (FakeAgent::telling(FakeFlows), FakeAgent::with(full()));
    let sockets = [&one, &other].map(|agent| agent.socket().display().to_string());
    let command = ["flows", "--this-node", "--socket", &sockets[0], "--socket", &sockets[1]];
    let output = one.command(&command).env_remove("MIDONETKUBE_SOCKET").output().unwrap();
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("default/client -> default/web:8080"), "{shown}");
    assert!(shown.contains(&format!("node {} has no answer", sockets[1])), "{shown}");
}

#[test]
fn who_cannot_tell_says_why() {
    let old = FakeAgent::with(full());
    let output = old.run(&["flows", "--this-node"]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("different versions"));
    let output = old.command(&["flows"]).env_remove("KUBECONFIG").env("HOME", "/nowhere").output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("there is no kubeconfig"), "{said}");
}
