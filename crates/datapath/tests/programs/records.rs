//! Records of connections, on single packets: who talks to whom, what was sent, what policy said, and which events there are.

mod budget;
mod restart;

use std::path::Path;
use std::time::Duration;

use crate::support::packets::*;
use crate::support::policy::*;
use crate::support::scene::*;
use crate::support::services::*;
use crate::support::*;
use datapath::records::{Events, Place, Record, Recording, Sent, What};
use datapath::uptime;
use datapath::{Datapath, Options, State};
use testkit::packet::*;

const OBJECT: &str = env!("DATAPATH_TUNNEL_OBJECT");
const RECORDING: Recording = Recording { most: 64, events: 10_000 };

fn recorded(bpffs: &Path, recording: Recording) -> Options {
    Options { recording: Some(recording), ..options(bpffs) }
}

/// Has the programs of a scene record, as a new agent does.
fn record(scene: &mut Scene, bpffs: &Path, recording: Recording) -> Events {
    scene.node.datapath = Datapath::open(&recorded(bpffs, recording)).unwrap();
    scene.node.datapath.retire_old_maps().unwrap();
    scene.node.datapath.take_events().unwrap()
}

fn recording(test: impl FnOnce(&mut Scene, &mut Events) + Send) {
    sandbox(|bpffs| {
        let mut scene = Scene::new(bpffs, OBJECT);
        let mut events = record(&mut scene, bpffs, RECORDING);
        test(&mut scene, &mut events);
    });
}

/// The events that nobody has read.
fn unread(events: &mut Events) -> Vec<(What, Record)> {
    let next = || events.read().unwrap().map(|event| (event.what, event.record));
    std::iter::from_fn(next).collect()
}

fn rows(scene: &Scene) -> Vec<Record> {
    let (records, mut place) = (scene.node.datapath.records(), Place::default());
    let mut all = Vec::new();
    while let Some(rows) = records.next(&mut place).unwrap() {
        all.extend(rows);
    }
    all
}

/// Forgets every connection and record.
fn clear(scene: &Scene) {
    for (name, size) in [("connections", 60), ("new_connections", 60), ("records", 120)] {
        if size == 60 {
            let mut map = scene.maps.hash::<40, 60>(name);
            let keys: Vec<[u8; 40]> = map.keys().map(Result::unwrap).collect();
            keys.iter().for_each(|key| map.remove(key).unwrap());
        } else {
            let mut map = scene.maps.hash::<40, 120>(name);
            let keys: Vec<[u8; 40]> = map.keys().map(Result::unwrap).collect();
            keys.iter().for_each(|key| map.remove(key).unwrap());
        }
    }
}

fn size(packet: &Ip) -> u64 {
    packet.frame(GATEWAY_MAC, A_MAC).len() as u64
}

fn end(end: End) -> std::net::SocketAddr {
    end.into()
}

/// A connection of the Pod A to the Pod B.
struct Talk<'a> {
    scene: &'a Scene,
    protocol: u8,
    client: End,
    frontend: End,
    backend: End,
    client_sent: Sent,
    server_sent: Sent,
}

impl<'a> Talk<'a> {
    fn new(scene: &'a Scene, protocol: u8, client: End, frontend: End, backend: End) -> Self {
        let (client_sent, server_sent) = (Sent::default(), Sent::default());
        Self { scene, protocol, client, frontend, backend, client_sent, server_sent }
    }

    fn ask(&mut self, flags: u8, data: &[u8]) {
        let packet = segment(self.protocol, self.client, self.frontend, flags, data);
        assert_eq!(self.scene.a_sends(&packet).reason, "local");
        self.client_sent.packets += 1;
        self.client_sent.bytes += size(&packet);
    }

    fn answer(&mut self, flags: u8, data: &[u8]) {
        let packet = segment(self.protocol, self.backend, self.client, flags, data);
        assert_eq!(self.scene.b_sends(&packet).reason, "local");
        self.server_sent.packets += 1;
        self.server_sent.bytes += size(&packet);
    }

    fn open(&mut self) {
        self.ask(SYN, b"");
        self.answer(SYN | ACK, b"");
        self.ask(ACK, b"");
    }

    #[track_caller]
    fn is(&self, record: &Record) {
        assert_eq!(record.protocol, self.protocol);
        assert_eq!((record.client, record.frontend), (end(self.client), end(self.frontend)));
        assert_eq!((record.source, record.backend), (end(self.client), end(self.backend)));
        assert_eq!((record.client_sent, record.server_sent), (self.client_sent, self.server_sent));
        let node = &self.scene.node;
        assert_eq!((record.client_ifindex, record.server_ifindex), (node.a, node.b));
        assert!(record.began <= record.last && record.last <= uptime(), "{record:?}");
        assert!(uptime() - record.began < Duration::from_secs(60) && !record.late, "{record:?}");
    }
}

#[test]
fn one_record_has_both_directions_of_a_connection() {
    recording(|scene, events| {
        for p in parties() {
            let (client, backend, vip) = ((p.pods.a, 40_000), (p.pods.b, 8080), (p.vip, 80));
            scene.maps.serve(SCOPE_ADDRESS, TCP, vip, &Service::new(7, &[backend]));
            for (frontend, service) in [(backend, 0), (vip, 7)] {
                let mut talk = Talk::new(scene, TCP, client, frontend, backend);
                talk.ask(SYN, b"");
                let new = unread(events);
                assert_eq!((new.len(), new[0].0, new[0].1.state), (1, What::New, State::New));
                talk.is(&new[0].1);
                assert_eq!(new[0].1.round_trip, None);
                talk.answer(SYN | ACK, b"");
                talk.ask(ACK, b"");
                talk.ask(ACK, b"question");
                talk.answer(ACK, b"the answer");
                let row = rows(scene);
                assert_eq!((row.len(), row[0].state, row[0].service), (1, State::Established, service));
                talk.is(&row[0]);
                assert!(row[0].round_trip.unwrap() < Duration::from_secs(10));
                assert_eq!(row[0].id, new[0].1.id);
                // Who closes first does not matter, and the end is told with the last packet.
                talk.ask(FIN | ACK, b"");
                talk.answer(FIN | ACK, b"");
                assert_eq!(unread(events), []);
                talk.ask(ACK, b"");
                let ended = unread(events);
                assert_eq!((ended.len(), ended[0].0, ended[0].1.state), (1, What::End, State::Closed));
                talk.is(&ended[0].1);
                // What comes after that is counted, and not told.
                talk.answer(ACK, b"");
                talk.is(&rows(scene)[0]);
                assert_eq!(unread(events), []);
                // The client uses its port again: another connection.
                let mut again = Talk::new(scene, TCP, client, frontend, backend);
                again.ask(SYN, b"");
                let new = unread(events);
                assert_eq!((new.len(), new[0].0), (1, What::New));
                again.is(&new[0].1);
                assert!(new[0].1.id > ended[0].1.id);
                // A reset ends it at once.
                again.answer(RST | ACK, b"");
                let reset = unread(events);
                assert_eq!((reset.len(), reset[0].0, reset[0].1.state), (1, What::End, State::Closed));
                assert_eq!(reset[0].1.round_trip, None, "a reset is no handshake");
                again.is(&reset[0].1);
                clear(scene);
            }
        }
        let totals = events.totals().unwrap();
        assert_eq!((totals.made, totals.lost()), (16, 0));
    });
}

#[test]
fn a_round_trip_is_that_of_the_syn_that_was_answered() {
    recording(|scene, _| {
        let p = parties()[0];
        let mut talk = Talk::new(scene, TCP, (p.pods.a, 40_000), (p.pods.b, 8080), (p.pods.b, 8080));
        talk.ask(SYN, b"");
        std::thread::sleep(Duration::from_millis(300));
        talk.ask(SYN, b"");
        std::thread::sleep(Duration::from_millis(30));
        talk.answer(SYN | ACK, b"");
        let first = rows(scene)[0].round_trip.unwrap();
        assert!((Duration::from_millis(30)..Duration::from_millis(290)).contains(&first), "{first:?}");
        // One that comes again says nothing.
        talk.answer(SYN | ACK, b"");
        assert_eq!(rows(scene)[0].round_trip, Some(first));
    });
}

#[test]
fn what_is_no_tcp_has_a_record_and_no_end() {
    recording(|scene, events| {
        for p in parties() {
            for protocol in [UDP, SCTP] {
                let backend = (p.pods.b, 8080);
                let mut talk = Talk::new(scene, protocol, (p.pods.a, 40_000), backend, backend);
                talk.open();
                talk.answer(0, b"more");
                let row = rows(scene);
                assert_eq!((row.len(), row[0].state, row[0].round_trip), (1, State::Established, None));
                talk.is(&row[0]);
                assert_eq!(unread(events).len(), 1);
                clear(scene);
            }
            let ping = echo(p.pods.a, p.pods.b, false, b"ping");
            let pong = echo(p.pods.b, p.pods.a, true, b"pong!");
            scene.a_sends(&ping);
            scene.b_sends(&pong);
            let row = rows(scene);
            assert_eq!((row.len(), row[0].protocol, row[0].client.ip()), (1, 1, p.pods.a));
            assert_eq!(row[0].client_sent, Sent { packets: 1, bytes: size(&ping) });
            assert_eq!(row[0].server_sent, Sent { packets: 1, bytes: size(&pong) });
            assert_eq!(unread(events).len(), 1);
            clear(scene);
        }
    });
}

#[test]
fn both_nodes_of_a_connection_know_its_backend_by_the_same_ends() {
    recording(|scene, events| {
        for p in parties() {
            // From a Pod of this node to one of another node, and the other way.
            let (a, remote) = ((p.pods.a, 40_000), (p.pods.remote, 8080));
            let (question, answer) =
                (segment(TCP, a, remote, SYN, b""), segment(TCP, remote, a, SYN | ACK, b""));
            assert_eq!(scene.a_sends(&question).reason, "direct_out");
            assert_eq!(scene.tunnel_brings(PEER, &answer).reason, "direct_in");
            let row = rows(scene);
            assert_eq!((row.len(), row[0].source, row[0].backend), (1, end(a), end(remote)));
            assert_eq!((row[0].client_ifindex, row[0].server_ifindex), (scene.node.a, 0));
            assert_eq!(row[0].client_sent, Sent { packets: 1, bytes: size(&question) });
            assert_eq!(row[0].server_sent, Sent { packets: 1, bytes: size(&answer) });
            clear(scene);
            let (question, answer) =
                (segment(TCP, remote, a, SYN, b""), segment(TCP, a, remote, SYN | ACK, b""));
            assert_eq!(scene.tunnel_brings(PEER, &question).reason, "direct_in");
            assert_eq!(scene.a_sends(&answer).reason, "direct_out");
            let row = rows(scene);
            assert_eq!((row.len(), row[0].source, row[0].backend), (1, end(remote), end(a)));
            assert_eq!((row[0].client_ifindex, row[0].server_ifindex), (0, scene.node.a));
            assert_eq!((row[0].client_sent.packets, row[0].server_sent.packets), (1, 1));
            clear(scene);
            // A client outside, whose source is translated: the backend is on another node.
            let (client, front) = ((p.client, 50_000), (p.own, 30_080));
            scene.maps.serve(SCOPE_NODE_PORT, TCP, front, &Service::new(9, &[(p.pods.remote, 8080)]));
            scene.maps.serve_port(TCP, front.1);
            let asked = scene.uplink_brings(&segment(TCP, client, front, SYN, b""));
            let row = rows(scene);
            assert_eq!(row.len(), 1, "{asked:?}");
            assert_eq!((row[0].client, row[0].frontend, row[0].service), (end(client), end(front), 9));
            assert_eq!(row[0].backend, end((p.pods.remote, 8080)));
            clear(scene);
        }
        assert_eq!(unread(events).len(), 6);
    });
}

#[test]
fn a_connection_straight_to_a_services_backend_has_a_record_of_its_own() {
    recording(|scene, _| {
        for p in parties() {
            let (client, backend, vip) = ((p.pods.a, 40_000), (p.pods.b, 8080), (p.vip, 80));
            scene.maps.serve(SCOPE_ADDRESS, TCP, vip, &Service::new(7, &[backend]));
            let mut through = Talk::new(scene, TCP, client, vip, backend);
            through.open();
            // The tuple is taken: its source gets another port.
            let straight = segment(TCP, client, backend, SYN, b"");
            assert_eq!(scene.a_sends(&straight).reason, "local");
            assert_eq!(scene.a_sends(&straight).reason, "local");
            let rows = rows(scene);
            assert_eq!(rows.len(), 2);
            let direct = rows.iter().find(|row| row.frontend == end(backend)).unwrap();
            assert_eq!((direct.client, direct.backend), (end(client), end(backend)));
            assert!((20_000..30_000).contains(&direct.source.port()));
            assert_eq!(direct.client_sent, Sent { packets: 2, bytes: 2 * size(&straight) });
            through.is(rows.iter().find(|row| row.service == 7).unwrap());
            clear(scene);
        }
    });
}

#[test]
fn rules_that_let_it_pass_are_recorded_and_those_that_do_so_later() {
    recording(|scene, events| {
        let p = parties()[1];
        let (a, b) = (scene.node.a, scene.node.b);
        let table = |verdict| Table(all(verdict), vec![]);
        Draft::new()
            .pod(a, open(), table(allow(1)))
            .pod(b, table(audit(2)), open())
            .apply(&mut scene.node.datapath);
        let (client, server) = ((p.pods.a, 40_000), (p.pods.b, 8080));
        let packet = |from, to, flags| segment(TCP, from, to, flags, b"");
        scene.a_sends(&packet(client, server, SYN));
        let new = unread(events)[0].1;
        assert_eq!((new.egress.rule, new.egress.audited), (1, false));
        assert_eq!((new.ingress.rule, new.ingress.audited), (2, true));
        // Other policy: the connection is judged again, whoever sends.
        Draft::new()
            .pod(a, open(), table(allow(3)))
            .pod(b, table(allow(4)), open())
            .apply(&mut scene.node.datapath);
        scene.b_sends(&packet(server, client, SYN | ACK));
        let now = rows(scene)[0];
        assert_eq!((now.egress.rule, now.ingress.rule), (3, 4));
        // What policy does not let pass has no record: it stands among the drops.
        Draft::new().pod(a, open(), table(deny(5))).pod(b, open(), open()).apply(&mut scene.node.datapath);
        dropped(&scene.a_sends(&packet(client, server, ACK)), "policy_egress");
        dropped(&scene.a_sends(&packet((p.pods.a, 40_001), server, SYN)), "policy_egress");
        let rows = rows(scene);
        assert_eq!((rows.len(), rows[0].client_sent.packets, rows[0].server_sent.packets), (1, 1, 1));
        assert_eq!(unread(events), []);
    });
}

#[test]
fn a_connection_that_goes_on_is_told_now_and_then() {
    recording(|scene, events| {
        let p = parties()[0];
        let mut talk = Talk::new(scene, TCP, (p.pods.a, 40_000), (p.pods.b, 8080), (p.pods.b, 8080));
        talk.open();
        assert_eq!(unread(events).len(), 1);
        for _ in 0..3 {
            // As if it was told eleven seconds ago.
            let mut map = scene.maps.hash::<40, 120>("records");
            let (key, mut value) = map.iter().next().unwrap().unwrap();
            let told = u64::from_ne_bytes(value[80..88].try_into().unwrap()) - 11_000_000_000;
            value[80..88].copy_from_slice(&told.to_ne_bytes());
            map.insert(key, value, 0).unwrap();
            talk.ask(ACK, b"a");
            talk.answer(ACK, b"b");
            let told = unread(events);
            assert_eq!((told.len(), told[0].0), (1, What::GoesOn));
            assert_eq!(told[0].1.client_sent.packets, talk.client_sent.packets);
        }
    });
}

#[test]
fn an_evicted_record_begins_anew() {
    recording(|scene, events| {
        for p in parties() {
            let (client, backend, vip) = ((p.pods.a, 40_000), (p.pods.b, 8080), (p.vip, 80));
            scene.maps.serve(SCOPE_ADDRESS, TCP, vip, &Service::new(7, &[backend]));
            for frontend in [vip, backend] {
                for by_client in [true, false] {
                    let mut talk = Talk::new(scene, TCP, client, frontend, backend);
                    talk.open();
                    unread(events);
                    let mut map = scene.maps.hash::<40, 120>("records");
                    let keys: Vec<[u8; 40]> = map.keys().map(Result::unwrap).collect();
                    assert_eq!(keys.len(), 1);
                    map.remove(&keys[0]).unwrap();
                    if by_client {
                        talk.ask(ACK, b"x");
                    } else {
                        talk.answer(ACK, b"x");
                    }
                    let late = unread(events);
                    assert_eq!((late.len(), late[0].0, late[0].1.late), (1, What::GoesOn, true));
                    let row = rows(scene)[0];
                    assert_eq!((row.client, row.frontend), (end(client), end(frontend)));
                    assert_eq!((row.source, row.backend), (end(client), end(backend)));
                    assert_eq!(
                        (row.service, row.state),
                        (if frontend == vip { 7 } else { 0 }, State::Established)
                    );
                    let once = (u64::from(by_client), u64::from(!by_client));
                    assert_eq!((row.client_sent.packets, row.server_sent.packets), once);
                    assert_eq!(row.round_trip, None);
                    clear(scene);
                }
            }
        }
    });
}
