use serde_json::json;

use super::*;

fn parse(config: &Value, command: Command) -> Result<NetConf, Error> {
    NetConf::parse(config.to_string().as_bytes(), command)
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
    assert!(conf.mac.is_none() && conf.dns.is_none() && conf.prev_result.is_none());
}

#[test]
fn the_runtime_outranks_the_arguments() {
    let mac = |config: Value| parse(&config, Command::Add).ok().unwrap().mac.map(|m| m.to_string());
    let mut config = with("args", json!({"cni": {"mac": "02:00:00:00:00:0A"}}));
    assert_eq!(mac(config.clone()).as_deref(), Some("02:00:00:00:00:0a"));
    config["runtimeConfig"] = json!({"mac": "02-00-00-00-00-0b", "ips": []});
    assert_eq!(mac(config).as_deref(), Some("02:00:00:00:00:0b"));
}

#[test]
fn a_dns_that_sets_anything_counts() {
    let dns = |value: Value| parse(&with("dns", value), Command::Add).ok().unwrap().dns;
    assert_eq!(dns(json!({})), None);
    assert_eq!(dns(json!({"nameservers": null, "domain": ""})), None);
    assert_eq!(dns(json!({"search": []})), Some(Dns::default()));
    assert_eq!(dns(json!({"domain": "x"})).unwrap().domain, "x");
}

#[test]
fn the_attachments_of_gc() {
    let valid =
        |key: &str, value: Value| parse(&with(key, value), Command::Gc).map(|c| c.valid_attachments.unwrap());
    let one = json!([{"containerID": "a", "ifname": "eth0"}]);
    let want = vec![Attachment { container_id: "a".into(), ifname: "eth0".into() }];
    assert_eq!(valid("cni.dev/valid-attachments", one.clone()), Ok(want.clone()));
    assert_eq!(valid("cni.dev/attachments", one), Ok(want));
    assert_eq!(valid("cni.dev/valid-attachments", Value::Null), Ok(vec![]));
    let error = valid("x", Value::Null).unwrap_err();
    assert!(error.msg.contains("cni.dev/valid-attachments: missing"), "{error}");
}

#[test]
fn versions() {
    for (version, command, want) in [
        ("0.2.0", Command::Add, Some("incompatible CNI versions")),
        ("1.2.0", Command::Del, Some("incompatible CNI versions")),
        ("", Command::Del, Some("incompatible CNI versions")),
        ("0.3.1", Command::Check, Some("config version does not allow CHECK")),
        ("1.0.0", Command::Gc, Some("config version does not allow GC")),
        ("1.0.0", Command::Status, Some("config version does not allow STATUS")),
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
            assert!(error.unwrap().details.contains("plugin supports 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"));
        }
    }
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
    let error = NetConf::parse(b"{secret", Command::Add).err().unwrap();
    assert_eq!(error.code, 6);
    assert!(!error.to_string().contains("secret"), "{error}");
}
