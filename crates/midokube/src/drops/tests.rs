use clap::Parser;
use nodeapi::v1;

use super::*;

fn end(address: &str, port: u32, pod: Option<&str>) -> Option<v1::DropEnd> {
    let pod = pod.map(|name| v1::PodName { namespace: "default".into(), name: name.into() });
    Some(v1::DropEnd { address: address.into(), port, pod, ..v1::DropEnd::default() })
}

fn drop() -> v1::Drop {
    v1::Drop {
        first: "2026-01-01T00:00:00.000Z".into(),
        last: "2026-01-01T00:01:00.000Z".into(),
        last_seconds: 61,
        packets: 12,
        bytes: 888,
        direction: "ingress".into(),
        verdict: "deny".into(),
        reason: "policy_ingress".into(),
        source: end("10.244.1.3", 44_312, Some("client")),
        destination: end("10.244.2.3", 80, Some("web")),
        protocol: "tcp".into(),
        decided_by: "networkPolicy".into(),
        policies: vec!["default/only-db".into()],
        rule: None,
        rule_name: String::new(),
        why: "the default deny of NetworkPolicy default/only-db denies it".into(),
        remedy: "change the policy that is named".into(),
        ..v1::Drop::default()
    }
}

/// What no policy dropped: a forged packet, one for a Service, one of another node, one of nobody, and all others of a Pod.
fn by_no_policy() -> [v1::Drop; 5] {
    let none = v1::Drop {
        decided_by: "none".into(),
        policies: vec![],
        interface: "mido7".into(),
        why: "the reason's meaning".into(),
        direction: "egress".into(),
        ..drop()
    };
    let service = v1::ServiceName { namespace: "shop".into(), name: "db".into() };
    [
        v1::Drop {
            reason: "source_ip".into(),
            claimed_address: "192.0.2.66".into(),
            claimed_mac: "0a:00:00:00:00:01".into(),
            destination: end("10.244.2.3", 80, None),
            ..none.clone()
        },
        v1::Drop {
            reason: "service_port".into(),
            destination: Some(v1::DropEnd {
                address: "fd96::10".into(),
                port: 81,
                service: Some(service),
                ..v1::DropEnd::default()
            }),
            ..none.clone()
        },
        v1::Drop {
            reason: "overlay_peer".into(),
            interface: "midokube-vxlan".into(),
            source: Some(v1::DropEnd {
                address: "172.30.0.12".into(),
                node: "node2".into(),
                ..v1::DropEnd::default()
            }),
            ..none.clone()
        },
        v1::Drop { reason: "port_not_bound".into(), source: end("", 0, None), ..none.clone() },
        v1::Drop {
            reason: "no_endpoint".into(),
            protocol: String::new(),
            destination: end("", 0, None),
            others: true,
            ..none
        },
    ]
}

fn reply() -> v1::ListDropsReply {
    let outside = v1::Drop {
        source: end("fd44:0:0:1::3", 0, None),
        destination: end("2001:db8::1", 0, None),
        direction: "egress".into(),
        verdict: "audit".into(),
        protocol: "icmp".into(),
        rule: Some(2),
        rule_name: "dns".into(),
        why: "egress[2] (\"dns\") of ClusterNetworkPolicy base would deny it, but is only audited".into(),
        ..drop()
    };
    let unknown = v1::Drop {
        destination: end("2001:db8::1", 443, None),
        protocol: String::new(),
        decided_by: "unknown".into(),
        policies: vec![],
        ..drop()
    };
    v1::ListDropsReply { drops: vec![drop(), outside, unknown], matching: 3 }
}

fn shown(reply: v1::ListDropsReply, wide: bool) -> String {
    text::text(&View::from(reply), wide)
}

#[test]
fn the_narrow_form_fits_a_terminal_and_names_pods() {
    let text = shown(reply(), false);
    for want in [
        " TCP default/client -> default/web:80\n",
        "ingress deny: the default deny of NetworkPolicy",
        "default/only-db denies it",
        "12       1m1s",
        " ICMP fd44:0:0:1::3 -> 2001:db8::1\n",
        "egress audit: egress[2] (\"dns\")",
        " n/a default/client -> [2001:db8::1]:443\n",
    ] {
        assert!(text.contains(want), "{want} is not in:\n{text}");
    }
    for line in text.lines() {
        assert!(line.chars().count() <= terminal::table::WIDTH, "{text}");
    }
    assert_eq!(shown(v1::ListDropsReply::default(), false), " none");
}

#[test]
fn the_wide_form_has_everything_in_columns() {
    let text = shown(reply(), true);
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = text.lines().map(squeezed).collect();
    let want = [
        "LAST FIRST DIRECTION VERDICT PROTOCOL SENDER SOURCE RECEIVER DESTINATION PACKETS BYTES INTERFACE CLAIMED REASON WHY \
         REMEDY",
        "2026-01-01T00:01:00.000Z 2026-01-01T00:00:00.000Z ingress deny TCP default/client 10.244.1.3:44312 \
         default/web 10.244.2.3:80 12 888 B - - policy_ingress the default deny of NetworkPolicy default/only-db denies it \
         change the policy that is named",
    ];
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[..2], want);
    assert!(lines[2].contains("audit ICMP - fd44:0:0:1::3 - 2001:db8::1 12"), "{}", lines[2]);
}

#[test]
fn what_no_policy_dropped_names_who_sent_it_and_the_reason() {
    let reply = v1::ListDropsReply { drops: by_no_policy().into(), matching: 5 };
    let text = shown(reply.clone(), false);
    for want in [
        "TCP default/client -> 10.244.2.3:80",
        "source_ip: the reason's meaning (as 192.0.2.66",
        "TCP default/client -> service shop/db:81",
        "TCP node node2 -> default/web:80",
        "TCP interface mido7 -> default/web:80",
        "n/a default/client -> others",
        "no_endpoint: the reason's meaning",
    ] {
        assert!(text.contains(want), "{want} is not in:\n{text}");
    }
    let text = shown(reply.clone(), true);
    let squeezed: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for want in [
        "default/client 10.244.1.3:44312 - 10.244.2.3:80 12 888 B mido7 192.0.2.66 0a:00:00:00:00:01 source_ip",
        "default/client 10.244.1.3:44312 service shop/db [fd96::10]:81 12 888 B mido7 - service_port",
        "node node2 172.30.0.12 default/web 10.244.2.3:80 12 888 B midokube-vxlan - overlay_peer",
        "- - default/web 10.244.2.3:80 12 888 B mido7 - port_not_bound",
        "default/client 10.244.1.3:44312 others - 12 888 B mido7 - no_endpoint",
    ] {
        assert!(squeezed.iter().any(|line| line.contains(want)), "{want} is not in:\n{squeezed:#?}");
    }
    let json = Format::Json.text(&View::from(reply), text::text).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let drops = &json["drops"];
    assert_eq!(drops[0]["claimed"]["address"], "192.0.2.66");
    assert_eq!(drops[1]["destination"]["service"], "shop/db");
    assert_eq!((&drops[2]["source"]["node"], &drops[2]["claimed"]), (&"node2".into(), &().into()));
    assert_eq!((&drops[3]["source"]["address"], &drops[3]["interface"]), (&().into(), &"mido7".into()));
    assert_eq!(
        (&drops[4]["others"], &drops[4]["remedy"]),
        (&true.into(), &"change the policy that is named".into())
    );
}

#[test]
fn others_that_match_are_told() {
    let more = v1::ListDropsReply { matching: 23_456, ..reply() };
    for wide in [false, true] {
        let text = shown(more.clone(), wide);
        assert!(text.ends_with("\n 3 of 23456 drops that match: --limit shows more"), "{text}");
        assert!(!shown(reply(), wide).contains("--limit"));
    }
}

#[test]
fn programs_get_null_for_what_is_not_known() {
    let json = Format::Json.text(&View::from(reply()), text::text).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let first = &json["drops"][0];
    assert_eq!((&json["kind"], &json["matching"]), (&"Drops".into(), &3.into()));
    assert_eq!(first["source"]["pod"]["name"], "client");
    assert_eq!((&first["destination"]["port"], &first["lastSeconds"]), (&80.into(), &61.into()));
    assert_eq!(
        (&first["rule"], &first["ruleName"], &first["decidedBy"]),
        (&().into(), &().into(), &"networkPolicy".into())
    );
    assert_eq!(
        (&json["drops"][1]["source"]["port"], &json["drops"][1]["source"]["pod"]),
        (&().into(), &().into())
    );
    assert_eq!((&json["drops"][1]["rule"], &json["drops"][2]["protocol"]), (&2.into(), &().into()));
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: DropsArgs,
}

fn parse(words: &[&str]) -> Result<ListDropsRequest, String> {
    let line = Line::try_parse_from([&["drops"], words].concat());
    line.map(|line| line.args.request()).map_err(|error| error.to_string())
}

#[test]
fn every_option_is_asked_for() {
    let none = ListDropsRequest { limit: 1000, ..Default::default() };
    assert_eq!(parse(&[]), Ok(none));
    let words =
        "default/web -n shop --address fd44::3 --port udp/53 --reason policy_egress --since 1.5s --limit 5";
    let all = ListDropsRequest {
        pod: Some(v1::PodName { namespace: "default".into(), name: "web".into() }),
        namespace: "shop".into(),
        address: "fd44::3".into(),
        protocol: "udp".into(),
        port: 53,
        reason: "policy_egress".into(),
        since_seconds: 2,
        limit: 5,
    };
    assert_eq!(parse(&words.split_whitespace().collect::<Vec<_>>()), Ok(all));
    let ping = parse(&["--port", "icmp"]).unwrap();
    assert_eq!((&*ping.protocol, ping.port), ("icmp", 0));
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    for bad in [
        &["web"][..],
        &["--address", "10.0.0"],
        &["--port", "80"],
        &["--port", "tcp/0"],
        &["--since", "0"],
        &["--limit", "0"],
        &["--limit", "16385"],
        &["--watch=0"],
    ] {
        assert!(parse(bad).is_err(), "{bad:?}");
    }
}
