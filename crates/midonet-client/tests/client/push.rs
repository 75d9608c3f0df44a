//! What a push and a removal send, and what becomes of each answer.

use midonet::{
    Bridge, Ipv4MacPair, Kind, MacPort, PortLink, Resource, Rule, RuleType, TunnelZone, TunnelZoneHost,
    TunnelZoneType,
};
use midonet_client::{Class, PushError, Report};
use serde_json::{Value, json};

use crate::server::{Reply, Server};
use crate::{chain, client_of, id, ok, says};

pub type Script = Vec<(String, Reply)>;

pub fn exists() -> Reply {
    says(409, "A(n) Thing with ID 1 already exists.")
}

pub fn gone() -> Reply {
    says(404, "There is no Thing with ID 1.")
}

pub fn done() -> Reply {
    Reply::Answer(204, String::new())
}

pub fn has(body: &Value) -> Reply {
    Reply::Answer(200, body.to_string())
}

pub fn step(line: impl Into<String>, reply: Reply) -> (String, Reply) {
    (line.into(), reply)
}

/// Pushes to a server that follows the script; what came of it, and what was sent in the end.
pub async fn push(resources: &[Resource], script: Script) -> (Result<Report, PushError>, Vec<String>) {
    let server = Server::start(script.iter().map(|(line, reply)| (line.as_str(), reply.clone()))).await;
    let result = client_of(&server).0.push(resources).await;
    server.finish();
    let requests = match &result {
        Ok(report) => report.requests,
        Err(error) => error.report.requests,
    };
    assert_eq!(requests, script.len());
    (result, server.requests().into_iter().map(|request| request.body).collect())
}

pub fn report(created: usize, replaced: usize, unchanged: usize, requests: usize) -> Report {
    Report { created, replaced, unchanged, requests, ..Report::default() }
}

pub fn bridge(filter: &str) -> Resource {
    Resource::top(Bridge {
        id: id("bridge"),
        tenant_id: "midonetkube".into(),
        name: "node-1".into(),
        inbound_filter_id: Some(id(filter)),
        outbound_filter_id: None,
    })
}

/// As a real server gives it: with what Translations do not have, and null for what is not set.
pub fn bridge_there(filter: &str) -> Value {
    json!({"id": id("bridge"), "tenantId": "midonetkube", "name": "node-1", "adminStateUp": true,
        "inboundFilterId": id(filter), "outboundFilterId": null, "vxLanPortIds": null,
        "uri": "http://127.0.0.1:8181/midonet-api/bridges/x"})
}

pub fn rule(name: &str) -> Resource {
    let rule = Rule { dl_type: Some(2048), nw_proto: 6, ..Rule::jump(id(name), id("to")) };
    Resource::of(id("chain"), rule)
}

pub fn rule_there(name: &str, position: u64) -> Value {
    json!({"type": "jump", "id": id(name), "chainId": id("chain"), "jumpChainId": id("to"), "jumpChainName": null,
        "dlType": 2048, "nwProto": 6, "nwDstAddress": null, "nwDstLength": 0, "nwSrcAddress": null,
        "nwSrcLength": 0, "tpDst": null, "tpSrc": null, "position": position, "fragmentPolicy": "any",
        "condInvert": false})
}

pub fn at(kind: &str, name: &str) -> String {
    format!("/{kind}/{}", id(name))
}

#[tokio::test]
async fn what_is_new_takes_a_request_each() {
    let (result, _) = push(
        &[chain("chain"), bridge("f"), rule("r")],
        vec![
            step("POST /chains", ok()),
            step("POST /bridges", ok()),
            step(format!("POST {}/rules", at("chains", "chain")), ok()),
        ],
    )
    .await;
    assert_eq!(result.unwrap(), report(3, 0, 0, 3));
}

#[tokio::test]
async fn what_is_there_takes_two_requests_at_most_and_is_not_written() {
    let mac = "ac:ca:ba:00:00:01".parse().unwrap();
    let bridge_id = id("bridge");
    let zone = TunnelZone {
        id: Some(id("zone")),
        name: "DefaultTunnelZone".into(),
        zone_type: Some(TunnelZoneType::Vxlan),
    };
    let resources = [
        Resource::top(zone),
        chain("chain"),
        bridge("f"),
        rule("r"),
        Resource::of(id("zone"), TunnelZoneHost { host_id: id("h"), ip_address: [192, 0, 2, 1].into() }),
        Resource::of(bridge_id, MacPort { mac_addr: mac, port_id: id("p") }),
        Resource::of(bridge_id, Ipv4MacPair { ip: [10, 0, 0, 2].into(), mac }),
        Resource::of(id("p"), PortLink { port_id: None, peer_id: id("peer") }),
    ];
    let entry = format!("/bridges/{bridge_id}/mac_table/ac-ca-ba-00-00-01_{}", id("p"));
    let pair = format!("/bridges/{bridge_id}/arp_table/10.0.0.2_ac-ca-ba-00-00-01");
    let page = || Reply::Answer(500, "<html>KeeperErrorCode = NodeExists".into());
    let (result, _) = push(
        &resources,
        vec![
            step("POST /tunnel_zones", says(409, "Tunnel zone name already exists.")),
            step(
                format!("GET {}", at("tunnel_zones", "zone")),
                has(&json!({"id": id("zone"), "name": "DefaultTunnelZone", "type": "vxlan"})),
            ),
            step("POST /chains", exists()),
            step(
                format!("GET {}", at("chains", "chain")),
                has(&json!({"id": id("chain"), "name": "old name"})),
            ),
            step("POST /bridges", exists()),
            step(format!("GET {}", at("bridges", "bridge")), has(&bridge_there("f"))),
            step(format!("POST {}/rules", at("chains", "chain")), exists()),
            step(format!("GET {}", at("rules", "r")), has(&rule_there("r", 7))),
            step(format!("POST {}/hosts", at("tunnel_zones", "zone")), Reply::Answer(409, String::new())),
            step(
                format!("GET {}/hosts/{}", at("tunnel_zones", "zone"), id("h")),
                has(&json!({"tunnelZoneId": id("zone"), "hostId": id("h"), "ipAddress": "192.0.2.1"})),
            ),
            step(format!("POST /bridges/{bridge_id}/mac_table"), page()),
            step(
                format!("GET {entry}"),
                has(&json!({"macAddr": "AC:CA:BA:00:00:01", "portId": id("p"), "vlanId": 0})),
            ),
            step(format!("POST /bridges/{bridge_id}/arp_table"), page()),
            step(format!("GET {pair}"), has(&json!({"ip": "10.0.0.2", "mac": "ac:ca:ba:00:00:01"}))),
            step(format!("POST {}/link", at("ports", "p")), says(409, "Ports are not linkable.")),
            step(format!("GET {}", at("ports", "p")), has(&json!({"type": "Bridge", "peerId": id("peer")}))),
        ],
    )
    .await;
    assert_eq!(result.unwrap(), report(0, 0, 8, 16));
}

#[tokio::test]
async fn a_chain_that_somebody_elses_write_kept_from_being_made_is_not_taken_for_there() {
    let script = vec![
        step("POST /chains", says(409, "Conflicting write")),
        step(format!("GET {}", at("chains", "chain")), gone()),
    ];
    let error = push(&[chain("chain")], script).await.0.unwrap_err();
    assert_eq!(error.error.class(), Class::Conflict);
    assert!(error.to_string().contains("Conflicting write; it is tried again"), "{error}");
}

#[tokio::test]
async fn a_push_stops_at_what_is_missing_and_says_what() {
    let (result, _) = push(
        &[chain("chain"), rule("r"), bridge("f")],
        vec![
            step("POST /chains", ok()),
            step(format!("POST {}/rules", at("chains", "chain")), says(404, "There is no Chain with ID 7.")),
        ],
    )
    .await;
    let error = result.unwrap_err();
    assert_eq!((error.index, error.kind, error.error.class()), (1, Kind::Rule, Class::Missing));
    assert_eq!(error.report, report(1, 0, 0, 2));
    let said = error.to_string();
    assert!(said.starts_with("resource 1 (Rule): POST /chains/"), "{said}");
    assert!(said.contains("404 Not Found: There is no Chain with ID 7.; it is tried again"), "{said}");
    let pair = Ipv4MacPair { ip: [10, 0, 0, 2].into(), mac: "ac:ca:ba:00:00:01".parse().unwrap() };
    let table = format!("{}/arp_table", at("bridges", "bridge"));
    let (result, _) = push(
        &[Resource::of(id("bridge"), pair)],
        vec![
            step(format!("POST {table}"), Reply::Answer(500, "<html>KeeperErrorCode = NoNode".into())),
            step(format!("GET {table}/10.0.0.2_ac-ca-ba-00-00-01"), gone()),
        ],
    )
    .await;
    let error = result.unwrap_err();
    assert_eq!(error.error.class(), Class::Missing);
    assert!(error.to_string().contains("500 Internal Server Error: KeeperErrorCode = NoNode"), "{error}");
}

#[tokio::test]
async fn a_removal_passes_over_what_is_not_there_and_goes_on_after_errors() {
    let mac = "ac:ca:ba:00:00:01".parse().unwrap();
    let entry = Resource::of(id("bridge"), MacPort { mac_addr: mac, port_id: id("p") });
    let server = Server::start([
        (format!("DELETE {}", at("chains", "a")).as_str(), done()),
        (format!("DELETE {}", at("chains", "b")).as_str(), gone()),
        (format!("DELETE {}", entry.item_path().unwrap()).as_str(), Reply::Answer(500, "<html>".into())),
        (format!("GET {}", at("bridges", "bridge")).as_str(), gone()),
        (format!("DELETE {}", at("chains", "c")).as_str(), says(500, "no")),
        (format!("DELETE {}", at("chains", "d")).as_str(), done()),
    ])
    .await;
    let (client, _) = client_of(&server);
    let error = client.remove(&[chain("a"), chain("b"), entry, chain("c"), chain("d")]).await.unwrap_err();
    server.finish();
    assert_eq!((error.index, error.error.class()), (3, Class::Failed));
    assert_eq!(error.report, Report { removed: 2, absent: 2, requests: 6, ..Report::default() });
}

#[tokio::test]
async fn nothing_to_do_takes_nothing() {
    let server = Server::start([]).await;
    let (client, _) = client_of(&server);
    assert_eq!(client.push(&[]).await.unwrap(), Report::default());
    assert_eq!(client.remove(&[]).await.unwrap(), Report::default());
    let incomplete = Resource { parent: None, ..Resource::of(id("c"), Rule::new(id("r"), RuleType::Accept)) };
    // A rule has its own path, but no place to be posted to.
    assert_eq!(client.push(&[incomplete]).await.unwrap_err().error.class(), Class::Invalid);
    assert!(server.requests().is_empty());
}
