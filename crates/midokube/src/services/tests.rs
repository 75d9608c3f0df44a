use nodeapi::v1;

use super::*;

fn frontend(kind: &str, address: &str, port: u32, inside: &str, outside: &str) -> v1::Frontend {
    let [kind, address, inside, outside] = [kind, address, inside, outside].map(str::to_owned);
    v1::Frontend { kind, address, port, inside, outside }
}

fn port(name: &str, family: &str, frontends: Vec<v1::Frontend>) -> v1::ServicePort {
    v1::ServicePort {
        namespace: "default".into(),
        name: name.into(),
        port: "http".into(),
        protocol: "tcp".into(),
        family: family.into(),
        frontends,
        cluster_backends: 3,
        local_backends: 1,
        endpoints: 4,
        counters: Some(v1::ServiceCounters { connections: 12, refused: 0 }),
        ..v1::ServicePort::default()
    }
}

fn ports() -> Vec<v1::ServicePort> {
    let web = vec![
        frontend("ClusterIP", "10.96.0.10", 80, "Cluster", "Cluster"),
        frontend("NodePort", "", 30080, "Cluster", "Local"),
    ];
    let six = vec![frontend("ClusterIP", "fd00:10:96::a", 80, "Local", "Local")];
    vec![
        port("web", "ipv4", web),
        v1::ServicePort {
            affinity_seconds: 10_800,
            counters: Some(v1::ServiceCounters { connections: 7, refused: 2 }),
            ..port("web", "ipv6", six)
        },
        v1::ServicePort { port: String::new(), counters: None, ..port("lost", "ipv4", Vec::new()) },
    ]
}

fn shown(ports: Vec<v1::ServicePort>, wide: bool) -> String {
    text::text(&View::from(ListServicesReply { ports }).services, wide)
}

#[test]
fn the_narrow_form_has_a_row_for_each_port() {
    let want = " \
SERVICE       PORT      FRONTENDS           BACKENDS  POLICY         AFFINITY  CONNECTIONS
 default/web   http/TCP  10.96.0.10:80       3 of 4    Cluster/Local  -         12
                         *:30080
 default/web   http/TCP  [fd00:10:96::a]:80  1 of 4    Local          3h0m      7, 2 refused
 default/lost  TCP       -                   3 of 4    -              -         n/a";
    assert_eq!(shown(ports(), false), want);
    assert_eq!(shown(Vec::new(), false), " none");
}

#[test]
fn the_wide_form_has_kinds_families_and_both_counters() {
    let wide = shown(ports(), true);
    for want in [
        "IPv4    ClusterIP 10.96.0.10:80, NodePort *:30080  3 of 4",
        "IPv6    ClusterIP [fd00:10:96::a]:80",
        "3h0m      7            2",
        "n/a          n/a",
    ] {
        assert!(wide.contains(want), "{want} is not in:\n{wide}");
    }
}

#[test]
fn the_narrow_form_fits_100_columns() {
    let name = "payments-reconciliation-worker-canary-with-a-name-of-sixty-three";
    let address = "fd44:1234:5678:9abc::1a2b";
    let long = v1::ServicePort {
        namespace: "payments-production".into(),
        affinity_seconds: 86_399,
        counters: Some(v1::ServiceCounters { connections: 999_999_999, refused: 0 }),
        ..port(name, "ipv6", vec![frontend("ClusterIP", address, 65_535, "Cluster", "Cluster")])
    };
    let text = shown(vec![long], false);
    for line in text.lines() {
        assert!(line.chars().count() <= terminal::table::WIDTH, "{text}");
    }
    assert!(text.contains(&format!("\n payments-production/{name}\n")), "{text}");
}
