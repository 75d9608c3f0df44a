use serde_json::json;

use super::*;

fn read(args: &str, runtime: &serde_json::Value) -> Result<Request, Error> {
    let env = Environment {
        command: Command::Add,
        container_id: "c1".into(),
        netns: Some("/run/netns/x".into()),
        ifname: "eth0".into(),
        args: args.into(),
        path: String::new(),
        netns_override: false,
    };
    let config = json!({"cniVersion": "1.0.0", "name": CLUSTER_NETWORK, "ipam": {"type": "x"}, "runtimeConfig": runtime});
    Request::read(env, cni::document(config.to_string().into()).unwrap())
}

fn pod(args: &str) -> String {
    read(args, &json!({})).ok().unwrap().pod.to_string()
}

#[test]
fn the_pod_and_what_goes_without_one() {
    assert_eq!(pod(""), "cni/c1");
    assert_eq!(pod("IgnoreUnknown=1;FOO=bar"), "cni/c1");
    let args = "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0;K8S_POD_UID=u;K8S_POD_INFRA_CONTAINER_ID=c1";
    let request = read(args, &json!({})).ok().unwrap();
    assert_eq!((request.pod.to_string().as_str(), request.pod_uid.as_deref()), ("ns/web-0", Some("u")));
    assert_eq!(request.alias().encode(), "ns/web-0 c1 eth0 u");
    let mut conf = request.conf.clone();
    conf.net.network = "other".into();
    assert_eq!(Request { conf, ..request }.alias().encode(), "ns/web-0 c1 eth0 u other");
}

#[test]
fn the_capability_outranks_cni_args() {
    let mac = |runtime| read("MAC=02:00:00:00:00:01", &runtime).ok().unwrap().mac.unwrap().to_string();
    assert_eq!(mac(json!({})), "02:00:00:00:00:01");
    assert_eq!(mac(json!({"mac": "02:00:00:00:00:02"})), "02:00:00:00:00:02");
}

#[test]
fn refusals() {
    for (args, want) in [
        ("FOO=1", "CNI_ARGS: unknown args FOO"),
        ("FOO", "CNI_ARGS: invalid pair"),
        ("K8S_POD_NAME=web-0", "go together"),
        ("K8S_POD_NAMESPACE=a/b;K8S_POD_NAME=x", "CNI_ARGS: K8S_POD_NAMESPACE: \"a/b\" cannot be a Pod's"),
        ("K8S_POD_NAMESPACE=a;K8S_POD_NAME=x y", "CNI_ARGS: K8S_POD_NAME: \"x y\""),
        ("MAC=02:00", "CNI_ARGS: MAC: \"02:00\" is not a MAC address"),
        ("MAC=ff:ff:ff:ff:ff:ff", "is no address of a single interface"),
    ] {
        let error = read(args, &json!({})).err().unwrap();
        assert_eq!(error.code, 4, "{args}: {error}");
        assert!(error.msg.contains(want), "{args}: {error}");
    }
    let error = read("FOO", &json!({"mac": 1})).err().unwrap();
    assert!(error.code == 4 && error.msg.contains("invalid pair") && error.msg.contains("runtimeConfig.mac"));
}
