use serde_json::{Value, json};

use super::*;

fn template() -> Template {
    let agent = json!({"spec": {
        "tolerations": [{"operator": "Exists"}], "imagePullSecrets": [{"name": "registry"}],
        "containers": [{"name": "agent", "image": "example.com/midonet-kube:1"}, {"name": "other", "image": "x"}],
    }});
    Template::of(&serde_json::from_value(agent).unwrap()).unwrap()
}

#[test]
fn pods_run_the_agents_image_without_any_privilege() {
    let made = pod(("ns", NEAR), "node1", &template()).unwrap();
    let made = serde_json::to_value(made).unwrap();
    let spec = &made["spec"];
    let container = &spec["containers"][0];
    assert_eq!(container["image"], "example.com/midonet-kube:1");
    assert_eq!(
        (&spec["tolerations"][0]["operator"], &spec["imagePullSecrets"][0]["name"]),
        (&json!("Exists"), &json!("registry"))
    );
    // Pod Security's level restricted.
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for key in ["hostNetwork", "hostPID", "hostIPC", "volumes"] {
        assert_eq!(spec[key], Value::Null, "{key}");
    }
    assert_eq!(
        container["args"],
        json!(["connectivity", "serve", "--name", "near", "--ports", "8080,8081,8082,8083"])
    );
}

#[test]
fn everything_has_its_place() {
    let placed = |away: Option<&str>| {
        let placement = Placement { home: "a".into(), away: away.map(str::to_owned) };
        placement.pods().into_iter().map(|(pod, node)| format!("{pod}:{node}")).collect::<Vec<_>>()
    };
    let home = ["client:a", "near:a", "confined:a", "other-namespace:a"];
    assert_eq!(placed(Some("b")), [&home[..], &["far:b", "guarded:b"]].concat());
    assert_eq!(placed(None), [&home[..], &["guarded:a"]].concat());
    let namespaces = Namespaces::of("1a2b");
    assert_eq!(namespaces.of_pod(CLIENT), "midokube-connectivity-1a2b");
    assert_eq!(namespaces.of_pod(OTHER_NAMESPACE), "midokube-connectivity-1a2b-other");
    let made = serde_json::to_value(namespace(&namespaces.own, 77).unwrap()).unwrap();
    assert_eq!(made["metadata"]["labels"][LABEL], RUNNING);
    assert_eq!(made["metadata"]["annotations"][UNTIL], "77");
}

#[test]
fn services_select_who_they_are_for() {
    let made: Vec<Value> =
        services("ns").unwrap().into_iter().map(|one| serde_json::to_value(one).unwrap()).collect();
    let of = |name: &str| made.iter().find(|one| one["metadata"]["name"] == name).unwrap();
    let labels = serde_json::to_value(pod(("ns", NEAR), "a", &template()).unwrap()).unwrap();
    let labels = &labels["metadata"]["labels"];
    for (name, is_near) in [
        ("echo", true),
        ("near", true),
        ("far", false),
        ("guarded", false),
        ("empty", false),
        ("moving", true),
    ] {
        let selector = of(name)["spec"]["selector"].as_object().unwrap();
        assert_eq!(selector.iter().all(|(key, value)| labels[key] == *value), is_near, "{name}");
    }
    assert_eq!(move_label(false)["metadata"]["labels"]["moving"], "false");
    assert_eq!(of("headless")["spec"]["clusterIP"], "None");
    assert_eq!(of("outer")["spec"]["externalTrafficPolicy"], "Local");
}

#[test]
fn policies_name_addresses_of_both_families() {
    let addresses = |texts: [&str; 2]| texts.map(|text| text.parse().unwrap());
    let made = policies(
        &Namespaces::of("x"),
        &addresses(["10.0.0.1", "fd00::1"]),
        &addresses(["10.0.0.2", "fd00::2"]),
    );
    let [guarded, confined] = made.unwrap().map(|one| serde_json::to_value(one).unwrap());
    let ingress = &guarded["spec"]["ingress"];
    let cidrs = |rule: &Value, pointer: &str| {
        let peers = rule["from"].as_array().unwrap().iter();
        peers.map(|peer| peer.pointer(pointer).unwrap().as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(cidrs(&ingress[2], "/ipBlock/cidr"), ["10.0.0.2/32", "fd00::2/128"]);
    assert_eq!(cidrs(&ingress[3], "/ipBlock/except/0"), ["10.0.0.1/32", "fd00::1/128"]);
    assert_eq!(
        ingress[0]["ports"],
        json!([{"protocol": "TCP", "port": 8080}, {"protocol": "UDP", "port": 8080}])
    );
    assert_eq!(confined["spec"]["policyTypes"], json!(["Egress"]));
}
