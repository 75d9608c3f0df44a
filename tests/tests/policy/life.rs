//! Connections that live, Pods that start, and agents that end.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use e2e::{DEADLINE, pod};
use lab::Pod;
use serde_json::json;

use crate::scene::{QUIET, Scene, allow_from, app, deny_ingress, node};

/// A port that no server of the scene has.
const PORT: u16 = 4000;

/// A connection between two Pods, open at both ends.
struct Open {
    client: TcpStream,
    server: TcpStream,
}

impl Open {
    fn new(scene: &Scene, from: &Pod, to: &Pod, address: IpAddr) -> Self {
        let at = SocketAddr::new(address, PORT);
        let listener = scene.netns(&pod(to)).run(|| TcpListener::bind(at)).unwrap().unwrap();
        let client =
            scene.netns(&pod(from)).run(|| TcpStream::connect_timeout(&at, DEADLINE)).unwrap().unwrap();
        let (server, _) = listener.accept().unwrap();
        Self { client, server }
    }

    /// Whether a byte gets there and back within that time.
    fn works(&mut self, patience: Duration) -> bool {
        let Self { client, server } = self;
        for stream in [&*client, &*server] {
            stream.set_read_timeout(Some(patience)).unwrap();
        }
        let pass = |from: &mut TcpStream, to: &mut TcpStream| {
            from.write_all(b"x").unwrap();
            match to.read_exact(&mut [0]) {
                Ok(()) => true,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
                Err(error) => panic!("the connection broke: {error}"),
            }
        };
        pass(client, server) && pass(server, client)
    }
}

#[test]
fn a_live_connection_follows_every_change_of_policy() {
    let mut scene = Scene::new(&[]);
    let db = scene.pod("node1", "shop", "db", "db");
    let web = scene.pod("node2", "shop", "web", "web");
    let batch = scene.pod("node1", "shop", "batch", "batch");
    for address in db.addresses() {
        let mut allowed = Open::new(&scene, &web, &db, address);
        let mut denied = Open::new(&scene, &batch, &db, address);
        assert!(allowed.works(DEADLINE) && denied.works(DEADLINE));
        scene.policy("shop", "db", &allow_from(&app("db"), &json!([{"podSelector": app("web")}])));
        testkit::wait_until(DEADLINE, "a connection that is not allowed any more stops", || {
            !denied.works(QUIET)
        });
        assert!(allowed.works(DEADLINE));
        // What was held back arrives once it is allowed again.
        scene.lab.change_pod(&batch.key, &json!({"metadata": {"labels": {"app": "web"}}})).unwrap();
        testkit::wait_until(DEADLINE, "it goes on", || denied.works(Duration::from_secs(5)));
        scene.lab.change_pod(&batch.key, &json!({"metadata": {"labels": {"app": "batch"}}})).unwrap();
        assert!(allowed.works(DEADLINE));
        scene.remove("policy-shop-db");
    }
}

#[test]
fn a_new_pod_is_isolated_from_its_first_packet_on() {
    let mut scene = Scene::new(&[]);
    let server = scene.silent_pod("node2", "other", "server", "server");
    let client = scene.pod("node2", "other", "client", "client");
    scene.policy("shop", "deny", &json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
    // From here on it is in force.
    let first = scene.pod("node1", "shop", "first", "web");
    scene.only(&[], &[&first], &client);
    for address in server.addresses() {
        let at = SocketAddr::new(address, PORT);
        let socket = scene.netns(&pod(&server)).run(|| UdpSocket::bind(at)).unwrap().unwrap();
        socket.set_read_timeout(Some(QUIET)).unwrap();
        for number in 0..10 {
            let name = format!("pod-{number}");
            let new = scene.silent_pod("node1", "shop", &name, "web");
            scene
                .netns(&pod(&new))
                .run(|| {
                    let sender =
                        UdpSocket::bind(SocketAddr::new(new.addresses()[usize::from(address.is_ipv6())], 0))
                            .unwrap();
                    for _ in 0..3 {
                        let _refused = sender.send_to(b"first", at);
                    }
                })
                .unwrap();
            scene.lab.delete_pod(&new.key).unwrap();
        }
        let heard = socket.recv_from(&mut [0; 16]);
        assert!(heard.is_err(), "{heard:?}");
    }
    // One that is allowed is so as soon as it is there.
    scene.policy("shop", "allow", &json!({"podSelector": app("free"), "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}));
    let free = scene.pod("node1", "shop", "free-0", "free");
    scene.only(&[&free], &[], &client);
    for number in 1..10 {
        let free = scene.silent_pod("node1", "shop", &format!("free-{number}"), "free");
        scene.is_reached(&pod(&free), &client);
        scene.lab.delete_pod(&free.key).unwrap();
    }
}

#[test]
fn a_pod_whose_object_is_not_known_is_closed_until_it_is() {
    let mut scene = Scene::new(&[]);
    let client = scene.pod("node2", "shop", "client", "client");
    scene.policy("shop", "deny", &deny_ingress(&app("db")));
    let db = scene.pod("node1", "shop", "db", "db");
    scene.only(&[], &[&client], &db);
    // Of another UID it is another Pod.
    let web = scene.pod("node1", "shop", "web", "web");
    scene.only(&[&client], &[], &web);
    scene.lab.change_pod(&web.key, &json!({"metadata": {"uid": "another"}})).unwrap();
    let new = scene.silent_pod("node1", "shop", "web-2", "web");
    scene.is_reached(&pod(&new), &client);
}

#[test]
fn what_is_in_force_outlives_the_agent() {
    let mut scene = Scene::new(&[]);
    let db = scene.pod("node1", "shop", "db", "db");
    let web = scene.pod("node1", "shop", "web", "web");
    let batch = scene.pod("node2", "shop", "batch", "batch");
    scene.policy("shop", "db", &allow_from(&app("db"), &json!([{"podSelector": app("web")}])));
    scene.only(&[&web], &[&batch], &db);
    let mut open = Open::new(&scene, &web, &db, db.addresses()[0]);
    for round in 0..3 {
        let agent = scene.lab.state().unwrap().node("node1").unwrap().agent.unwrap();
        agent.kill(DEADLINE).unwrap();
        scene.only(&[&web], &[&batch], &db);
        // What changes meanwhile comes into force with the next agent.
        let allowed = if round == 1 { "batch" } else { "web" };
        scene.policy("shop", "db", &allow_from(&app("db"), &json!([{"podSelector": app(allowed)}])));
        std::thread::sleep(QUIET);
        scene.only(&[&web], &[&batch], &db);
        scene.lab.start_agent("node1").unwrap();
        if round == 1 {
            scene.only(&[&batch], &[&web], &db);
            scene.policy("shop", "db", &allow_from(&app("db"), &json!([{"podSelector": app("web")}])));
        }
        scene.only(&[&web], &[&batch], &db);
        assert!(open.works(DEADLINE));
    }
    scene.is_reached(&node(1), &db);
}

#[test]
fn without_policy_everything_passes() {
    let mut scene = Scene::new(&["--policy=off"]);
    let db = scene.pod("node1", "shop", "db", "db");
    let batch = scene.pod("node2", "shop", "batch", "batch");
    scene.policy("shop", "deny", &deny_ingress(&json!({})));
    scene.cluster_policy(
        "deny",
        &json!({"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "ingress": [{"action": "Deny", "from": [{"namespaces": {}}]}]}),
    );
    std::thread::sleep(QUIET);
    scene.only(&[&batch], &[], &db);
    let said = scene.midokube(1, "policy");
    assert!(String::from_utf8_lossy(&said.stderr).contains("--policy off"), "{said:?}");
}
