//! Services and connections, from an agent that has some.

use std::sync::{Arc, Mutex};

use nodeapi::v1::services_server::Services;
use nodeapi::v1::{
    self, GetServiceReply, GetServiceRequest, ListConnectionsReply, ListConnectionsRequest,
    ListServicesReply, ListServicesRequest,
};
use tonic::{Code, Request, Response, Status, async_trait};

use super::support::{FakeAgent, full, text};

/// An agent's Services: one, of two ports, with a connection.
#[derive(Clone, Default)]
pub(crate) struct FakeServices {
    /// What the last connections were asked for with.
    asked: Arc<Mutex<Option<ListConnectionsRequest>>>,
}

#[async_trait]
impl Services for FakeServices {
    async fn list_services(
        &self,
        request: Request<ListServicesRequest>,
    ) -> Result<Response<ListServicesReply>, Status> {
        let ListServicesRequest { namespace, name } = request.into_inner();
        let is_asked = |asked: &str, has: &str| asked.is_empty() || asked == has;
        let mut ports = vec![port("ipv4"), bare("ipv6")];
        ports.retain(|port| is_asked(&namespace, &port.namespace) && is_asked(&name, &port.name));
        Ok(Response::new(ListServicesReply { ports }))
    }

    async fn get_service(
        &self,
        request: Request<GetServiceRequest>,
    ) -> Result<Response<GetServiceReply>, Status> {
        let GetServiceRequest { namespace, name } = request.into_inner();
        match (namespace.as_str(), name.as_str()) {
            ("default", "web") => Ok(Response::new(service())),
            ("default", "headless") => Ok(Response::new(headless())),
            _ => Err(Status::not_found(format!("there is no Service {namespace}/{name}"))),
        }
    }

    async fn list_connections(
        &self,
        request: Request<ListConnectionsRequest>,
    ) -> Result<Response<ListConnectionsReply>, Status> {
        let request = request.into_inner();
        let busy = request.port == 9;
        *self.asked.lock().unwrap() = Some(request);
        if busy {
            return Err(Status::new(Code::ResourceExhausted, "others list them: try again"));
        }
        Ok(Response::new(connections()))
    }
}

fn port(family: &str) -> v1::ServicePort {
    v1::ServicePort {
        namespace: "default".into(),
        name: "web".into(),
        port: "http".into(),
        protocol: "tcp".into(),
        family: family.into(),
        frontends: vec![
            v1::Frontend {
                kind: "ClusterIP".into(),
                address: "10.96.0.10".into(),
                port: 80,
                inside: "Cluster".into(),
                outside: "Cluster".into(),
            },
            v1::Frontend {
                kind: "NodePort".into(),
                port: 30_080,
                inside: "Cluster".into(),
                outside: "Local".into(),
                ..Default::default()
            },
        ],
        cluster_backends: 3,
        local_backends: 1,
        endpoints: 4,
        affinity_seconds: 60,
        source_ranges: vec!["192.0.2.0/24".into()],
        has_source_ranges: true,
        counters: Some(v1::ServiceCounters { connections: 12, refused: 1 }),
    }
}

/// One of which nothing is known.
fn bare(family: &str) -> v1::ServicePort {
    v1::ServicePort { frontends: Vec::new(), affinity_seconds: 0, counters: None, ..port(family) }
}

fn service() -> GetServiceReply {
    let backend = v1::Backend {
        address: "10.244.1.3".into(),
        port: 8080,
        node: "node7".into(),
        zone: "a".into(),
        ready: true,
        serving: true,
        active_connections: 3,
        ..Default::default()
    };
    let out = v1::Backend {
        address: "10.244.2.3".into(),
        not_in_cluster: "not ready".into(),
        not_in_local: "not on this node".into(),
        ..Default::default()
    };
    let details = |port, backends| v1::ServiceDetails { port: Some(port), backends };
    GetServiceReply {
        namespace: "default".into(),
        name: "web".into(),
        r#type: "LoadBalancer".into(),
        ignored: String::new(),
        ports: vec![details(port("ipv4"), vec![backend, out]), details(bare("ipv6"), Vec::new())],
        problems: vec![v1::Problem {
            what: "service".into(),
            object: "Service default/web".into(),
            problem: "its externalIP 10.0.0.1 is a Node's".into(),
            remedy: "remove it".into(),
        }],
        health_check_node_port: 30_999,
    }
}

fn headless() -> GetServiceReply {
    GetServiceReply {
        namespace: "default".into(),
        name: "headless".into(),
        r#type: "ClusterIP".into(),
        ignored: "it is headless (clusterIP: None)".into(),
        ..Default::default()
    }
}

fn connections() -> ListConnectionsReply {
    let end = |address: &str, port| Some(v1::Endpoint { address: address.into(), port });
    let plain = v1::Connection {
        protocol: "icmp".into(),
        client: end("10.244.1.3", 7),
        frontend: end("10.244.2.3", 7),
        backend: end("10.244.2.3", 7),
        state: "established".into(),
        idle_seconds: 2,
        ..Default::default()
    };
    let translated = v1::Connection {
        protocol: "tcp".into(),
        frontend: end("10.96.0.10", 80),
        translated_client: end("172.30.0.11", 20_001),
        service: Some(v1::ServiceName { namespace: "default".into(), name: "web".into() }),
        service_port: "http".into(),
        ..plain.clone()
    };
    ListConnectionsReply { connections: vec![translated, plain], matching: 5 }
}

#[test]
fn every_form_shows_services() {
    let agent = FakeAgent::serving(FakeServices::default());
    for (arguments, want) in [
        (&["services"][..], "10.96.0.10:80"),
        (&["services", "-n", "default", "web", "-o", "wide"], "NodePort *:30080"),
        (&["services", "-o", "json"], "\"clusterBackends\": 3"),
        (&["services", "-o", "yaml"], "clusterBackends: 3"),
        (&["service", "default/web"], "10.244.2.3 on n/a"),
        (&["service", "default/web", "-o", "wide"], "Cluster: no: not ready; Local: no: not on this node"),
        (&["service", "default/headless"], "no: it is headless"),
        (&["service", "default/web", "-o", "json"], "\"notInCluster\": \"not ready\""),
        (&["connections"], "TCP 10.244.1.3:7 -> 10.96.0.10:80"),
        (&["connections"], "2 of 5 connections that match"),
        (&["connections", "-o", "wide"], "172.30.0.11:20001"),
        (&["connections", "-o", "yaml"], "matching: 5"),
    ] {
        let output = agent.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        let shown = text(&output.stdout);
        assert!(shown.contains(want), "{arguments:?}: {want} is not in:\n{shown}");
    }
    assert_eq!(text(&agent.run(&["services", "-n", "other"]).stdout), " none\n");
}

#[test]
fn filters_reach_the_agent() {
    let services = FakeServices::default();
    let agent = FakeAgent::serving(services.clone());
    let words = ["connections", "--pod", "default/a", "--service", "default/web", "--limit", "7"];
    assert!(agent.run(&words).status.success());
    let want = ListConnectionsRequest {
        pod: Some(v1::PodName { namespace: "default".into(), name: "a".into() }),
        service: Some(v1::ServiceName { namespace: "default".into(), name: "web".into() }),
        limit: 7,
        ..Default::default()
    };
    assert_eq!(*services.asked.lock().unwrap(), Some(want));
}

#[test]
fn what_is_not_there_is_named() {
    let agent = FakeAgent::serving(FakeServices::default());
    let old = FakeAgent::with(full());
    for (agent, arguments, wanted) in [
        (
            &agent,
            &["service", "default/gone"][..],
            &["cannot return", "there is no Service default/gone"][..],
        ),
        (&agent, &["connections", "--port", "9"], &["others list them: try again"]),
        (&old, &["services"], &["the call for its Services", "different versions"]),
        (&old, &["connections"], &["the call for its connections", "different versions"]),
    ] {
        let output = agent.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = text(&output.stderr);
        assert_eq!((said.lines().count(), output.stdout.len()), (1, 0), "{said}");
        for want in wanted {
            assert!(said.contains(want), "{want} is not in: {said}");
        }
        assert!(!said.contains("log may have more"), "{said}");
    }
    assert_eq!(agent.run(&["service", "web"]).status.code(), Some(2));
}
