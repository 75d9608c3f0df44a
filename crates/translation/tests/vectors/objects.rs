//! The objects of midonet-kubernetes' tests, and what becomes of them.

use translation::{
    Change, CustomResource, Endpoint, EndpointPort, EndpointSlice, Node, Owner, Pod, Reason, Service,
    ServicePort, Translator, Wanted, translation_name,
};

pub(crate) const HOST: &str = "44FB4381-C99D-4389-86C3-FDCA765BCBDE";

/// The change of the owner of this kind and name.
pub(crate) fn change(translator: &mut Translator, owner: &str) -> Change {
    let all = translator.take_changes();
    let of = |change: &Change| match &change.owner {
        Owner::Globals => owner == "globals",
        Owner::Object(object) => object.to_string() == owner,
    };
    all.into_iter().find(of).unwrap_or_else(|| panic!("{owner} did not change"))
}

pub(crate) fn written(change: &Change) -> Vec<CustomResource> {
    let Wanted::Set(set) = &change.wanted else { panic!("{change:?}") };
    set.iter().map(CustomResource::from).collect()
}

/// The names, in order.
pub(crate) fn names(change: &Change) -> Vec<String> {
    written(change).into_iter().map(|translation| translation.metadata.name).collect()
}

pub(crate) fn reasons(change: &Change) -> Vec<Reason> {
    change.problems.iter().map(|problem| problem.reason).collect()
}

/// The name of the Translation with this key.
pub(crate) fn named(kind: &str, key: &str) -> String {
    translation_name(kind, key).unwrap()
}

/// Kind and body of each resource.
pub(crate) fn bodies(translation: &CustomResource) -> Vec<(&str, &str)> {
    translation.resources.iter().map(|entry| (entry.kind.as_str(), entry.body.as_str())).collect()
}

pub(crate) fn node(change: impl FnOnce(&mut Node)) -> Node {
    let mut node = Node {
        name: "awesome-node".into(),
        uid: "node-uid".into(),
        pod_cidrs: vec!["10.1.2.0/24".into()],
        host_id: Some(HOST.into()),
        ..Node::default()
    };
    change(&mut node);
    node
}

pub(crate) fn pod() -> Pod {
    Pod {
        namespace: "foo".into(),
        name: "awesome-pod".into(),
        uid: "pod-uid".into(),
        node: "awesome-node".into(),
        ips: vec!["10.2.2.2".into()],
        mac_address: Some("33:22:11:11:22:33".into()),
        ..Pod::default()
    }
}

pub(crate) fn port(name: &str, protocol: &str, port: u16) -> ServicePort {
    ServicePort { name: name.into(), protocol: protocol.into(), port }
}

pub(crate) fn service() -> Service {
    Service {
        namespace: "foo".into(),
        name: "bar".into(),
        uid: "service-uid".into(),
        kind: "ClusterIP".into(),
        cluster_ips: vec!["192.2.0.1".into()],
        ports: vec![port("cat", "UDP", 8000), port("sheep", "TCP", 1000), port("dog", "TCP", 200)],
        ..Service::default()
    }
}

pub(crate) fn slice(name: &str, addresses: &[&str], ports: &[(&str, &str, u16)]) -> EndpointSlice {
    let endpoint = |address: &&str| Endpoint {
        address: (*address).into(),
        ready: true,
        serving: true,
        terminating: false,
    };
    let port = |(name, protocol, port): &(&str, &str, u16)| EndpointPort {
        name: (*name).into(),
        protocol: (*protocol).into(),
        port: *port,
    };
    EndpointSlice {
        namespace: "foo".into(),
        name: name.into(),
        service: "bar".into(),
        endpoints: addresses.iter().map(endpoint).collect(),
        ports: ports.iter().map(port).collect(),
        ..EndpointSlice::default()
    }
}

pub(crate) fn of_node(node: Node) -> Change {
    let mut translator = Translator::new("MyTenant");
    translator.set_node(node);
    change(&mut translator, "Node awesome-node")
}

pub(crate) fn of_pod(pod: Pod) -> Change {
    let mut translator = Translator::new("MyTenant");
    translator.set_node(node(|_| ()));
    translator.set_pod(pod);
    change(&mut translator, "Pod foo/awesome-pod")
}

pub(crate) fn of_service(service: Service, slices: Vec<EndpointSlice>) -> Change {
    let mut translator = Translator::new("MyTenant");
    translator.set_service(service);
    slices.into_iter().for_each(|slice| translator.set_slice(slice));
    change(&mut translator, "Service foo/bar")
}
