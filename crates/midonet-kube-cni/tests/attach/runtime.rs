//! What a runtime asks for beside the configuration: capabilities, `args`, `CNI_ARGS` and other variables.

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::cnitool::Cnitool;
use crate::node::{Answer, Node, Sandbox};
use crate::schema::{VERSIONS, assert_error};

#[test]
fn capabilities_are_honoured_in_every_version() {
    for version in VERSIONS {
        let node = Node::new("midonet-kube-ipam");
        let agent = Agent::start(&node.socket());
        let mut config = node.config.clone();
        config["capabilities"] =
            json!({"mac": true, "ips": true, "ipRanges": true, "dns": true, "cgroupPath": true});
        // The ranges come from the runtime alone.
        config["ipam"]["ranges"] = json!([]);
        let cnitool = Cnitool::new(&node, version, &[config]);
        let pod = Sandbox::new("", "web-0");
        let asked = json!({
            "mac": "02:00:00:00:00:42",
            "ips": ["10.244.1.77", "fd44:0:0:1::77/64"],
            "ipRanges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd44:0:0:1::/64"}]],
            "dns": {"servers": ["10.96.0.10"], "searches": ["default.svc.cluster.local"], "options": ["ndots:5"]},
            "cgroupPath": "/kubepods.slice",
        });
        let asked = asked.to_string();
        let result = cnitool.run("add", &pod, &[("CAP_ARGS", &asked)]).result();
        let want = json!({
            "nameservers": ["10.96.0.10"], "search": ["default.svc.cluster.local"], "options": ["ndots:5"],
        });
        assert_eq!(result["dns"], want, "{version}");
        assert_eq!(node.reserved(), ["10.244.1.77", "fd44:0:0:1::77"], "{version}");
        assert_eq!(agent.last_bind().mac, "02:00:00:00:00:42");
        assert!(pod.netns.ip("link show eth0").contains("02:00:00:00:00:42"));
        cnitool.run("del", &pod, &[("CAP_ARGS", &asked)]).result();
        node.assert_clean(&pod);
    }
}

#[test]
fn the_nearest_to_the_runtime_says_the_mac() {
    let node = Node::new("midonet-kube-ipam");
    let agent = Agent::start(&node.socket());
    let names = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0";
    let (in_args, in_config, of_runtime) = ("02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03");
    for (args, config, want) in [
        (format!("{names};MAC={in_args}"), json!({}), in_args),
        (format!("{names};MAC={in_args}"), json!({"args": {"cni": {"mac": in_config}}}), in_config),
        (
            format!("{names};MAC={in_args}"),
            json!({"args": {"cni": {"mac": in_config}}, "runtimeConfig": {"mac": of_runtime}}),
            of_runtime,
        ),
    ] {
        let pod = Sandbox::new("c1", "web-0");
        let mut whole = node.config.clone();
        for (key, value) in config.as_object().unwrap() {
            whole[key] = value.clone();
        }
        let call = |verb| node.call(verb, &pod, &whole, &[("CNI_ARGS", &args)]);
        assert_eq!(call("ADD").result()["interfaces"][1]["mac"], want);
        let link = pod.netns.run(|| plumbing::link::find("eth0")).unwrap().unwrap();
        assert_eq!(
            (link.mac.map(|byte| format!("{byte:02x}")).join(":").as_str(), agent.last_bind().mac.as_str()),
            (want, want)
        );
        call("DEL").result();
        node.assert_clean(&pod);
    }
}

#[test]
fn del_is_best_effort_and_always_releases() {
    for ipam in ["midonet-kube-ipam", "host-local"] {
        for (what, change, variables) in [
            ("no namespace", json!({}), vec![("CNI_NETNS", "")]),
            ("a vanished namespace", json!({}), vec![("CNI_NETNS", "/nonexistent/netns")]),
            ("no namespace and no prevResult", json!({"prevResult": null}), vec![("CNI_NETNS", "")]),
            (
                "a damaged prevResult",
                json!({"prevResult": {"ips": [{"address": "?"}], "interfaces": 7}}),
                vec![],
            ),
            ("a prevResult of nothing", json!({"prevResult": {}}), vec![]),
            ("a MAC that is none", json!({"runtimeConfig": {"mac": "?"}, "mtu": null}), vec![]),
        ] {
            let node = Node::new(ipam);
            let _agent = Agent::start(&node.socket());
            let pod = Sandbox::new("c1", "web-0");
            let result = node.add(&pod).result();
            let mut config = node.config.clone();
            config["prevResult"] = result;
            for (key, value) in change.as_object().unwrap() {
                config[key] = value.clone();
            }
            for _ in 0..2 {
                assert_eq!(node.call("DEL", &pod, &config, &variables).result(), Value::Null, "{what}");
                assert_eq!(node.reserved(), Vec::<String>::new(), "{what}");
                assert_eq!(node.interfaces(), [], "{what}");
            }
        }
        // The interface went with somebody else.
        let node = Node::new(ipam);
        let _agent = Agent::start(&node.socket());
        let pod = Sandbox::new("c1", "web-0");
        node.add(&pod).result();
        pod.netns.ip("link del eth0");
        node.del(&pod).result();
        node.assert_clean(&pod);
    }
}

#[test]
fn a_damaged_memory_of_libcni_does_not_stop_del() {
    let node = Node::new("midonet-kube-ipam");
    let _agent = Agent::start(&node.socket());
    for damage in ["", "{", r#"{"kind": "cniCacheV1", "result": {"cniVersion": "1.1.0", "ips": 7}}"#] {
        let cnitool = Cnitool::new(&node, "1.1.0", std::slice::from_ref(&node.config));
        let pod = Sandbox::new("", "web-0");
        cnitool.must("add", &pod);
        std::fs::write(cnitool.cached().unwrap(), damage).unwrap();
        cnitool.must("del", &pod);
        node.assert_clean(&pod);
    }
}

#[test]
fn the_plugins_own_namespace_may_be_meant() {
    let node = Node::new("midonet-kube-ipam");
    let _agent = Agent::start(&node.socket());
    let pod = Sandbox::new("c1", "web-0");
    let own = node.host.path().to_str().unwrap();
    for word in ["1", "true", "TRUE"] {
        let call =
            |verb| node.call(verb, &pod, &node.config, &[("CNI_NETNS", own), ("CNI_NETNS_OVERRIDE", word)]);
        call("ADD").result();
        let up = |name: &str| node.interfaces().iter().any(|link| link.up && link.name == name);
        assert!(up("eth0") && up("mido24d07f86e30"), "both ends are on the node");
        call("DEL").result();
        assert!(node.reserved().is_empty());
        assert!(node.interfaces().iter().all(|link| !link.up && link.name.starts_with("midodead")));
    }
    let (code, _) =
        node.call("ADD", &pod, &node.config, &[("CNI_NETNS", own), ("CNI_NETNS_OVERRIDE", "0")]).error();
    assert_eq!(code, 8);
    // DEL takes it for a namespace that is gone.
    node.add(&pod).result();
    node.call("DEL", &pod, &node.config, &[("CNI_NETNS", own)]).result();
    assert!(node.reserved().is_empty());
}

#[test]
fn errors_have_the_specifications_codes() {
    let node = Node::new("midonet-kube-ipam");
    let _agent = Agent::start(&node.socket());
    let pod = Sandbox::new("c1", "web-0");
    let with = |key: &str, value: Value| {
        let mut config = node.config.clone();
        config[key] = value;
        config
    };
    let good = &node.config;
    for (verb, config, variables, code, want) in [
        ("ADD", with("cniVersion", json!("2.0.0")), vec![], 1, "incompatible CNI versions"),
        (
            "ADD",
            with("runtimeConfig", json!({"deviceID": "0000:04:00.5"})),
            vec![],
            2,
            "runtimeConfig.deviceID=\"0000:04:00.5\"",
        ),
        ("CHECK", with("prevResult", json!({})), vec![], 3, "container c1 is unknown"),
        (
            "ADD",
            good.clone(),
            vec![("CNI_CONTAINERID", ""), ("CNI_NETNS", ""), ("CNI_IFNAME", "")],
            4,
            "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing",
        ),
        (
            "DEL",
            good.clone(),
            vec![("CNI_CONTAINERID", ""), ("CNI_IFNAME", "")],
            4,
            "[CNI_CONTAINERID,CNI_IFNAME]",
        ),
        ("GC", good.clone(), vec![("CNI_PATH", "")], 4, "required env variables [CNI_PATH] missing"),
        ("FROB", good.clone(), vec![], 4, "unknown CNI_COMMAND: FROB"),
        ("ADD", good.clone(), vec![("CNI_CONTAINERID", "../c1")], 4, "CNI_CONTAINERID"),
        ("ADD", good.clone(), vec![("CNI_IFNAME", "eth0/1")], 4, "CNI_IFNAME"),
        ("ADD", good.clone(), vec![("CNI_ARGS", "FOO=1")], 4, "unknown args FOO"),
        ("DEL", good.clone(), vec![("CNI_ARGS", "IgnoreUnknown=1;FOO")], 4, "invalid pair \"FOO\""),
        ("ADD", json!("no object"), vec![], 6, "configuration: must be an object"),
        ("ADD", with("name", Value::Null), vec![], 7, "missing network name"),
        ("ADD", with("name", json!("a/b")), vec![], 7, "invalid characters found in network name"),
        ("ADD", good.clone(), vec![("CNI_NETNS", "/nonexistent/netns")], 8, "/nonexistent/netns"),
        ("ADD", good.clone(), vec![("CNI_NETNS", "/proc/self/ns/net")], 8, "should not be the same"),
        ("ADD", good.clone(), vec![("CNI_NETNS", "/proc/self/ns/mnt")], 8, "is no network namespace"),
        ("STATUS", with("socket", json!("/nonexistent/api")), vec![], 50, "is midonet-kube-node running"),
    ] {
        let answer = node.call(verb, &pod, &config, &variables);
        assert_error("1.1.0", &answer.json);
        let (is, msg) = answer.error();
        assert!(is == code && msg.contains(want), "{verb} {variables:?}: {is} {msg}");
        node.assert_clean(&pod);
    }
    let mut unreadable = std::process::Command::new(env!("CARGO_BIN_EXE_midonet-kube-cni"));
    unreadable.env("CNI_COMMAND", "STATUS").stdin(std::fs::File::open("/").unwrap());
    let answer = Answer::of(&unreadable.output().unwrap());
    assert_error("1.1.0", &answer.json);
    assert_eq!(answer.error().0, 5);

    let answer = node.call("ADD", &pod, good, &[("CNI_ARGS", "IgnoreUnknown=1;FOO=1")]);
    assert!(answer.ok, "{}", answer.json);
    node.call("DEL", &pod, good, &[("CNI_ARGS", "FOO=1;IgnoreUnknown=true")]).result();
    node.assert_clean(&pod);
}

#[test]
fn without_a_command_it_says_what_it_is() {
    for name in ["midonet-kube-cni", "midonet-kube-ipam"] {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_midonet-kube-cni"), &program).unwrap();
        let output = std::process::Command::new(&program).env_remove("CNI_COMMAND").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && output.stdout.is_empty(), "{said}");
        let versions = format!("CNI protocol versions supported: {}", VERSIONS.join(", "));
        assert!(said.starts_with(&format!("CNI plugin {name} ")) && said.contains(&versions), "{said}");
    }
}
