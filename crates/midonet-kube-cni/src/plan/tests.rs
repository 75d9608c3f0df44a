use cni::{Command, Environment};
use serde_json::{Value, json};

use super::*;

fn request(config: &Value) -> Request {
    let mut whole = json!({"cniVersion": "1.1.0", "name": "n", "mtu": 1450, "ipam": {"type": "x"}});
    for (key, value) in config.as_object().unwrap() {
        whole[key] = value.clone();
    }
    let env = Environment {
        command: Command::Add,
        container_id: "c1".into(),
        netns: Some("/run/netns/x".into()),
        ifname: "eth0".into(),
        args: "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0".into(),
        path: String::new(),
        netns_override: false,
    };
    Request::read(env, cni::document(whole.to_string().into()).unwrap()).ok().unwrap()
}

fn allocation(ips: &[(&str, &str)], routes: Vec<Route>) -> CniResult {
    let ip = |(address, gateway): &(&str, &str)| Ip {
        interface: None,
        address: address.parse().unwrap(),
        gateway: gateway.parse().ok(),
    };
    CniResult { ips: ips.iter().map(ip).collect(), routes, ..CniResult::default() }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

const DUAL: [(&str, &str); 2] = [("10.244.1.5/24", "10.244.1.1"), ("fd44:0:0:1::5/64", "")];

fn plan(request: &Request, allocation: CniResult) -> Result<Plan, Error> {
    Plan::new(request, veth_pair(request)?, allocation)
}

#[test]
fn a_dual_stack_attachment() {
    let plan = plan(&request(&json!({})), allocation(&DUAL, vec![])).unwrap();
    let got = &plan.pair;
    assert_eq!((got.ifname.as_str(), got.host_ifname.as_str(), got.mtu), ("eth0", "mido24d07f86e30", 1450));
    assert_eq!(got.host_mac, GATEWAY_MAC.0);
    assert_eq!(got.mac, attachment_mac("c1", "eth0").0);
    assert_eq!(got.alias, "default/web-0 c1 eth0 - n");
    assert_eq!(got.addresses, [net("10.244.1.5/24"), net("fd44:0:0:1::5/64")]);
    let (v4, v6): (IpAddr, IpAddr) = ("10.244.1.1".parse().unwrap(), "fd44:0:0:1::1".parse().unwrap());
    assert_eq!(got.gateways, [v4, v6]);
    let route = |dst, via| KernelRoute::through(net(dst), via);
    assert_eq!(got.routes, [route("0.0.0.0/0", v4), route("::/0", v6)]);

    let bind = plan.bind_request(7);
    assert_eq!((bind.host_ifindex, bind.name.as_str(), bind.container_id.as_str()), (7, "web-0", "c1"));
    assert_eq!(bind.addresses, ["10.244.1.5", "fd44:0:0:1::5"]);
}

#[test]
fn a_container_id_leaves_space_for_the_pod() {
    for (length, fits) in [(64, true), (230, true), (241, false), (255, false), (1000, false)] {
        let mut request = request(&json!({}));
        request.env.container_id = "c".repeat(length);
        match plan(&request, allocation(&DUAL, vec![])) {
            Ok(_) => assert!(fits, "{length}"),
            Err(error) => {
                assert!(!fits && error.code == 4 && error.msg.contains("too many"), "{length}: {error}");
            }
        }
    }
}

#[test]
fn routes_of_ipam_replace_the_default() {
    let mut own_hop = Route::to(net("fd01::/64"));
    own_hop.gw = Some("fd44:0:0:1::9".parse().unwrap());
    let plan =
        plan(&request(&json!({})), allocation(&DUAL, vec![Route::to(net("10.0.0.0/8")), own_hop])).unwrap();
    let routes: Vec<String> = plan.pair.routes.iter().map(ToString::to_string).collect();
    assert_eq!(routes, ["10.0.0.0/8 via 10.244.1.1", "fd01::/64 via fd44:0:0:1::9"]);
}

#[test]
fn routes_keep_what_ipam_says_of_them() {
    let special = |dst: &str, scope| Route {
        mtu: Some(1400),
        advmss: Some(1360),
        priority: Some(7),
        table: Some(100),
        scope,
        ..Route::to(net(dst))
    };
    let routes =
        vec![special("0.0.0.0/0", Some(0)), special("::/0", None), special("10.9.0.0/16", Some(253))];
    let plan = plan(&request(&json!({})), allocation(&DUAL, routes)).unwrap();
    let routes: Vec<String> = plan.pair.routes.iter().map(ToString::to_string).collect();
    let rest = "mtu 1400 advmss 1360 metric 7 table 100";
    let want = [
        format!("0.0.0.0/0 via 10.244.1.1 {rest} scope 0"),
        format!("::/0 via fd44:0:0:1::1 {rest}"),
        format!("10.9.0.0/16 {rest} scope 253"),
    ];
    assert_eq!(routes, want);
    assert_eq!(plan.result("/x", None).routes[0].table, Some(100));
}

#[test]
fn the_result_names_both_sides_after_what_was_before() {
    let request = request(
        &json!({"dns": {"nameservers": ["10.96.0.10"]}, "runtimeConfig": {"mac": "02:00:00:00:00:07"}}),
    );
    let plan = plan(&request, allocation(&DUAL[..1], vec![])).unwrap();
    let result = plan.result("/run/netns/x", None);
    assert_eq!(result.interfaces[0].name, "mido24d07f86e30");
    assert!(result.interfaces[0].sandbox.is_empty());
    assert_eq!(
        (result.interfaces[1].mac.as_str(), result.interfaces[1].sandbox.as_str()),
        ("02:00:00:00:00:07", "/run/netns/x")
    );
    assert_eq!(result.ips[0].interface, Some(1));
    assert_eq!(result.routes[0].gw, Some("10.244.1.1".parse().unwrap()));
    assert_eq!(result.dns.nameservers, ["10.96.0.10"]);

    let chained = plan.result("/run/netns/x", Some(&result));
    assert_eq!((chained.interfaces.len(), chained.ips[1].interface), (4, Some(3)));
}

#[test]
fn check_expects_what_add_made() {
    let request = request(&json!({}));
    let plan = plan(&request, allocation(&DUAL, vec![])).unwrap();
    let mut result = plan.result("/run/netns/x", None);
    assert_eq!(Plan::of_result(&request, &result).unwrap(), plan);
    // A later plugin changed the MAC, took a route away, and added an interface with a route of its own.
    let own = Interface { name: "eth0".into(), sandbox: "/run/netns/y".into(), ..Interface::default() };
    result.interfaces.push(own);
    let mut elsewhere = Route::to(net("10.0.0.0/8"));
    elsewhere.gw = Some("192.0.2.1".parse().unwrap());
    result.routes.push(elsewhere);
    result.interfaces[1].mac = "02:00:00:00:00:09".into();
    result.routes.remove(0);
    let changed = Plan::of_result(&request, &result).unwrap();
    assert_eq!((Mac(changed.pair.mac).to_string().as_str(), changed.routes.len()), ("02:00:00:00:00:09", 1));
    result.interfaces.truncate(1);
    assert!(Plan::of_result(&request, &result).unwrap_err().msg.contains("no interface eth0 in a sandbox"));
}

#[test]
fn refusals() {
    let with = |route: fn(&mut Route)| {
        let mut r = Route::to("0.0.0.0/0".parse().unwrap());
        route(&mut r);
        vec![r]
    };
    let good = json!({});
    for (config, ips, routes, code, want) in [
        (
            &good,
            &[("10.244.1.1/24", "10.244.1.1")][..],
            vec![],
            104,
            "gave the Pod 10.244.1.1, which belongs to the gateway",
        ),
        (
            &good,
            &[("10.244.1.1/24", "10.244.1.254")],
            vec![],
            104,
            "10.244.1.1, which belongs to the gateway",
        ),
        (&good, &[("10.244.1.9/24", "10.244.1.9")], vec![], 104, "10.244.1.9, which belongs to the gateway"),
        (&good, &[("fd44::2/64", "")], vec![], 104, "fd44::2, which belongs to the node"),
        (&good, &[("10.244.1.0/24", "")], vec![], 104, "10.244.1.0/24, which means the whole subnet"),
        (&good, &[("10.244.1.255/24", "")], vec![], 104, "10.244.1.255/24, which means the whole subnet"),
        (&good, &[("fd44::/64", "")], vec![], 104, "fd44::/64, which means the whole subnet"),
        (&good, &[("10.244.1.5/32", "")], vec![], 104, "10.244.1.5/32 without a gateway"),
        (&good, &[("10.244.1.5/24", "fd00::1")], vec![], 104, "of the other family"),
        (&good, &[("10.244.1.5/24", "")], vec![Route::to(net("::/0"))], 104, "the route to ::/0"),
        (
            &good,
            &[("10.244.1.5/24", "")],
            with(|r| r.gw = "fd00::1".parse().ok()),
            104,
            "the route to 0.0.0.0/0",
        ),
        (&good, &[], vec![], 104, "no address"),
        (
            &json!({"mtu": null}),
            &[("10.244.1.5/24", "")],
            vec![],
            7,
            "mtu: missing: midonet-kube-node writes it",
        ),
        (&json!({"mtu": 1279}), &DUAL, vec![], 7, "IPv6 needs at least 1280 bytes"),
    ] {
        let error = plan(&request(config), allocation(ips, routes)).unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(error.msg.contains(want), "{error}");
    }
}
