//! Whatever goes wrong with some of the requests, in the end everything is there, and nothing else.

use std::time::Duration;

use midonet_standin::{Effect, Fault};

use crate::topology::wanted;
use crate::{client_of, converge, count, expected, remove, start, there};

/// Pushes, and pushes again, while a fault is set; checks what is there, and how many requests that took: at most so many
/// times as many as without faults.
async fn survives(fault: Fault, deadline: Duration, times: usize) {
    let (standin, _) = start().await;
    let client = client_of(&standin, deadline);
    let wanted = wanted();
    standin.add_fault(fault.clone());
    let mut tries = Vec::new();
    for (round, best) in [(1, count(&wanted)), (2, 2 * count(&wanted))] {
        let requests = converge(&client, &wanted).await;
        assert_eq!(there(&standin), expected(&wanted).await, "round {round}: {fault:?}");
        assert!(requests <= times * best, "round {round}: {requests} of {best}: {fault:?}");
        // The server may not have seen a request on a connection that it was just closing.
        assert!(standin.take_log().total() <= u64::try_from(requests).unwrap(), "{fault:?}");
        tries.push(requests);
    }
    println!("{fault:?}: {tries:?} requests for {} resources", count(&wanted));
}

const SOON: Duration = Duration::from_millis(400);
const LATE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn tokens_that_are_refused() {
    survives(Fault::new(Effect::Answer(401)).percent(20), LATE, 3).await;
}

#[tokio::test]
async fn a_login_that_fails() {
    let logins = |effect| Fault::new(effect).resource("Login").times(3);
    for effect in [Effect::Answer(401), Effect::Answer(500), Effect::Close, Effect::CloseAfterwards] {
        survives(logins(effect), LATE, 2).await;
    }
}

#[tokio::test]
async fn errors() {
    for status in [404, 409, 500, 503] {
        survives(Fault::new(Effect::Answer(status)).percent(5), LATE, 4).await;
    }
}

#[tokio::test]
async fn closed_connections() {
    survives(Fault::new(Effect::Close).percent(20), LATE, 3).await;
}

#[tokio::test]
async fn what_is_done_and_not_answered() {
    survives(Fault::new(Effect::CloseAfterwards).percent(20), LATE, 3).await;
}

#[tokio::test]
async fn stalls_beyond_the_deadline() {
    survives(Fault::new(Effect::Stall).percent(3), SOON, 3).await;
}

#[tokio::test]
async fn tokens_that_expire_all_the_time() {
    let (standin, client) = start().await;
    let wanted = wanted();
    let (mut requests, mut ended) = (0, 0);
    for list in &wanted {
        standin.with_store(midonet_standin::Store::expire_tokens);
        ended += 1;
        requests += client.push(list).await.unwrap().requests;
    }
    assert_eq!(requests, count(&wanted) + 2 * ended);
    assert_eq!(there(&standin), expected(&wanted).await);
}

#[tokio::test]
async fn a_removal_among_faults_leaves_nothing() {
    let faults =
        [(401, 20), (409, 10), (500, 10), (503, 5)].map(|(status, part)| (Effect::Answer(status), part));
    for (effect, part) in faults.into_iter().chain([(Effect::Close, 20), (Effect::CloseAfterwards, 20)]) {
        let (standin, client) = start().await;
        let wanted = wanted();
        converge(&client, &wanted).await;
        standin.take_log();
        standin.add_fault(Fault::new(effect).percent(part));
        let requests = remove(&client, &wanted).await;
        assert!(requests <= 4 * count(&wanted), "{effect:?}: {requests}");
        println!("{effect:?}: {requests} requests to remove {}", count(&wanted));
        let left = there(&standin);
        assert!(left.resources().is_empty(), "{effect:?}: {left:?}");
    }
}
