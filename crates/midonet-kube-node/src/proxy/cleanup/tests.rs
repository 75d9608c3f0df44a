use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use testkit::Namespace;

use super::*;

const REMOVE_ALL: Options = Options { dry_run: false, force: false };

/// The agent's own table, for whose rule the kernel tracks connections.
const AGENTS: &str = "\
table inet midonet-kube {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        ip saddr 10.244.1.0/24 masquerade
    }
}
";

/// What kubelet, Docker and an administrator have in the tables of iptables.
const OTHERS: &str = "\
*nat
:DOCKER - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -j RETURN
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
-A INPUT -j KUBE-FIREWALL
-A INPUT -p tcp --dport 22 -j ACCEPT
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL -m comment --comment \"block incoming localnet connections\" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
COMMIT
*mangle
:KUBE-IPTABLES-HINT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
COMMIT
";

/// What kube-proxy has there beside for one Service (`iptables-save` on a node with Kubernetes 1.37), for addresses of a
/// family.
fn kube_proxys(vip: &str, pod: &str, host: &str) -> String {
    let more: String = (0..300).map(|number| format!(":KUBE-SEP-{number:016} - [0:0]\n")).collect();
    let rules: String = (0..300)
        .map(|number| format!("-A KUBE-SVC-ERIFXISQEP7F7OF4 -m statistic --mode random --probability 0.5 -j KUBE-SEP-{number:016}\n"))
        .collect();
    format!(
        "\
*nat
:KUBE-EXT-ERIFXISQEP7F7OF4 - [0:0]
:KUBE-FW-ERIFXISQEP7F7OF4 - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-ERIFXISQEP7F7OF4 - [0:0]
:KUBE-SVL-ERIFXISQEP7F7OF4 - [0:0]
{more}-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
-A KUBE-EXT-ERIFXISQEP7F7OF4 -j KUBE-MARK-MASQ
-A KUBE-EXT-ERIFXISQEP7F7OF4 -j KUBE-SVC-ERIFXISQEP7F7OF4
-A KUBE-FW-ERIFXISQEP7F7OF4 -j KUBE-EXT-ERIFXISQEP7F7OF4
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-NODEPORTS -p tcp -m tcp --dport 30080 -j KUBE-EXT-ERIFXISQEP7F7OF4
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SERVICES -d {vip}/{host} -p tcp -m tcp --dport 80 -j KUBE-SVC-ERIFXISQEP7F7OF4
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SEP-{:016} -s {pod}/{host} -j KUBE-MARK-MASQ
-A KUBE-SVL-ERIFXISQEP7F7OF4 -j KUBE-SVC-ERIFXISQEP7F7OF4
{rules}COMMIT
*filter
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-A INPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment \"kubernetes health check service ports\" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" -j KUBE-EXTERNAL-SERVICES
-A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
*mangle
:KUBE-PROXY-CANARY - [0:0]
COMMIT
",
        0
    )
}

/// Feeds rules to a program inside a namespace.
fn feed(node: &Namespace, program: &str, words: &[&str], rules: &str) {
    testkit::require_tool(program, "apt-get install iptables nftables");
    let mut child = node.command(program).args(words).stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{program} takes {rules}");
}

/// All rules, without the time in comments and the counters.
fn saved(node: &Namespace, program: &str) -> String {
    node.sh(&format!("{program} | grep -v '^#' | sed 's/\\[[0-9:]*\\]//'"))
}

fn clean(node: &Namespace, options: Options) -> Result<()> {
    node.run(|| cleanup(&options))
}

fn nothing_is_left(node: &Namespace) -> bool {
    node.run(|| Leftovers::find().unwrap().is_empty())
}

#[test]
fn of_iptables_rules_kube_proxys_go_and_no_others() {
    let node = Namespace::new();
    feed(&node, "nft", &["-f", "-"], AGENTS);
    for (program, vip, pod, host) in
        [("iptables-nft", "10.96.0.1", "10.244.1.5", "32"), ("ip6tables-nft", "fd96::1", "fd44::5", "128")]
    {
        let (restore, save) = (format!("{program}-restore"), format!("{program}-save"));
        feed(&node, &restore, &[], OTHERS);
        let before = saved(&node, &save);
        feed(&node, &restore, &["--noflush"], &kube_proxys(vip, pod, host));
        let made = saved(&node, &save);
        assert!(made.contains("KUBE-SVC-ERIFXISQEP7F7OF4") && made.len() > before.len() + 10_000, "{made}");
        clean(&node, Options { dry_run: true, force: false }).unwrap();
        assert_eq!(saved(&node, &save), made, "a dry run changes nothing");
        clean(&node, REMOVE_ALL).unwrap();
        assert_eq!(saved(&node, &save), before);
        assert!(nothing_is_left(&node));
        clean(&node, REMOVE_ALL).unwrap();
    }
}

#[test]
fn a_chain_that_another_programs_rules_need_stays_and_is_named() {
    let node = Namespace::new();
    feed(&node, "nft", &["-f", "-"], AGENTS);
    // portmap with externalSetMarkChain.
    let rules = "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n:KUBE-SEP-A - [0:0]\n:CNI-HOSTPORT-SETMARK - [0:0]\n\
        -A OUTPUT -j KUBE-SERVICES\n-A KUBE-SERVICES -j KUBE-SEP-A\n-A KUBE-SEP-A -j KUBE-MARK-MASQ\n\
        -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000\n-A CNI-HOSTPORT-SETMARK -j KUBE-MARK-MASQ\nCOMMIT\n";
    feed(&node, "iptables-nft-restore", &[], rules);
    let told = clean(&node, REMOVE_ALL).unwrap_err().to_string();
    assert!(told.contains("KUBE-MARK-MASQ") && told.contains("CNI-HOSTPORT-SETMARK"), "{told}");
    let left = saved(&node, "iptables-nft-save -t nat");
    assert!(left.contains("-A CNI-HOSTPORT-SETMARK -j KUBE-MARK-MASQ"), "{left}");
    assert!(left.contains("-A KUBE-MARK-MASQ -j MARK"), "{left}");
    assert!(!left.contains("KUBE-SERVICES") && !left.contains("KUBE-SEP-A"), "{left}");
    node.sh("iptables-nft -t nat -F CNI-HOSTPORT-SETMARK");
    clean(&node, REMOVE_ALL).unwrap();
    assert!(nothing_is_left(&node));
}

/// The rules of nftables mode that translate one Service, and other tables of the same name or content.
const NFTABLES: &str = "
table ip kube-proxy {
    map service-ips {
        type ipv4_addr . inet_proto . inet_service : verdict
        elements = { 10.96.0.1 . tcp . 80 : goto service-ULMVA6XW-ns1/svc1/tcp/p80 }
    }
    chain service-ULMVA6XW-ns1/svc1/tcp/p80 { meta l4proto tcp dnat to 192.0.2.1:8080; }
    chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }
    chain nat-output { type nat hook output priority -100; jump services; }
    chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
}
table ip6 kube-proxy {
    chain services { ip6 daddr fd96::1 tcp dport 80 dnat to [2001:db8::1]:8080; }
    chain nat-output { type nat hook output priority -100; jump services; }
}
table inet kube-proxy {
    chain somebody_elses { }
}
table ip other {
    chain kube-proxy { }
}
";

fn node_with_services(own: &str) -> Namespace {
    let node = Namespace::new();
    node.sh("echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad && \
             ip link add d0 type veth peer name d1 && ip link set d0 up && ip link set d1 up && \
             ip addr add 192.0.2.1/24 dev d0 && ip addr add 2001:db8::1/64 dev d0 nodad && \
             ip route add 10.96.0.0/16 dev d0 && ip -6 route add fd96::/112 dev d0");
    feed(&node, "nft", &["-f", "-"], &format!("{own}{NFTABLES}"));
    node
}

/// A connection to a Service, and its other end.
fn connection(node: &Namespace, service: &str, backend: &str) -> [TcpStream; 2] {
    let (service, backend) = (service.to_owned(), backend.to_owned());
    node.run(|| {
        let listener = TcpListener::bind(&backend).unwrap();
        let address = service.parse().unwrap();
        let client = TcpStream::connect_timeout(&address, Duration::from_secs(10));
        let client = client.unwrap_or_else(|error| panic!("{service}: {error}"));
        [client, listener.accept().unwrap().0]
    })
}

/// Whether what one end sends reaches the other, in both directions.
fn passes([client, server]: &[TcpStream; 2]) -> bool {
    let pass = |mut from: &TcpStream, mut to: &TcpStream| {
        to.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut byte = [0];
        from.write_all(b"x").is_ok() && to.read_exact(&mut byte).is_ok()
    };
    pass(client, server) && pass(server, client)
}

#[test]
fn its_nftables_tables_go_and_open_connections_stay() {
    let node = node_with_services(AGENTS);
    let connections = [
        connection(&node, "10.96.0.1:80", "192.0.2.1:8080"),
        connection(&node, "[fd96::1]:80", "[2001:db8::1]:8080"),
    ];
    assert!(connections.iter().all(passes));
    clean(&node, REMOVE_ALL).unwrap();
    assert!(nothing_is_left(&node));
    let tables = node.sh("nft list tables");
    assert_eq!(tables.trim(), "table inet midonet-kube\ntable inet kube-proxy\ntable ip other");
    assert!(connections.iter().all(passes), "connection tracking goes on translating");
    let refused = node.run(|| {
        TcpStream::connect_timeout(&"10.96.0.1:80".parse().unwrap(), Duration::from_millis(500)).is_err()
    });
    assert!(refused, "nothing translates new connections");
}

#[test]
fn connections_are_not_cut_without_force() {
    let node = node_with_services("");
    let told = clean(&node, REMOVE_ALL).unwrap_err().to_string();
    assert!(told.contains("start the agent first") && told.contains("--force"), "{told}");
    let open = connection(&node, "10.96.0.1:80", "192.0.2.1:8080");
    assert!(passes(&open), "nothing was removed");
    clean(&node, Options { dry_run: true, force: false }).unwrap();
    clean(&node, Options { dry_run: false, force: true }).unwrap();
    assert!(nothing_is_left(&node));
    assert!(
        !passes(&open),
        "no rule is left for which the kernel would track connections: what the refusal is for"
    );
}

#[test]
fn what_is_not_removed_here_is_told_with_the_command_that_does_it() {
    testkit::require_tool("iptables-legacy", "apt-get install iptables");
    let node = Namespace::new();
    node.sh(
        "ip link add kube-ipvs0 type veth && iptables-legacy -t nat -N KUBE-SERVICES && \
         iptables-legacy -t nat -A OUTPUT -j KUBE-SERVICES && iptables-legacy -t nat -N KUBE-FIREWALL && \
         iptables-legacy -t nat -N KUBE-LOAD-BALANCER && iptables-legacy -t nat -A KUBE-SERVICES -j KUBE-LOAD-BALANCER && \
         iptables-legacy -t nat -A KUBE-SERVICES -p tcp -j ACCEPT && iptables-legacy -t nat -A OUTPUT -p udp -j ACCEPT",
    );
    let told = clean(&node, REMOVE_ALL).unwrap_err().to_string();
    assert_eq!(node.sh("ip -br link | grep -c kube-ipvs0 || true").trim(), "0");
    // The command does it, and leaves the rest.
    let command = told.split('`').nth(1).unwrap();
    node.sh(command);
    let left = node.sh("iptables-legacy-save -t nat");
    assert!(!left.contains("KUBE-SERVICES") && left.contains(":KUBE-FIREWALL"), "{left}");
    assert!(left.contains("-A OUTPUT -p udp -j ACCEPT"), "{left}");
    clean(&node, REMOVE_ALL).unwrap();
}
