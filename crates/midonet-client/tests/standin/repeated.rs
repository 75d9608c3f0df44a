//! What a push costs, and that pushing again changes nothing and removing leaves nothing.

use std::time::Duration;

use midonet::Kind;
use midonet_client::Class;
use midonet_standin::{Effect, Fault, Topology};

use crate::topology::{chain, wanted};
use crate::{client_of, converge, count, expected, remove, start, there};

#[tokio::test]
async fn a_new_resource_takes_one_request_and_the_login_two() {
    let (standin, client) = start().await;
    let wanted = wanted();
    let requests = converge(&client, &wanted).await;
    assert_eq!(requests, count(&wanted) + 2);
    let log = standin.take_log();
    assert_eq!(log.total(), u64::try_from(requests).unwrap());
    assert_eq!((log.with_status(401), log.count("POST", "Login")), (1, 1));
    let topology = there(&standin);
    assert_eq!(topology.bridges.len(), 2);
    // What was pushed is what is there: each rule behind the one that was pushed after it.
    for (chain, rules) in &topology.chains {
        let pushed = wanted.iter().flatten().filter(|resource| resource.parent == Some(chain.id)).rev();
        let pushed: Vec<_> = pushed.map(|resource| resource.body.clone()).collect();
        assert_eq!(rules.iter().cloned().map(midonet::Body::from).collect::<Vec<_>>(), pushed);
    }
}

#[tokio::test]
async fn pushing_again_takes_two_requests_each_and_changes_nothing() {
    let (standin, client) = start().await;
    let wanted = wanted();
    converge(&client, &wanted).await;
    let before = standin.with_store(|store| store.topology()).unwrap();
    standin.take_log();
    for list in &wanted {
        let report = client.push(list).await.unwrap();
        assert_eq!((report.unchanged, report.requests), (list.len(), 2 * list.len()));
        assert!(!report.has_changes());
    }
    let log = standin.take_log();
    let written = log.last().filter(|entry| entry.method != "GET" && entry.status < 300);
    assert_eq!(written.collect::<Vec<_>>(), Vec::<&midonet_standin::Entry>::new());
    assert_eq!(standin.with_store(|store| store.topology()).unwrap(), before);
}

#[tokio::test]
async fn removing_takes_one_request_each_and_leaves_nothing() {
    let (standin, client) = start().await;
    let wanted = wanted();
    converge(&client, &wanted).await;
    standin.take_log();
    remove(&client, &wanted).await;
    let log = standin.take_log();
    // Where MidoNet fails because a bridge is gone, the bridge is asked for.
    assert!(log.total() <= u64::try_from(count(&wanted)).unwrap() + log.count("GET", "Bridge"));
    let left = there(&standin);
    assert_eq!(left, Topology { hosts: left.hosts.clone(), ..Topology::default() });
    // Again: nothing is there.
    let requests = remove(&client, &wanted).await;
    assert!(requests <= 2 * count(&wanted), "{requests}");
}

#[tokio::test]
async fn removing_in_the_order_of_pushing_leaves_nothing() {
    let (standin, client) = start().await;
    let mut wanted = wanted();
    converge(&client, &wanted).await;
    wanted.reverse();
    remove(&client, &wanted).await;
    let left = there(&standin);
    assert_eq!(left, Topology { hosts: left.hosts.clone(), ..Topology::default() });
}

#[tokio::test]
async fn pushes_of_everything_at_once_come_to_the_same() {
    let (standin, client) = start().await;
    let wanted = wanted();
    let mut left = wanted.clone();
    let mut rounds = 0;
    while !left.is_empty() {
        rounds += 1;
        assert!(rounds <= 10, "{left:?}");
        let tasks: Vec<_> = left
            .into_iter()
            .map(|list| {
                let client = client.clone();
                tokio::spawn(async move { client.push(&list).await.err().map(|error| (list, error)) })
            })
            .collect();
        left = Vec::new();
        for task in tasks {
            if let Some((list, error)) = task.await.unwrap() {
                // A host that is in no tunnel zone yet is a conflict.
                assert!(matches!(error.error.class(), Class::Missing | Class::Conflict), "{error}");
                left.push(list);
            }
        }
    }
    assert_eq!(there(&standin), expected(&wanted).await);
}

/// One operation tries whether MidoNet is back. The others go on as soon as it has an answer.
#[tokio::test]
async fn those_who_wait_for_a_trial_wait_for_its_first_answer_only() {
    let (standin, _) = start().await;
    let client = client_of(&standin, Duration::from_secs(30));
    standin.add_fault(Fault::new(Effect::Answer(503)).times(1));
    assert_eq!(client.hosts().await.unwrap_err().class(), Class::Unreachable);
    standin.add_fault(Fault::new(Effect::Stall).resource("TunnelZone"));
    let of = |kind| wanted().into_iter().flatten().find(|resource| resource.kind() == kind).unwrap();
    let two = [of(Kind::Router), of(Kind::TunnelZone)];
    let spawn = |list: Vec<_>| {
        let client = client.clone();
        tokio::spawn(async move { client.push(&list).await })
    };
    let trial = spawn(two.into());
    // It has its place, and waits for the end of the pause.
    tokio::task::yield_now().await;
    let others = ["a", "b", "c"].map(|name| spawn(vec![chain(name)]));
    for other in others {
        let report = tokio::time::timeout(Duration::from_secs(5), other).await.unwrap().unwrap().unwrap();
        assert_eq!(report.created, 1);
    }
    assert!(!trial.is_finished());
    trial.abort();
}
