//! One look at a source, as a check makes it.

use objects::{Look, LookError};
use server::review;

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

fn names(look: &Look) -> Vec<&str> {
    look.nodes.iter().flatten().map(|node| node.name.as_str()).collect()
}

#[tokio::test]
async fn all_nodes_are_read_and_what_is_not_allowed_is_named() {
    let server = Server::start([
        (Kind::List, part("", "more", &[a("1")])),
        (Kind::List, list("5", &[node("b", "no CIDR", "2"), node("c", "10.3.0.0/24", "3")])),
        (Kind::Review, review(true, "")),
        (Kind::Review, review(false, "")),
        (Kind::Review, review(true, "")),
        (Kind::Review, review(false, "no such role")),
    ])
    .await;
    let look = connect(&server).await.look(LIMIT).await.unwrap();
    assert_eq!(names(&look), ["a", "c"]);
    assert_eq!(look.problems.len(), 1, "{look:?}");
    assert!(look.problems[0].contains("Node b: spec.podCIDRs"), "{look:?}");
    let denied: Vec<_> = look.denied.iter().map(|fault| fault.problem()).collect();
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
    assert_eq!(attributes(2), json!({"verb": "patch", "resource": "pods"}));
    assert_eq!(attributes(3), json!({"verb": "get", "resource": "namespaces", "name": "kube-system"}));
}

#[tokio::test]
async fn a_server_that_reviews_nothing_is_not_taken_to_deny() {
    let server =
        Server::start([(Kind::List, list("5", &[a("1")])), (Kind::Review, refusal(404, "NotFound"))]).await;
    let look = connect(&server).await.look(LIMIT).await.unwrap();
    assert_eq!((names(&look), look.denied.len()), (vec!["a"], 0));
}

#[tokio::test]
async fn without_the_right_to_list_no_node_is_known() {
    let server =
        Server::start([(Kind::List, refusal(403, "Forbidden")), (Kind::Review, review(false, "because"))])
            .await;
    let look = connect(&server).await.look(LIMIT).await.unwrap();
    assert!(look.nodes.is_none());
    assert_eq!(look.denied.len(), 4, "{look:?}");
    assert!(look.denied[0].problem().contains("list nodes"), "{look:?}");
}

#[tokio::test]
async fn one_limit_holds_for_all_questions() {
    for script in [Vec::new(), vec![(Kind::List, list("5", &[a("1")]))]] {
        let server = Server::start(script).await;
        let connection = connect(&server).await;
        let limit = Duration::from_millis(300);
        let error = timeout(DEADLINE, connection.look(limit)).await.expect("the limit holds").unwrap_err();
        assert!(matches!(error, LookError::Api(_)));
        assert!(
            error.to_string().contains(&format!("{} gives no answer within 300ms", server.url())),
            "{error}"
        );
    }
}
