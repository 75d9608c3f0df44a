use clap::Parser;
use nodeapi::v1;

use super::*;

fn end(address: &str, port: u32) -> Option<v1::Endpoint> {
    Some(v1::Endpoint { address: address.into(), port })
}

fn connection(client: &str, server: &str) -> v1::Connection {
    v1::Connection {
        protocol: "tcp".into(),
        client: end(client, 44_312),
        frontend: end(server, 8080),
        backend: end(server, 8080),
        state: "established".into(),
        idle_seconds: 61,
        ..v1::Connection::default()
    }
}

fn reply() -> v1::ListConnectionsReply {
    let translated = v1::Connection {
        frontend: end("10.96.0.10", 80),
        translated_client: end("172.30.0.11", 20_001),
        service: Some(v1::ServiceName { namespace: "default".into(), name: "web".into() }),
        service_port: "http".into(),
        state: "new".into(),
        ..connection("10.244.1.3", "172.30.0.12")
    };
    let connections = vec![translated, connection("fd44:0:0:1::3", "fd44:0:0:2::3")];
    v1::ListConnectionsReply { connections, matching: 2 }
}

fn shown(reply: v1::ListConnectionsReply, wide: bool) -> String {
    text::text(&View::from(reply), wide)
}

#[test]
fn the_narrow_form_has_paths_on_lines_of_their_own_where_they_are_long() {
    let text = shown(reply(), false);
    for want in [
        " TCP 10.244.1.3:44312 -> 10.96.0.10:80 ",
        "172.30.0.12:8080 ",
        "from 172.30.0.11:20001",
        "default/web:http  new          1m1s",
        " TCP [fd44:0:0:1::3]:44312 -> [fd44:0:0:2::3]:8080\n",
        "-                 established  1m1s",
    ] {
        assert!(text.contains(want), "{want} is not in:\n{text}");
    }
    for line in text.lines() {
        assert!(line.chars().count() <= terminal::table::WIDTH, "{text}");
    }
    assert_eq!(shown(v1::ListConnectionsReply::default(), false), " none");
}

#[test]
fn the_wide_form_has_a_column_for_each_end() {
    let want = " \
PROTOCOL  CLIENT                 FRONTEND               BACKEND           SOURCE             SERVICE           STATE        IDLE
 TCP       10.244.1.3:44312       10.96.0.10:80          172.30.0.12:8080  172.30.0.11:20001  default/web:http  new          1m1s
 TCP       [fd44:0:0:1::3]:44312  [fd44:0:0:2::3]:8080   -                 -                  -                 established  1m1s";
    let squeezed = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(squeezed(&shown(reply(), true)), squeezed(want));
    assert_eq!(shown(reply(), true).lines().count(), 3);
}

#[test]
fn others_that_match_are_told() {
    let more = v1::ListConnectionsReply { matching: 23_456, ..reply() };
    for wide in [false, true] {
        let text = shown(more.clone(), wide);
        assert!(text.ends_with("\n 2 of 23456 connections that match: --limit shows more"), "{text}");
        assert!(!shown(reply(), wide).contains("--limit"));
    }
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: ConnectionsArgs,
}

fn parse(words: &[&str]) -> Result<ListConnectionsRequest, String> {
    let line = Line::try_parse_from([&["connections"], words].concat());
    line.map(|line| line.args.request()).map_err(|error| error.to_string())
}

#[test]
fn every_option_is_asked_for() {
    let none = ListConnectionsRequest { limit: 1000, ..Default::default() };
    assert_eq!(parse(&[]), Ok(none));
    let words = "--pod default/a --service kube-system/dns --address fd44::3 --port 53 --protocol udp --state new \
                 --limit 5";
    let all = ListConnectionsRequest {
        pod: Some(v1::PodName { namespace: "default".into(), name: "a".into() }),
        service: Some(v1::ServiceName { namespace: "kube-system".into(), name: "dns".into() }),
        address: "fd44::3".into(),
        port: 53,
        protocol: "udp".into(),
        state: "new".into(),
        limit: 5,
    };
    assert_eq!(parse(&words.split_whitespace().collect::<Vec<_>>()), Ok(all));
}

#[test]
fn what_cannot_be_asked_for_is_refused() {
    for bad in [
        ["--pod", "a"],
        ["--service", "a/b/c"],
        ["--address", "10.0.0"],
        ["--port", "0"],
        ["--port", "65536"],
        ["--protocol", "gre"],
        ["--state", "open"],
        ["--limit", "0"],
        ["--limit", "16385"],
    ] {
        assert!(parse(&bad).is_err(), "{bad:?}");
    }
}
