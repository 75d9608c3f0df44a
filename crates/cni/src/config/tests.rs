use serde_json::{Value, json};

use super::*;

fn parse(config: &Value, command: Command) -> Result<NetworkConfig, Error> {
    NetworkConfig::parse(&document(config.to_string().into()).unwrap(), command)
}

fn base() -> Value {
    json!({"cniVersion": "1.1.0", "name": "net", "type": "x", "ipam": {"type": "host-local"}})
}

fn with(key: &str, value: Value) -> Value {
    let mut config = base();
    config[key] = value;
    config
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
fn what_only_other_plugins_need_may_be_anything() {
    let config = json!({
        "cniVersion": "1.1.0", "name": "net", "ipam": {"type": "x"}, "mtu": "auto", "dns": "off",
        "runtimeConfig": {"deviceID": "0000:04:00.5"}, "prevResult": {"interfaces": 7},
    });
    for command in [Command::Add, Command::Check, Command::Del] {
        assert!(parse(&config, command).is_ok(), "{command:?}");
    }
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
    assert_eq!(parse(&silent, Command::Add).unwrap().version, Version::V0_1_0);
    assert_eq!(version_of(&document(silent.to_string().into()).unwrap()), Some(Version::V0_1_0));
}

#[test]
fn refusals_name_key_and_value() {
    for (config, command, want) in [
        (with("name", json!("")), Command::Add, "name: missing network name"),
        (with("name", json!("a/b")), Command::Add, "invalid characters found in network name \"a/b\""),
        (with("name", json!(7)), Command::Add, "name: must be a string, is a number"),
        (with("ipam", Value::Null), Command::Del, "ipam: missing"),
        (with("ipam", json!({})), Command::Del, "ipam.type: missing"),
        (with("ipam", json!({"type": ""})), Command::Del, "ipam.type: is empty"),
        (with("cni.dev/valid-attachments", json!([{}])), Command::Gc, "[0].containerID: missing"),
    ] {
        let error = parse(&config, command).unwrap_err();
        assert_eq!(error.code, 7, "{error}");
        assert!(error.msg.contains(want), "{error}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let msg = parse(&json!({"cniVersion": "1.0.0", "name": "!", "ipam": 7}), Command::Add).unwrap_err().msg;
    for want in ["name: invalid", "ipam: must be an object"] {
        assert!(msg.contains(want), "{msg}");
    }
    let error = document(b"{secret".to_vec()).err().unwrap();
    assert_eq!(error.code, 6);
    assert!(!error.to_string().contains("secret"), "{error}");
    for undecodable in ["[]", "7", r#"{"cniVersion": 1.1, "name": "net"}"#] {
        let undecodable = serde_json::from_str(undecodable).unwrap();
        assert_eq!(parse(&undecodable, Command::Add).unwrap_err().code, 6, "{undecodable}");
    }
}
