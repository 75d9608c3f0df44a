//! Single requests: headers, bodies, deadlines, lost connections, and what errors say.

use std::time::{Duration, Instant};

use midonet::{HostInterfacePort, Kind, PortLink, Resource, TunnelZone};
use midonet_client::{Class, Client, Nobody};
use std::sync::Arc;

use crate::server::{Reply, Server};
use crate::{chain, client_of, id, ok, options, says};

#[tokio::test]
async fn media_types_are_those_of_the_kind_and_accept_is_sent_on_get_only() {
    let binding = HostInterfacePort { host_id: id("h"), port_id: id("p"), interface_name: "mido0".into() };
    let binding = Resource::of(id("h"), binding);
    let item = format!("/hosts/{}/ports/{}", id("h"), id("p"));
    let server = Server::start([
        (format!("POST /hosts/{}/ports", id("h")).as_str(), ok()),
        (format!("GET {item}").as_str(), Reply::Answer(200, r#"{"hostId":"x"}"#.into())),
        (format!("DELETE {item}").as_str(), Reply::Answer(204, String::new())),
    ])
    .await;
    let (client, log) = client_of(&server);
    client.create(&binding).await.unwrap();
    let error = client.get(&binding).await.unwrap_err();
    assert!(error.to_string().contains("content that Translations cannot have"), "{error}");
    assert!(client.delete(&binding).await.unwrap());
    server.finish();
    let requests = server.requests();
    let media_type = Kind::HostInterfacePort.media_type();
    assert_eq!(requests[0].headers["content-type"], media_type);
    assert!(requests[0].body.contains("\"interfaceName\":\"mido0\""), "{}", requests[0].body);
    assert!(!requests[0].headers.contains_key("accept"));
    assert_eq!(requests[1].headers["accept"], media_type);
    assert!(!requests[1].headers.contains_key("content-type"));
    assert!(!requests[2].headers.contains_key("accept") && !requests[2].headers.contains_key("content-type"));
    let kind = "HostInterfacePort";
    assert_eq!(
        log.lines(),
        [format!("post {kind} 201"), format!("get {kind} 200"), format!("delete {kind} 204")]
    );
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_link_is_sent_without_its_port() {
    let server = Server::start([("*", ok())]).await;
    let link = Resource::of(id("a"), PortLink { port_id: None, peer_id: id("b") });
    client_of(&server).0.create(&link).await.unwrap();
    assert_eq!(server.requests()[0].body, format!("{{\"peerId\":\"{}\"}}", id("b")));
}

#[tokio::test]
async fn hosts_are_read_whatever_else_they_have() {
    let list = format!(
        r#"[{{"id":"{}","name":"node-1","alive":true,"addresses":["192.0.2.11","fe80:0:0:0:1%2"],"hostInterfaces":[{{"name":"eth0"}}],"x":1}},
            {{"id":"{}","name":null,"alive":false,"addresses":null}}]"#,
        id("1"),
        id("2")
    );
    let server = Server::start([
        ("GET /hosts", Reply::Answer(200, list)),
        ("GET /hosts", Reply::Answer(200, "<".into())),
    ])
    .await;
    let (client, log) = client_of(&server);
    let hosts = client.hosts().await.unwrap();
    assert_eq!(
        hosts.iter().map(|host| (host.id, host.name.as_str(), host.alive)).collect::<Vec<_>>(),
        [(id("1"), "node-1", true), (id("2"), "", false)]
    );
    assert_eq!(hosts[0].addresses, ["192.0.2.11", "fe80:0:0:0:1%2"]);
    assert_eq!(server.requests()[0].headers["accept"], "application/vnd.org.midonet.collection.Host-v3+json");
    let error = client.hosts().await.unwrap_err();
    assert_eq!(error.class(), Class::Failed);
    assert!(
        error.to_string().starts_with("GET /hosts: the answer of MidoNet is no list of hosts: "),
        "{error}"
    );
    assert_eq!(log.lines(), ["get Host 200", "get Host 200"]);
}

#[tokio::test]
async fn what_does_not_exist_or_cannot_be_is_told() {
    let server = Server::start([
        ("*", says(404, "There is no Chain with ID 1.")),
        ("*", says(404, "There is no Chain with ID 1.")),
        ("*", says(409, "A(n) Chain with ID 1 already exists.")),
    ])
    .await;
    let (client, _) = client_of(&server);
    assert_eq!(client.get(&chain("a")).await.unwrap(), None);
    assert!(!client.delete(&chain("a")).await.unwrap());
    let error = client.create(&chain("a")).await.unwrap_err();
    assert_eq!(
        (error.class(), error.status(), error.method(), error.path()),
        (Class::Conflict, Some(409), "POST", "/chains")
    );
    assert!(
        error.to_string().starts_with("POST /chains: MidoNet answers 409 Conflict: A(n) Chain with"),
        "{error}"
    );
    for error in [
        client.replace(&chain("a")).await.unwrap_err(),
        client
            .create(&Resource {
                parent: None,
                ..Resource::of(id("a"), PortLink { port_id: None, peer_id: id("b") })
            })
            .await
            .unwrap_err(),
        client.delete(&Resource::top(TunnelZone::default())).await.unwrap_err(),
        client.get(&Resource::of(id("a"), PortLink { port_id: None, peer_id: id("b") })).await.unwrap_err(),
    ] {
        assert_eq!(error.class(), Class::Invalid, "{error}");
    }
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_request_on_a_connection_that_is_closed_is_sent_once_more() {
    for lost in [Reply::Close, Reply::Half, Reply::Garbage] {
        let server = Server::start([("*", ok()), ("*", lost.clone()), ("*", ok())]).await;
        let (client, log) = client_of(&server);
        client.create(&chain("a")).await.unwrap();
        client.create(&chain("b")).await.unwrap();
        assert_eq!(log.lines(), ["post Chain 201", "post Chain failed", "post Chain 201"], "{lost:?}");
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn a_request_is_not_sent_a_third_time() {
    let server = Server::start([("*", Reply::Close)]).await;
    let (client, _) = client_of(&server);
    let error = client.create(&chain("a")).await.unwrap_err();
    assert_eq!(error.class(), Class::Unreachable);
    assert!(error.to_string().contains("the connection was lost"), "{error}");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let server = Server::start([("*", Reply::Stall)]).await;
    let mut options = options(server.url());
    options.deadlines.request = Duration::from_millis(300);
    let client = Client::new(&options, Arc::new(Nobody)).unwrap();
    let began = Instant::now();
    let error = client.create(&chain("a")).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!((error.class(), server.requests().len()), (Class::Unreachable, 1));
    assert_eq!(
        error.to_string(),
        "POST /chains: no answer from MidoNet: no answer within 300ms; see the log of MidoNet's API server, and whether \
         its ZooKeeper runs"
    );
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_to_its_end() {
    let server = Server::start([("*", Reply::Endless(500)), ("*", Reply::Endless(200))]).await;
    let (client, _) = client_of(&server);
    let error = client.create(&chain("a")).await.unwrap_err();
    assert!(error.to_string().len() < 500, "{error}");
    assert!(error.to_string().contains("500 Internal Server Error: xxx"), "{error}");
    let error = client.get(&chain("a")).await.unwrap_err();
    assert!(error.to_string().contains("the answer is longer than 64 MiB"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let server = Server::start([]).await;
    let mut options = options(server.url());
    server.stop().await;
    options.limits.pause_min = Duration::from_millis(1);
    let mut error = Client::new(&options, Arc::new(Nobody)).unwrap().hosts().await.unwrap_err();
    assert!(
        error.to_string().contains("no answer from MidoNet: connection refused; start MidoNet's API"),
        "{error}"
    );
    options.url = "http://midonet.invalid:8181/midonet-api".into();
    error = Client::new(&options, Arc::new(Nobody)).unwrap().hosts().await.unwrap_err();
    assert_eq!(error.class(), Class::Unreachable);
    assert!(error.to_string().contains("name does not resolve"), "{error}");
}
