//! One reading of a source, as a check makes it.

use objects::{ListError, Listing};
use serde::Deserialize;
use server::review;

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

fn names(listing: &Listing<Node>) -> Vec<&str> {
    listing.objects.iter().flatten().map(|node| node.name.as_str()).collect()
}

#[tokio::test]
async fn all_nodes_are_read_and_what_is_not_allowed_is_named() {
    // Listing and watching of eight kinds, and five more tasks.
    let reviews = (0..21).map(|index| match index {
        1 => review(false, ""),
        17 => review(false, "no such role"),
        _ => review(true, ""),
    });
    let lists =
        [part("", "more", &[a("1")]), list("5", &[node("b", "no CIDR", "2"), node("c", "10.3.0.0/24", "3")])];
    let lists = lists.into_iter().map(|list| (Kind::List, list));
    let server = Server::start(lists.chain(reviews.map(|review| (Kind::Review, review)))).await;
    let listing = connect(&server).await.list::<Node>(LIMIT).await.unwrap();
    assert_eq!(names(&listing), ["a", "c"]);
    assert_eq!(listing.invalid.len(), 1, "{listing:?}");
    assert!(listing.invalid[&Key::new("b")].problem.starts_with("spec.podCIDRs"), "{listing:?}");
    let denied: Vec<_> = listing.denied.iter().map(|fault| fault.problem()).collect();
    let server_url = server.url();
    assert_eq!(
        denied,
        [
            format!(
                "the API server {server_url} does not allow to watch nodes: 403 Forbidden: no role allows it"
            ),
            format!(
                "the API server {server_url} does not allow to get namespaces/kube-system: 403 Forbidden: no such role"
            ),
        ]
    );
    let asked: Vec<serde_json::Value> = server
        .requests(Kind::Review)
        .iter()
        .map(|asked| serde_json::from_str(&asked.body).unwrap())
        .collect();
    let attributes = |index: usize| asked[index]["spec"]["resourceAttributes"].clone();
    assert_eq!(asked.len(), 21);
    let slices = json!({"verb": "watch", "group": "discovery.k8s.io", "resource": "endpointslices"});
    assert_eq!(attributes(5), slices);
    let policies =
        json!({"verb": "watch", "group": "policy.networking.k8s.io", "resource": "clusternetworkpolicies"});
    assert_eq!(attributes(11), policies);
    assert_eq!(attributes(16), json!({"verb": "patch", "resource": "pods", "subresource": "status"}));
    assert_eq!(attributes(17), json!({"verb": "get", "resource": "namespaces", "name": "kube-system"}));
    assert_eq!(attributes(18), json!({"verb": "patch", "resource": "nodes", "subresource": "status"}));
    assert_eq!(attributes(19), json!({"verb": "create", "group": "events.k8s.io", "resource": "events"}));
    let definition = json!({
        "verb": "watch", "group": "apiextensions.k8s.io", "resource": "customresourcedefinitions",
        "name": "clusternetworkpolicies.policy.networking.k8s.io",
    });
    assert_eq!(attributes(20), definition);
}

#[tokio::test]
async fn a_server_that_reviews_nothing_is_not_taken_to_deny() {
    let server =
        Server::start([(Kind::List, list("5", &[a("1")])), (Kind::Review, refusal(404, "NotFound"))]).await;
    let listing = connect(&server).await.list::<Node>(LIMIT).await.unwrap();
    assert_eq!((names(&listing), listing.denied.len()), (vec!["a"], 0));
}

#[tokio::test]
async fn without_the_right_to_list_no_node_is_known() {
    let server =
        Server::start([(Kind::List, refusal(403, "Forbidden")), (Kind::Review, review(false, "because"))])
            .await;
    let listing = connect(&server).await.list::<Node>(LIMIT).await.unwrap();
    assert!(listing.objects.is_none());
    assert_eq!(listing.denied.len(), 21, "{listing:?}");
    assert!(listing.denied[0].problem().contains("list nodes"), "{listing:?}");
}

#[tokio::test]
async fn one_limit_holds_for_all_questions() {
    for script in [Vec::new(), vec![(Kind::List, list("5", &[a("1")]))]] {
        let server = Server::start(script).await;
        let connection = connect(&server).await;
        let limit = Duration::from_millis(300);
        let error =
            timeout(DEADLINE, connection.list::<Node>(limit)).await.expect("the limit holds").unwrap_err();
        assert!(matches!(error, ListError::Api(_)));
        assert!(
            error.to_string().contains(&format!("{} gives no answer within 300ms", server.url())),
            "{error}"
        );
    }
}

/// What is asked is what deploy/midonet-kube.yaml grants: no more, and no less.
#[tokio::test]
async fn the_cluster_role_grants_what_is_asked() {
    let server = Server::start([(Kind::List, list("5", &[a("1")])), (Kind::Review, review(true, ""))]).await;
    connect(&server).await.list::<Node>(LIMIT).await.unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut asked: Vec<[String; 4]> = server
        .requests(Kind::Review)
        .iter()
        .map(|asked| {
            let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
            let asked = &body["spec"]["resourceAttributes"];
            let resource = match text(&asked["subresource"]) {
                none if none.is_empty() => text(&asked["resource"]),
                subresource => format!("{}/{subresource}", text(&asked["resource"])),
            };
            [text(&asked["group"]), resource, text(&asked["name"]), text(&asked["verb"])]
        })
        .collect();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/midonet-kube.yaml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let documents = serde_yaml_ng::Deserializer::from_str(&manifest)
        .map(|document| serde_json::Value::deserialize(document).unwrap());
    let role = documents.into_iter().find(|document| document["kind"] == "ClusterRole").unwrap();
    let mut granted = Vec::new();
    let all = |rule: &serde_json::Value, key: &str| -> Vec<String> {
        rule[key].as_array().map(|all| all.iter().map(text).collect()).unwrap_or_default()
    };
    for rule in role["rules"].as_array().unwrap() {
        let mut names = all(rule, "resourceNames");
        names.extend(names.is_empty().then(String::new));
        for group in all(rule, "apiGroups") {
            for resource in all(rule, "resources") {
                for (name, verb) in
                    names.iter().flat_map(|name| all(rule, "verbs").into_iter().map(move |verb| (name, verb)))
                {
                    granted.push([group.clone(), resource.clone(), name.clone(), verb]);
                }
            }
        }
    }
    asked.sort();
    granted.sort();
    assert_eq!(asked, granted);
}
