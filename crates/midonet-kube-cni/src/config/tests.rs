use cni::{Version, document};
use serde_json::json;

use super::*;

fn parse(config: &Value, command: Command) -> Result<PluginConfig, Error> {
    PluginConfig::parse(&document(config.to_string().into()).unwrap(), command)
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
        (conf.net.version, conf.net.ipam_type.as_str(), conf.mtu),
        (Version::V1_1_0, "host-local", Some(1450))
    );
    assert_eq!(conf.socket, PathBuf::from(nodeapi::SOCKET));
    assert!(conf.mac.is_none() && conf.prev_result.is_none());
    assert_eq!(conf.dns, DnsConfig::default());
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
fn what_del_does_not_need_does_not_stop_it() {
    let damaged = json!({
        "cniVersion": "1.1.0", "name": "net", "ipam": {"type": "x"}, "mtu": "many", "dns": 7,
        "prevResult": {"ips": "none"}, "runtimeConfig": {"mac": "x", "deviceID": "0000:04:00.5"},
    });
    for command in [Command::Del, Command::Gc, Command::Status] {
        assert_eq!(parse(&damaged, command).ok().unwrap().net.ipam_type, "x", "{command:?}");
    }
    let error = parse(&damaged, Command::Add).err().unwrap();
    for want in
        ["runtimeConfig.deviceID=\"0000:04:00.5\"", "mtu:", "dns:", "prevResult.ips:", "runtimeConfig.mac:"]
    {
        assert!(error.msg.contains(want), "{error}");
    }
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
fn refusals() {
    for (config, command, want) in [
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
}
