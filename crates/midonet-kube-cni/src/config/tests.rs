use ipam::Dns;
use serde_json::json;

use super::*;

fn parse(config: &Value, command: Command) -> Result<NetConf, Error> {
    NetConf::parse(&document(config.to_string().into()).unwrap(), command)
}

fn base() -> Value {
    json!({"cniVersion": "1.1.0", "name": "net", "type": "x", "mtu": 1450, "ipam": {"type": "host-local"}})
}

fn with(key: &str, value: Value) -> Value {
    let mut config = base();
    config[key] = value;
    config
}

#[test]
fn what_is_absent_has_defaults() {
    let conf = parse(&base(), Command::Add).ok().unwrap();
    assert_eq!(
        (conf.version, conf.ipam_type.as_str(), conf.mtu),
        (Version::V1_1_0, "host-local", Some(1450))
    );
    assert_eq!(conf.socket, PathBuf::from(nodeapi::SOCKET));
    assert!(conf.mac.is_none() && conf.prev_result.is_none());
    assert_eq!(conf.dns, DnsConf::default());
}

#[test]
fn the_runtime_outranks_the_arguments() {
    let mac = |config: Value| parse(&config, Command::Add).ok().unwrap().mac.map(|m| m.to_string());
    let mut config = with("args", json!({"cni": {"mac": "02:00:00:00:00:0A"}}));
    assert_eq!(mac(config.clone()).as_deref(), Some("02:00:00:00:00:0a"));
    config["runtimeConfig"] = json!({"mac": "02-00-00-00-00-0b", "ips": []});
    assert_eq!(mac(config).as_deref(), Some("02:00:00:00:00:0b"));
}

fn dns(servers: &str, domain: &str, search: &str, options: &str) -> Dns {
    let list = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    Dns { nameservers: list(servers), domain: domain.into(), search: list(search), options: list(options) }
}

#[test]
fn what_name_resolution_is_made_of() {
    let ipam = || dns("192.0.2.1", "ipam", "ipam.test", "ndots:1");
    for (network, runtime, want) in [
        (json!(null), json!(null), ipam()),
        (json!({}), json!({}), ipam()),
        (json!({"nameservers": null, "domain": ""}), json!(null), ipam()),
        // Anything in the network's replaces all of IPAM's; an empty list is something.
        (json!({"search": []}), json!(null), Dns::default()),
        (json!({"domain": "net"}), json!(null), dns("", "net", "", "")),
        // The runtime's lists count one by one, under names of their own.
        (
            json!(null),
            json!({"servers": ["2001:db8::1"]}),
            dns("2001:db8::1", "ipam", "ipam.test", "ndots:1"),
        ),
        (json!(null), json!({"servers": [], "searches": null, "options": []}), ipam()),
        (
            json!({"nameservers": ["192.0.2.2"], "domain": "net"}),
            json!({"searches": ["a.test", "b.test"], "options": ["ndots:5"]}),
            dns("192.0.2.2", "net", "a.test b.test", "ndots:5"),
        ),
    ] {
        let mut config = with("dns", network);
        config["runtimeConfig"] = json!({"dns": runtime});
        let conf = parse(&config, Command::Add).ok().unwrap();
        assert_eq!(conf.dns.over(ipam()), want, "{config}");
    }
}

#[test]
fn the_attachments_of_gc() {
    let valid = |config: &Value| parse(config, Command::Gc).map(|c| c.valid_attachments);
    let one = json!([{"containerID": "a", "ifname": "eth0"}]);
    let want = vec![Attachment { container_id: "a".into(), ifname: "eth0".into() }];
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        assert_eq!(valid(&with(key, one.clone())), Ok(want.clone()), "{key}");
        assert_eq!(valid(&with(key, Value::Null)), Ok(vec![]), "{key}");
        assert_eq!(valid(&with(key, json!([]))), Ok(vec![]), "{key}");
    }
    let mut both = with("cni.dev/valid-attachments", one);
    both["cni.dev/attachments"] = json!([]);
    assert_eq!(valid(&both), Ok(want), "the specification's own name counts");
    assert_eq!(valid(&base()), Ok(vec![]), "as `cnitool gc` asks");
}

#[test]
fn what_del_does_not_need_does_not_stop_it() {
    let damaged = json!({
        "cniVersion": "1.1.0", "name": "net", "ipam": {"type": "x"}, "mtu": "many", "dns": 7,
        "prevResult": {"ips": "none"}, "runtimeConfig": {"mac": "x", "deviceID": "0000:04:00.5"},
    });
    for command in [Command::Del, Command::Gc, Command::Status] {
        assert_eq!(parse(&damaged, command).ok().unwrap().ipam_type, "x", "{command:?}");
    }
    let error = parse(&damaged, Command::Add).err().unwrap();
    for want in
        ["runtimeConfig.deviceID=\"0000:04:00.5\"", "mtu:", "dns:", "prevResult.ips:", "runtimeConfig.mac:"]
    {
        assert!(error.msg.contains(want), "{error}");
    }
}

#[test]
fn another_plugins_configuration_may_be_its_own() {
    let sriov = json!({
        "cniVersion": "1.1.0", "name": "net", "ipam": {"type": "x"}, "mtu": "auto", "dns": "off",
        "runtimeConfig": {"deviceID": "0000:04:00.5"}, "prevResult": {"interfaces": 7},
    });
    let sriov = document(sriov.to_string().into()).unwrap();
    for command in [Command::Add, Command::Check, Command::Del] {
        assert!(NetConf::parse_for_ipam(&sriov, command).is_ok(), "{command:?}");
    }
    let error =
        NetConf::parse_for_ipam(&document(br#"{"cniVersion": "0.3.1"}"#.to_vec()).unwrap(), Command::Check)
            .err()
            .unwrap();
    assert_eq!(error.msg, "config version does not allow CHECK");
}

#[test]
fn what_cannot_be_done_is_refused_by_key_and_value() {
    for (key, value, shown) in [
        ("deviceID", json!("0000:04:00.5"), "\"0000:04:00.5\""),
        ("infinibandGUID", json!("c2:11:22:33:44:55:66:77"), "\"c2:11:22:33:44:55:66:77\""),
        ("aliases", json!(["web"]), "[\"web\"]"),
    ] {
        let error = parse(&with("runtimeConfig", json!({key: value})), Command::Add).err().unwrap();
        assert_eq!(error.code, 2, "{error}");
        assert!(error.msg.starts_with(&format!("runtimeConfig.{key}={shown} is not supported")), "{error}");
    }
    let nothing = json!({"deviceID": "", "aliases": [], "infinibandGUID": null, "cgroupPath": "/x"});
    assert!(parse(&with("runtimeConfig", nothing), Command::Add).is_ok());
}

#[test]
fn versions() {
    for (version, command, want) in [
        ("0.0.9", Command::Add, Some("incompatible CNI versions")),
        ("1.2.0", Command::Del, Some("incompatible CNI versions")),
        ("", Command::Check, Some("config version does not allow CHECK")),
        ("0.2.0", Command::Check, Some("config version does not allow CHECK")),
        ("0.3.1", Command::Check, Some("config version does not allow CHECK")),
        ("1.0.0", Command::Gc, Some("config version does not allow GC")),
        ("1.0.0", Command::Status, Some("config version does not allow STATUS")),
        ("", Command::Add, None),
        ("0.1.0", Command::Add, None),
        ("0.2.0", Command::Del, None),
        ("0.3.0", Command::Add, None),
        ("0.3.1", Command::Add, None),
        ("0.4.0", Command::Del, None),
        ("1.0.0", Command::Add, None),
        ("1.1.0", Command::Status, None),
    ] {
        let error = parse(&with("cniVersion", json!(version)), command).err();
        assert_eq!(
            error.as_ref().map(|e| (e.code, e.msg.as_str())),
            want.map(|w| (1, w)),
            "{version} {command:?}"
        );
        if want == Some("incompatible CNI versions") {
            let all = "plugin supports 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0";
            assert!(error.unwrap().details.contains(all));
        }
    }
    let mut silent = base();
    silent.as_object_mut().unwrap().remove("cniVersion");
    assert_eq!(parse(&silent, Command::Add).ok().unwrap().version, Version::V0_1_0);
    assert_eq!(version_of(&document(silent.to_string().into()).unwrap()), Some(Version::V0_1_0));
}

#[test]
fn refusals() {
    for (config, command, want) in [
        (with("name", json!("")), Command::Add, "name: missing network name"),
        (with("name", json!("a/b")), Command::Add, "invalid characters found in network name \"a/b\""),
        (with("name", json!(7)), Command::Add, "name: must be a string, is a number"),
        (with("ipam", Value::Null), Command::Del, "ipam: missing"),
        (with("ipam", json!({})), Command::Del, "ipam.type: missing"),
        (with("ipam", json!({"type": ""})), Command::Del, "ipam.type: is empty"),
        (with("mtu", json!("1450")), Command::Add, "mtu: must be a whole number"),
        (with("mtu", json!(67)), Command::Add, "mtu: 67: must be 68 to 65535 bytes"),
        (with("runtimeConfig", json!({"mac": "x"})), Command::Add, "runtimeConfig.mac: \"x\""),
        (
            with("args", json!({"cni": {"mac": "01:00:00:00:00:01"}})),
            Command::Add,
            "args.cni.mac: 01:00:00:00:00:01 is no address of a single interface",
        ),
        (with("dns", json!([])), Command::Add, "dns: must be an object, is a list"),
        (with("prevResult", json!({"ips": [{}]})), Command::Add, "prevResult.ips[0].address: missing"),
        (with("cni.dev/valid-attachments", json!([{}])), Command::Gc, "[0].containerID: missing"),
    ] {
        let error = parse(&config, command).err().unwrap();
        assert_eq!(error.code, 7, "{error}");
        assert!(error.msg.contains(want), "{error}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let config = json!({"cniVersion": "1.0.0", "name": "!", "mtu": 1, "ipam": 7, "dns": 1});
    let msg = parse(&config, Command::Add).err().unwrap().msg;
    for want in ["name: invalid", "mtu: 1:", "ipam: must be an object", "dns: must be an object"] {
        assert!(msg.contains(want), "{msg}");
    }
    let error = document(b"{secret".to_vec()).err().unwrap();
    assert_eq!(error.code, 6);
    assert!(!error.to_string().contains("secret"), "{error}");
    for undecodable in ["[]", "7", r#"{"cniVersion": 1.1, "name": "net"}"#] {
        let undecodable = serde_json::from_str(undecodable).unwrap();
        assert_eq!(parse(&undecodable, Command::Add).err().unwrap().code, 6, "{undecodable}");
    }
}
