use super::*;

fn parse(args: &str) -> Config {
    Config::from_flags(args.split_whitespace())
}

fn problems(args: &str) -> Vec<String> {
    let problems = parse(args).problems();
    problems.into_iter().map(|Problem { problem, remedy }| format!("{problem}; {remedy}")).collect()
}

#[test]
fn every_problem_is_told_at_once() {
    let problems = problems("--service-cidr 10.96.0.1/16 --network midonet --services on");
    let all = problems.join("\n");
    for part in ["--node-name", "--cluster-cidr", "10.96.0.0/16", "--network midonet"] {
        assert!(all.contains(part), "{part} in {all}");
    }
    assert_eq!(problems.len(), 4);
}

#[test]
fn what_only_the_embedded_network_does_is_refused_with_midonet() {
    let all = |args: &str| problems(&format!("--node-name n --network midonet {args}"));
    assert_eq!(all("--cluster-cidr 10.0.0.0/8"), [""; 0]);
    assert_eq!(all("--cluster-cidr 10.0.0.0/8 --services off --policy off"), [""; 0]);
    for (args, part) in [
        ("--services on", "--services on (MIDONETKUBE_SERVICES) cannot be with --network midonet"),
        ("--policy on", "nobody enforces NetworkPolicies"),
        ("--deny-log /x", "--deny-log (MIDONETKUBE_DENYLOG) cannot be"),
        ("--flows on", "--flows on (MIDONETKUBE_FLOWS) cannot be"),
        ("--service-cidr fd00::/108", "fd00::/108 cannot be with --network midonet"),
    ] {
        let told = all(&format!("--cluster-cidr 10.0.0.0/8 {args}"));
        assert!(told.len() == 1 && told[0].contains(part), "{part} in {told:?}");
    }
    for (args, on) in [
        ("", true),
        ("--services off --policy off", false),
        ("--network midonet", false),
        ("--network midonet --services off", false),
    ] {
        let config = parse(args);
        assert_eq!((config.serves_services(), config.enforces_policy()), (on, on), "{args}");
    }
}

#[test]
fn a_file_of_flows_takes_flows() {
    let all = |args: &str| problems(&format!("--node-name n --cluster-cidr 10.244.0.0/16 {args}")).join("\n");
    assert!(all("--flow-log /var/log/flows").contains("--flows on"));
    assert_eq!(all("--flow-log /var/log/flows --flows on"), "");
    assert!(all("--flow-otlp http://[::1]:4318").contains("--flows on"));
    assert_eq!(all("--flow-otlp http://127.0.0.1:4318 --flows on"), "");
    assert_eq!(parse("").flows, Switch::Off);
}

#[test]
fn a_collector_is_a_url() {
    for (text, wanted) in [
        ("http://[fd00::1]:4318", "http://[fd00::1]:4318/v1/logs"),
        ("https://collector:4318/", "https://collector:4318/v1/logs"),
        ("http://127.0.0.1:4318/otlp/logs", "http://127.0.0.1:4318/otlp/logs"),
    ] {
        assert_eq!(text.parse::<Collector>().map(|Collector(uri)| uri.to_string()), Ok(wanted.to_owned()));
    }
    for bad in ["", "collector:4317", "grpc://collector:4317", "http://", "/v1/logs", "http://user:word@host"]
    {
        assert!(bad.parse::<Collector>().is_err(), "{bad}");
    }
}

#[test]
fn cidrs_must_not_overlap() {
    let all = |args: &str| problems(&format!("--node-name n {args}")).join("\n");
    assert_eq!(all("--cluster-cidr 10.244.0.0/16,fd44::/48 --service-cidr 10.96.0.0/16"), "");
    assert!(all("--cluster-cidr 10.0.0.0/8,10.244.0.0/16").contains("overlap"));
    assert!(all("--cluster-cidr 10.0.0.0/8 --service-cidr 10.96.0.0/16").contains("overlaps --cluster-cidr"));
}

#[test]
fn the_manifests_placeholder_is_recognised() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/midonet-kube.yaml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let (_, rest) = manifest.split_once("kubernetes.endpoint.host: \"").unwrap();
    let (host, _) = rest.split_once('"').unwrap();
    let problems =
        problems(&format!("--node-name n --cluster-cidr 10.0.0.0/8 --api-server https://{host}:6443"));
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("placeholder") && problems[0].contains("ConfigMap"), "{problems:?}");
}

#[test]
fn node_port_addresses_are_cidrs_or_words() {
    use NodePortAddress::{All, Cidr, Localhost, Primary};
    assert_eq!(parse("").nodeport_addresses, [Primary, Localhost]);
    let all = parse("--nodeport-addresses 192.0.2.0/24,all,2001:db8::/32 --nodeport-addresses localhost");
    let cidr = |text: &str| Cidr(text.parse().unwrap());
    assert_eq!(all.nodeport_addresses, [cidr("192.0.2.0/24"), All, cidr("2001:db8::/32"), Localhost]);
    for wrong in ["192.0.2.1/33", "loopback", "", "192.0.2.1"] {
        let said = Config::try_from_flags(["--nodeport-addresses", wrong]).unwrap_err().to_string();
        assert!(said.contains("primary, localhost or all"), "{wrong}: {said}");
    }
}

#[test]
fn sizes_have_units_and_bounds() {
    assert_eq!(parse("").deny_log.size, Size(10 << 20));
    for (text, want) in [("64KiB", 64 << 10), ("65536", 65536), ("1Mi", 1 << 20), ("1024GiB", 1 << 40)] {
        assert_eq!(parse(&format!("--deny-log-size {text}")).deny_log.size, Size(want));
    }
    for wrong in [
        "",
        "MiB",
        "63KiB",
        "1025GiB",
        "10MB",
        "1.5MiB",
        "-1MiB",
        "99999999999999999999",
        "18446744073709551615GiB",
    ] {
        let said = Config::try_from_flags([format!("--deny-log-size={wrong}")]).unwrap_err().to_string();
        assert!(said.contains("64KiB to 1024GiB"), "{wrong}: {said}");
    }
}

#[test]
fn the_least_mtu_is_that_of_the_pods_families() {
    let all = |args: &str| problems(&format!("--node-name n {args}")).join("\n");
    assert_eq!(all("--mtu 576 --cluster-cidr 10.244.0.0/16"), "");
    for cidrs in ["fd44::/48", "10.244.0.0/16,fd44::/48"] {
        assert_eq!(all(&format!("--mtu 1280 --cluster-cidr {cidrs}")), "");
        let said = all(&format!("--mtu 1279 --cluster-cidr {cidrs}"));
        assert!(said.contains("--mtu 1279 is too small") && said.contains("at least 1280"), "{said}");
    }
}

#[test]
fn sizes_are_bounded_by_what_the_datapath_takes() {
    assert_eq!(endpoints(MOST_PODS), datapath::MOST_ENTRIES);
    assert_eq!(routes(MOST_NODES), datapath::MOST_ENTRIES);
    for (flag, most) in [
        ("--max-pods", 65535),
        ("--max-nodes", 32767),
        ("--max-connections", datapath::MOST_CONNECTIONS),
        ("--max-services", datapath::MOST_SERVICES),
        ("--max-backends", datapath::MOST_BACKENDS),
        ("--max-drops", datapath::MOST_DROPS),
        ("--vni", 0xff_ffff),
        ("--tunnel-port", 65535),
    ] {
        let parse = |value: u32| Config::try_from_flags([flag, &value.to_string()]);
        assert!(parse(1).is_ok() && parse(most).is_ok(), "{flag}");
        assert_eq!(parse(0).is_ok(), flag == "--max-connections", "{flag} 0");
        let said = parse(most + 1).unwrap_err().to_string();
        assert!(said.contains(flag) && said.contains(&most.to_string()), "{said}");
    }
}
