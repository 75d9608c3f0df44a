use std::time::Duration;

use cni::Attachment;
use datapath::{Limits, ServiceCounters};
use model::{Family, Protocol, ServicePortKey};
use naming::PodKey;
use naming::alias::PortAlias;
use proptest::prelude::*;
use tonic::Code;

use super::*;
use crate::backend::Owner;

fn connection(protocol: u8, [client, frontend, source, backend]: [&str; 4], idle: u64) -> Connection {
    let socket = |text: &str| text.parse::<SocketAddr>().unwrap();
    Connection {
        idle: Duration::from_secs(idle),
        protocol,
        client: socket(client),
        frontend: socket(frontend),
        source: socket(source),
        backend: socket(backend),
        service: 0,
        state: State::Established,
        translated: frontend != backend,
        client_ifindex: 0,
        server_ifindex: 0,
    }
}

fn translated() -> Connection {
    let ends = ["10.244.1.3:40000", "10.96.0.10:80", "10.244.1.1:20001", "10.244.2.3:8080"];
    Connection { service: 7, ..connection(6, ends, 3) }
}

fn plain() -> Connection {
    let ends = ["[fd44::3]:40000", "[fd44::4]:53"];
    connection(17, [ends[0], ends[1], ends[0], ends[1]], 9)
}

fn records() -> Vec<ServiceRecord> {
    let record = |service: &str, number| ServiceRecord {
        key: ServicePortKey {
            service: service.into(),
            port: "http".into(),
            protocol: Protocol::Tcp,
            family: Family::V4,
        },
        number,
        counters: ServiceCounters::default(),
    };
    vec![record("default/web", 7), record("default/web", 8), record("default/dns", 9), record("c0ffee", 10)]
}

fn pods() -> Vec<PortRecord> {
    let owner = |name: &str| {
        Owner::Known(PortAlias {
            pod: PodKey::new("default", name),
            container_id: "c1".into(),
            ifname: "eth0".into(),
            pod_uid: None,
            network: None,
        })
    };
    let port = |owner, address: &str| PortRecord {
        owner,
        host_ifname: "mido1".into(),
        host_ifindex: 1,
        mac: "02:00:00:00:00:07".parse().unwrap(),
        addresses: vec![address.parse().unwrap()],
        limits: Limits::default(),
        host_ports: Vec::new(),
    };
    let nobody = Owner::Unknown(None::<Attachment>);
    vec![port(owner("a"), "10.244.1.3"), port(owner("b"), "10.244.2.3"), port(nobody, "fd44::3")]
}

fn filter(request: &v1::ListConnectionsRequest) -> Result<(Filter, usize), Status> {
    read(request, &records(), pods)
}

fn pod(name: &str) -> Option<v1::PodName> {
    Some(v1::PodName { namespace: "default".into(), name: name.into() })
}

fn service(name: &str) -> Option<v1::ServiceName> {
    Some(v1::ServiceName { namespace: "default".into(), name: name.into() })
}

/// Every field alone, with whether it lets the translated and the plain connection through.
#[test]
fn each_field_is_a_filter() {
    let none = v1::ListConnectionsRequest::default;
    let address = |text: &str| v1::ListConnectionsRequest { address: text.into(), ..none() };
    let port = |port| v1::ListConnectionsRequest { port, ..none() };
    let protocol = |text: &str| v1::ListConnectionsRequest { protocol: text.into(), ..none() };
    let state = |text: &str| v1::ListConnectionsRequest { state: text.into(), ..none() };
    for (request, want) in [
        (none(), [true, true]),
        (v1::ListConnectionsRequest { pod: pod("a"), ..none() }, [true, false]),
        (v1::ListConnectionsRequest { pod: pod("b"), ..none() }, [true, false]),
        (v1::ListConnectionsRequest { service: service("web"), ..none() }, [true, false]),
        (v1::ListConnectionsRequest { service: service("dns"), ..none() }, [false, false]),
        (address("10.244.1.3"), [true, false]),
        (address("::ffff:10.96.0.10"), [true, false]),
        (address("10.244.1.1"), [true, false]),
        (address("fd44:0::4"), [false, true]),
        (address("10.0.0.1"), [false, false]),
        (port(40_000), [true, true]),
        (port(80), [true, false]),
        (port(20_001), [true, false]),
        (port(53), [false, true]),
        (protocol("tcp"), [true, false]),
        (protocol("udp"), [false, true]),
        (protocol("icmp"), [false, false]),
        (state("established"), [true, true]),
        (state("closed"), [false, false]),
        (v1::ListConnectionsRequest { port: 53, protocol: "tcp".into(), ..none() }, [false, false]),
    ] {
        let (filter, limit) = filter(&request).unwrap();
        assert_eq!([translated(), plain()].map(|one| filter.matches(&one)), want, "{request:?}");
        assert_eq!(limit, 1000);
    }
}

#[test]
fn what_cannot_match_is_named() {
    let none = v1::ListConnectionsRequest::default;
    for (request, code, want) in [
        (
            v1::ListConnectionsRequest { pod: pod("c"), ..none() },
            Code::NotFound,
            "no Pod default/c: ask the agent of its node, or filter by its address",
        ),
        (
            v1::ListConnectionsRequest { service: service("x"), ..none() },
            Code::NotFound,
            "no Service default/x",
        ),
        (
            v1::ListConnectionsRequest { service: service("wbe"), ..none() },
            Code::NotFound,
            "says why; did you mean default/web?",
        ),
        (v1::ListConnectionsRequest { address: "10.0".into(), ..none() }, Code::InvalidArgument, "\"10.0\""),
        (v1::ListConnectionsRequest { port: 65_536, ..none() }, Code::InvalidArgument, "65536"),
        (v1::ListConnectionsRequest { protocol: "gre".into(), ..none() }, Code::InvalidArgument, "\"gre\""),
        (v1::ListConnectionsRequest { state: "open".into(), ..none() }, Code::InvalidArgument, "\"open\""),
        (v1::ListConnectionsRequest { limit: 16_385, ..none() }, Code::InvalidArgument, "up to 16384"),
    ] {
        let status = filter(&request).unwrap_err();
        assert!(status.code() == code && status.message().contains(want), "{request:?}: {status}");
    }
}

#[test]
fn a_connection_is_told_with_its_service() {
    let records = records();
    let names = records.iter().map(|record| (record.number, record)).collect();
    let end = |address: &str, port| Some(v1::Endpoint { address: address.into(), port });
    let want = v1::Connection {
        protocol: "tcp".into(),
        client: end("10.244.1.3", 40_000),
        frontend: end("10.96.0.10", 80),
        backend: end("10.244.2.3", 8080),
        translated_client: end("10.244.1.1", 20_001),
        service: service("web"),
        service_port: "http".into(),
        state: "established".into(),
        idle_seconds: 3,
    };
    assert_eq!(message(translated(), &names), want);
    let direct = message(Connection { protocol: 47, ..plain() }, &names);
    assert_eq!((direct.service, direct.translated_client), (None, None));
    assert_eq!((direct.protocol.as_str(), direct.frontend == direct.backend), ("47", true));
    // A host port's Service is a container.
    assert_eq!(message(Connection { service: 10, ..translated() }, &names).service, None);
    assert_eq!(message(Connection { service: 99, ..translated() }, &names).service, None, "it is gone");
}

proptest! {
    /// Against sorting all of them.
    #[test]
    fn the_latest_are_kept(idle in prop::collection::vec(0u64..50, 0..100), limit in 1usize..20) {
        let mut latest = Latest::new(limit);
        for (port, idle) in idle.iter().enumerate() {
            let client = format!("10.0.0.1:{}", port + 1);
            latest.add(connection(6, [&client, "10.0.0.2:1", &client, "10.0.0.2:1"], *idle));
        }
        prop_assert_eq!(latest.matching, idle.len() as u64);
        let found: Vec<u64> = latest.found.into_sorted_vec().iter().map(|one| one.idle.as_secs()).collect();
        let mut want = idle;
        want.sort_unstable();
        want.truncate(limit);
        prop_assert_eq!(found, want);
    }
}
