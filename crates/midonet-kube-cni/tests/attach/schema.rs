//! What the specification says of results and errors, as JSON Schema, for each version, and as much of a
//! validator as these schemas need (`type`, `const`, `properties`, `required`, `items`, and two formats).

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

/// Every version of the specification.
pub(crate) const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// Whether CHECK, and GC and STATUS, exist in a version.
pub(crate) fn has_check(version: &str) -> bool {
    version >= "0.4.0"
}

/// See [`has_check`].
pub(crate) fn has_gc_and_status(version: &str) -> bool {
    version >= "1.1.0"
}

/// Fails unless a result of ADD is as that version has it. Nothing that the version does not know may be in it.
pub(crate) fn assert_result(version: &str, result: &Value) {
    let text = json!({"type": "string"});
    let texts = json!({"type": "array", "items": text});
    let number = json!({"type": "integer"});
    let (ip, cidr) = (json!({"type": "string", "format": "ip"}), json!({"type": "string", "format": "cidr"}));
    let route = |with_metrics: bool| {
        let mut properties = json!({"dst": cidr, "gw": ip});
        for key in ["mtu", "advmss", "priority", "table", "scope"].iter().filter(|_| with_metrics) {
            properties[key] = number.clone();
        }
        json!({"type": "object", "required": ["dst"], "properties": properties})
    };
    let dns = json!({"type": "object", "properties": {
        "nameservers": texts, "domain": text, "search": texts, "options": texts,
    }});
    let one = json!({"type": "object", "required": ["ip"], "properties": {
        "ip": cidr, "gateway": ip, "routes": {"type": "array", "items": route(false)},
    }});
    let mut interface = json!({"type": "object", "required": ["name"], "properties": {
        "name": text, "mac": text, "sandbox": text,
    }});
    let mut address = json!({"type": "object", "required": ["address"], "properties": {
        "address": cidr, "gateway": ip, "interface": number,
    }});
    let (own, required) = match version {
        "0.1.0" | "0.2.0" => (json!({"ip4": one, "ip6": one, "dns": dns}), json!(["cniVersion"])),
        "0.3.0" | "0.3.1" | "0.4.0" => {
            address["properties"]["version"] = text.clone();
            address["required"] = json!(["version", "address"]);
            (several(&interface, &address, &route(true), &dns), json!(["cniVersion", "ips"]))
        }
        "1.0.0" | "1.1.0" => {
            for (key, kind) in [("mtu", &number), ("socketPath", &text), ("pciID", &text)] {
                interface["properties"][key] = kind.clone();
            }
            (several(&interface, &address, &route(true), &dns), json!(["cniVersion", "ips"]))
        }
        other => panic!("no version {other}"),
    };
    let mut schema = json!({"type": "object", "required": required, "properties": own});
    schema["properties"]["cniVersion"] = json!({"const": version});
    let problems = validate(&schema, result, "result");
    assert!(problems.is_empty(), "{problems:#?}\n{result:#}");
    let old = ["ip4", "ip6"].iter().filter(|key| result.get(**key).is_some()).count();
    assert!(old > 0 || version >= "0.3.0", "a result of {version} without an address: {result}");
}

fn several(interface: &Value, address: &Value, route: &Value, dns: &Value) -> Value {
    let list = |items: &Value| json!({"type": "array", "items": items});
    json!({"interfaces": list(interface), "ips": list(address), "routes": list(route), "dns": dns})
}

/// Fails unless this is an error as the specification writes it.
pub(crate) fn assert_error(version: &str, error: &Value) {
    let text = json!({"type": "string"});
    let schema = json!({
        "type": "object", "required": ["cniVersion", "code", "msg"],
        "properties": {
            "cniVersion": {"const": version}, "code": {"type": "integer"}, "msg": text, "details": text,
        },
    });
    let problems = validate(&schema, error, "error");
    assert!(problems.is_empty(), "{problems:#?}\n{error:#}");
}

/// What of a value is not as the schema has it. Objects have no members but those that are named.
fn validate(schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(want) = schema.get("const").filter(|want| *want != value) {
        problems.push(format!("{place} is {value}, not {want}"));
    }
    let is = match value {
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::Number(number) if number.is_u64() => "integer",
        _ => "something else",
    };
    if let Some(want) = schema.get("type").filter(|want| *want != is) {
        problems.push(format!("{place} must be of type {want}: {value}"));
    }
    let text = value.as_str().unwrap_or_default();
    let format_holds = match schema.get("format").and_then(Value::as_str) {
        Some("ip") => text.parse::<IpAddr>().is_ok(),
        Some("cidr") => text.parse::<IpNet>().is_ok(),
        _ => true,
    };
    if !format_holds {
        problems.push(format!("{place} must be of format {}: {value}", schema["format"]));
    }
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(key).is_none() {
            problems.push(format!("{place} lacks {key}"));
        }
    }
    for (key, member) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(key) {
            Some(schema) => problems.extend(validate(schema, member, &format!("{place}.{key}"))),
            None => problems.push(format!("{place} must not have {key}")),
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        problems.extend(validate(&schema["items"], item, &format!("{place}[{index}]")));
    }
    problems
}

#[test]
fn the_validator_finds_what_is_wrong() {
    let refused = |version: &str, result: Value, want: &str| {
        let panic = std::panic::catch_unwind(|| assert_result(version, &result)).unwrap_err();
        let said = panic.downcast_ref::<String>().unwrap();
        assert!(said.contains(want), "{said}");
    };
    refused("1.1.0", json!({"cniVersion": "1.0.0", "ips": []}), "result.cniVersion is");
    refused("1.1.0", json!({"cniVersion": "1.1.0"}), "result lacks ips");
    refused("1.0.0", json!({"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.1"}]}), "format");
    let with_version = json!([{"version": "4", "address": "10.0.0.1/24"}]);
    refused(
        "1.0.0",
        json!({"cniVersion": "1.0.0", "ips": with_version}),
        "result.ips[0] must not have version",
    );
    let with_mtu = json!([{"name": "eth0", "mtu": 1450}]);
    refused("0.4.0", json!({"cniVersion": "0.4.0", "ips": [], "interfaces": with_mtu}), "must not have mtu");
    refused("0.2.0", json!({"cniVersion": "0.2.0", "ip4": {}}), "result.ip4 lacks ip");
    refused("0.2.0", json!({"cniVersion": "0.2.0", "dns": {}}), "without an address");
    assert_result("0.2.0", &json!({"cniVersion": "0.2.0", "ip6": {"ip": "fd00::1/64"}, "dns": {}}));
    assert_result(
        "1.1.0",
        &json!({"cniVersion": "1.1.0", "ips": [{"address": "fd00::1/64", "interface": 0}]}),
    );
}
