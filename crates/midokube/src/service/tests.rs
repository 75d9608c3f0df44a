use anstream::adapter::strip_str;
use nodeapi::v1;

use super::*;

fn backend(address: &str, node: &str) -> v1::Backend {
    v1::Backend {
        address: address.into(),
        port: 8080,
        node: node.into(),
        zone: "a".into(),
        ready: true,
        serving: true,
        active_connections: 5,
        ..v1::Backend::default()
    }
}

fn reply(outside: &str) -> v1::GetServiceReply {
    let frontend = |kind: &str, address: &str, port, outside: &str| v1::Frontend {
        kind: kind.into(),
        address: address.into(),
        port,
        inside: "Cluster".into(),
        outside: outside.into(),
    };
    let port = v1::ServicePort {
        namespace: "default".into(),
        name: "web".into(),
        port: "http".into(),
        protocol: "tcp".into(),
        family: "ipv4".into(),
        frontends: vec![
            frontend("ClusterIP", "10.96.0.10", 80, "Cluster"),
            frontend("NodePort", "", 30080, outside),
        ],
        affinity_seconds: 60,
        counters: Some(v1::ServiceCounters { connections: 12, refused: 1 }),
        ..v1::ServicePort::default()
    };
    let leaving = v1::Backend {
        ready: false,
        terminating: true,
        not_in_cluster: "terminating, while others are ready".into(),
        not_in_local: "not on this node".into(),
        ..backend("10.244.2.4", "node2")
    };
    let portless = v1::Backend {
        port: 0,
        zone: String::new(),
        node: String::new(),
        ready: false,
        serving: false,
        not_in_cluster: "its EndpointSlice has no such port".into(),
        not_in_local: "its EndpointSlice has no such port".into(),
        active_connections: 0,
        ..backend("10.244.2.5", "")
    };
    v1::GetServiceReply {
        namespace: "default".into(),
        name: "web".into(),
        r#type: "NodePort".into(),
        ports: vec![v1::ServiceDetails {
            port: Some(port),
            backends: vec![backend("10.244.1.3", "node1"), leaving, portless],
        }],
        ..v1::GetServiceReply::default()
    }
}

fn shown(reply: v1::GetServiceReply, wide: bool) -> String {
    strip_str(&text::text(&View::from(reply), wide)).to_string()
}

#[test]
fn each_backend_that_is_out_says_why() {
    let want = "Service
 name    default/web
 type    NodePort
 served  yes

Port http/TCP, IPv4
 frontends    ClusterIP 10.96.0.10:80, NodePort *:30080
 policy       Cluster
 affinity     a client stays with its backend for 1m0s
 connections  12, 1 refused
 BACKEND                   ZONE  STATE                 ACTIVE  USED
 10.244.1.3:8080 on node1  a     ready                 5       yes
 10.244.2.4:8080 on node2  a     terminating, serving  5       no: terminating, while others
                                                               are ready
 10.244.2.5 on n/a         n/a   not ready             0       no: its EndpointSlice has no
                                                               such port";
    assert_eq!(shown(reply("Cluster"), false), want);
}

#[test]
fn two_policies_are_answered_for_each() {
    let text = shown(reply("Local"), false);
    for want in [
        "policy       Cluster/Local",
        "5       Cluster: yes\n",
        "Local: yes\n",
        "Cluster: no: terminating, while\n",
        " others are ready\n",
        "Local: no: not on this node\n",
    ] {
        assert!(text.contains(want), "{want} is not in:\n{text}");
    }
    let wide = shown(reply("Local"), true);
    let want = "Cluster: no: terminating, while others are ready; Local: no: not on this node";
    assert!(wide.contains(want), "{wide}");
}

#[test]
fn what_is_not_served_says_why() {
    let ignored = v1::GetServiceReply {
        ignored: "it is headless (clusterIP: None)".into(),
        health_check_node_port: 30999,
        ports: Vec::new(),
        problems: vec![v1::Problem {
            what: "service".into(),
            object: "Service default/web".into(),
            problem: "its frontend 192.0.2.1:80/TCP is Service default/older's".into(),
            remedy: "give it another address".into(),
        }],
        ..reply("Cluster")
    };
    let want = "Service
 name           default/web
 type           NodePort
 served         no: it is headless (clusterIP: None)
 health checks  port 30999 of the node

Problems
 service: Service default/web
  its frontend 192.0.2.1:80/TCP is Service default/older's
  remedy: give it another address";
    assert_eq!(shown(ignored, false), want);
}

#[test]
fn a_port_without_endpoints_and_with_source_ranges() {
    let mut reply = reply("Cluster");
    let details = &mut reply.ports[0];
    details.backends.clear();
    let port = details.port.as_mut().unwrap();
    (port.has_source_ranges, port.affinity_seconds) = (true, 0);
    let nowhere = shown(reply.clone(), false);
    for want in [
        "load balancer from  nowhere: no range is of this family\n",
        "affinity            none\n",
        "\n no endpoints",
    ] {
        assert!(nowhere.contains(want), "{want} is not in:\n{nowhere}");
    }
    reply.ports[0].port.as_mut().unwrap().source_ranges = vec!["192.0.2.0/24".into(), "10.0.0.0/8".into()];
    assert!(shown(reply, false).contains("load balancer from  192.0.2.0/24, 10.0.0.0/8\n"));
}

#[test]
fn the_narrow_form_fits_100_columns() {
    let mut reply = reply("Local");
    let node = "ip-10-123-124-125.eu-central-1.compute.internal";
    for one in &mut reply.ports[0].backends {
        one.address = "fd44:1234:5678:9abc::1a2b".into();
        (one.node, one.zone) = (node.into(), "eu-central-1a".into());
    }
    let text = shown(reply, false);
    for line in text.lines() {
        assert!(line.chars().count() <= terminal::table::WIDTH, "{text}");
    }
}
