use std::collections::BTreeMap;

use datapath::drops::Drop;
use datapath::{Limits, OwnAddress, Port, Role, Route};
use policy::RuleId;

use super::*;

/// Sets by interface, and verdicts by set, direction and other end.
#[derive(Default)]
struct Tables {
    sets: BTreeMap<u32, SetId>,
    verdicts: BTreeMap<(SetId, Direction, IpAddr), Verdict>,
}

impl Verdicts for Tables {
    fn set_of(&self, ifindex: u32) -> SetId {
        self.sets.get(&ifindex).copied().unwrap_or(SetId::OPEN)
    }

    fn verdict(
        &self,
        set: SetId,
        direction: Direction,
        other: IpAddr,
        port: Option<(Protocol, u16)>,
    ) -> Option<Verdict> {
        let verdict = self.verdicts.get(&(set, direction, other))?;
        // Port 53 is always allowed: the port that is asked is the server's.
        Some(Verdict { allow: verdict.allow || port == Some((Protocol::Udp, 53)), ..*verdict })
    }
}

const A: &str = "10.244.1.3";
const B: &str = "10.244.1.4";
const OUTSIDE: &str = "10.99.0.3";
const NODE: &str = "10.244.1.1";
const UNDERLAY: &str = "172.30.0.11";
const FAR: &str = "10.244.2.9";
const PROXIED: &str = "10.96.0.1";

const SET: SetId = SetId(41);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at() -> Whereabouts {
    let port = |ifindex, role, address: &str| Port {
        ifindex,
        mac: [2, 0, 0, 0, 0, 7],
        addresses: vec![ip(address)],
        role,
        limits: Limits::default(),
        set: 0,
    };
    let ports = [
        port(2, Role::Node, NODE),
        port(7, Role::Pod, A),
        port(8, Role::Pod, B),
        port(9, Role::Outside, OUTSIDE),
    ];
    let routes = [("10.96.0.0/16".parse().unwrap(), Route::Proxied)].into();
    let own = [(ip(UNDERLAY), OwnAddress { node_ports: true })].into();
    Whereabouts::new(&ports, &routes, &own, &BTreeMap::new())
}

fn ends((client, client_ifindex): (&str, u32), (server, server_ifindex): (&str, u32)) -> Ends {
    Ends {
        client: ip(client),
        server: ip(server),
        port: Some((Protocol::Tcp, 80)),
        client_ifindex,
        server_ifindex,
        translated: false,
    }
}

fn says(origin: Origin, allow: bool, audit: bool) -> Verdict {
    Verdict { allow, audit, reject: false, origin, rule: RuleId(5) }
}

fn deny() -> Verdict {
    says(Origin::NetworkPolicy, false, false)
}

/// Pods 7, 8 and 9 have this set, which denies everything in both directions.
fn denies(set: SetId, verdict: Verdict) -> Tables {
    let others = [A, B, OUTSIDE, NODE, UNDERLAY, FAR, PROXIED].map(ip);
    let verdicts = others.into_iter().flat_map(|other| {
        [Direction::Ingress, Direction::Egress].map(|direction| ((set, direction, other), verdict))
    });
    Tables { sets: [7, 8, 9].map(|ifindex| (ifindex, set)).into(), verdicts: verdicts.collect() }
}

fn denied(ends: Ends, tables: &Tables) -> Option<Direction> {
    judge_again(&ends, &at(), tables).denied()
}

#[test]
fn either_end_that_is_a_pod_of_this_node_is_asked() {
    let tables = denies(SET, deny());
    let (egress, ingress) = (Some(Direction::Egress), Some(Direction::Ingress));
    for (client, server, want) in [
        ((A, 7), (FAR, 0), egress),
        ((FAR, 0), (A, 7), ingress),
        // Egress is asked first.
        ((A, 7), (B, 8), egress),
        // What comes from the own node passes, and what goes there is judged.
        ((NODE, 0), (A, 7), None),
        ((UNDERLAY, 0), (A, 7), None),
        ((A, 7), (NODE, 0), egress),
        // The node's stack forwards it with the Pod's source.
        ((A, 0), (FAR, 0), egress),
        ((FAR, 0), (A, 0), ingress),
        // Another Pod had the address.
        ((A, 6), (FAR, 0), None),
        ((FAR, 0), (A, 6), None),
        // One outside the podCIDRs is known by its interface alone.
        ((OUTSIDE, 9), (FAR, 0), egress),
        ((OUTSIDE, 0), (FAR, 0), None),
        ((FAR, 0), (OUTSIDE, 0), None),
        // A node's address that came in by an interface is no own one: nobody but the node's stack may use it.
        ((NODE, 5), (A, 7), ingress),
        // Neither is here.
        ((FAR, 0), ("10.244.3.3", 0), None),
        // It comes back.
        ((A, 7), (PROXIED, 0), None),
    ] {
        assert_eq!(denied(ends(client, server), &tables), want, "{client:?} {server:?}");
    }
}

#[test]
fn the_port_that_is_asked_is_the_servers() {
    let tables = denies(SET, deny());
    let dns = |port| Ends { port, ..ends((A, 7), (FAR, 0)) };
    assert_eq!(denied(dns(Some((Protocol::Udp, 53))), &tables), None);
    for port in [Some((Protocol::Tcp, 53)), Some((Protocol::Udp, 54)), None] {
        assert_eq!(denied(dns(port), &tables), Some(Direction::Egress), "{port:?}");
    }
}

#[test]
fn what_is_closed_or_not_known_does_not_pass_and_what_is_audited_does() {
    let to_a = ends((FAR, 0), (A, 7));
    let tables = denies(SetId::CLOSED, deny());
    assert_eq!(judge_again(&to_a, &at(), &tables).ingress, Ruling::Closed);
    assert_eq!(denied(to_a, &tables), Some(Direction::Ingress));
    assert_eq!(denied(ends((UNDERLAY, 0), (A, 7)), &tables), None, "from its own node");
    let unknown = Tables { verdicts: BTreeMap::new(), ..denies(SET, deny()) };
    assert_eq!(judge_again(&to_a, &at(), &unknown).ingress, Ruling::Closed);
    let audited = says(Origin::NetworkPolicy, true, true);
    let tables = denies(SET, audited);
    let judgement = judge_again(&to_a, &at(), &tables);
    assert_eq!((judgement.of(Direction::Ingress), judgement.denied()), (Ruling::Said(SET, audited), None));
    assert_eq!(judgement.of(Direction::Egress), Ruling::NotAsked);
    assert_eq!(denied(to_a, &denies(SetId::OPEN, deny())), None);
}

#[test]
fn a_pod_that_asks_itself_is_judged_by_cluster_policies_alone_and_only_through_a_service() {
    let itself = ends((A, 7), (A, 7));
    let through_a_service = Ends { translated: true, ..itself };
    for (origin, denies_it) in
        [(Origin::Admin, true), (Origin::NetworkPolicy, false), (Origin::Baseline, true)]
    {
        let tables = denies(SET, says(origin, false, false));
        assert_eq!(denied(itself, &tables), None, "{origin:?}");
        let want = denies_it.then_some(Direction::Egress);
        assert_eq!(denied(through_a_service, &tables), want, "{origin:?}");
    }
    let closed = denies(SetId::CLOSED, deny());
    assert_eq!(denied(itself, &closed), None);
    assert_eq!(denied(through_a_service, &closed), Some(Direction::Egress));
}

#[test]
fn a_connection_is_judged_between_its_real_ends() {
    let socket = |text: &str| text.parse().unwrap();
    let connection = Connection {
        idle: std::time::Duration::ZERO,
        protocol: 17,
        client: socket("10.244.1.3:40000"),
        frontend: socket("10.96.0.10:80"),
        source: socket("10.244.1.1:20001"),
        backend: socket("10.244.2.3:8080"),
        service: 7,
        state: ::datapath::State::Established,
        translated: true,
        client_ifindex: 7,
        server_ifindex: 0,
    };
    let want =
        Ends { port: Some((Protocol::Udp, 8080)), translated: true, ..ends((A, 7), ("10.244.2.3", 0)) };
    assert_eq!(Ends::from(&connection), want);
    for other in [1, 47] {
        assert_eq!(Ends::from(&Connection { protocol: other, ..connection }).port, None);
    }
}

#[test]
fn a_drop_is_judged_with_the_pods_that_have_its_addresses_now() {
    let second = std::time::Duration::from_secs(1);
    let drop = |protocol, port, source: &str, destination: &str| Drop {
        reason: "policy_ingress",
        ingress: true,
        audit: false,
        others: false,
        protocol,
        source: Some(ip(source)),
        source_port: 40_000,
        destination: Some(ip(destination)),
        port,
        rule: 5,
        interface: 0,
        claimed: None,
        claimed_mac: None,
        packets: 1,
        bytes: 60,
        first: second,
        last: second,
    };
    let of = |drop| Ends::of_drop(&drop, &at());
    assert_eq!(of(drop(6, 80, FAR, A)), Some(ends((FAR, 0), (A, 7))));
    assert_eq!(of(drop(6, 80, A, B)), Some(ends((A, 7), (B, 8))));
    assert_eq!(of(drop(1, 0, FAR, A)).unwrap().port, None);
    assert!(of(drop(6, 80, A, A)).unwrap().translated);
    assert_eq!(of(drop(17, 0, FAR, A)), None, "a fragment");
    assert_eq!(
        of(Drop { others: true, source: None, ..drop(0, 0, FAR, A) }),
        None,
        "nobody knows between whom"
    );
}
