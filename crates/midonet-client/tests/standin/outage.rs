//! MidoNet loses what it has, or is away.

use std::time::{Duration, Instant};

use midonet_client::Class;
use midonet_standin::Store;

use crate::topology::wanted;
use crate::{add_hosts, converge, count, expected, start, there};

#[tokio::test]
async fn what_was_lost_is_made_again() {
    let (standin, client) = start().await;
    let wanted = wanted();
    converge(&client, &wanted).await;
    standin.with_store(Store::lose_topology);
    assert_eq!(converge(&client, &wanted).await, count(&wanted));
    assert_eq!(there(&standin), expected(&wanted).await);
}

#[tokio::test]
async fn what_is_lost_during_a_push_is_made_by_the_next() {
    let wanted = wanted();
    for lost_after in 0..wanted.len() {
        let (standin, client) = start().await;
        for (number, list) in wanted.iter().enumerate() {
            // It fails where it needs what was lost.
            let _ = client.push(list).await;
            if number == lost_after {
                standin.with_store(Store::lose_topology);
            }
        }
        let requests = converge(&client, &wanted).await;
        assert!(requests <= 2 * count(&wanted), "{requests}");
        assert_eq!(there(&standin), expected(&wanted).await, "lost after list {lost_after}");
    }
}

#[tokio::test]
async fn hosts_that_come_back_later_get_their_bindings() {
    let (standin, client) = start().await;
    let wanted = wanted();
    converge(&client, &wanted).await;
    standin.with_store(Store::wipe);
    let mut failed = 0;
    for list in &wanted {
        if let Err(error) = client.push(list).await {
            assert_eq!(error.error.class(), Class::Missing, "{error}");
            failed += 1;
        }
    }
    assert!(failed >= 4, "{failed}");
    standin.with_store(add_hosts);
    let requests = converge(&client, &wanted).await;
    assert!(requests <= 2 * count(&wanted), "{requests}");
    assert_eq!(there(&standin), expected(&wanted).await);
}

#[tokio::test]
async fn a_server_that_is_away_and_comes_back_empty() {
    let (mut standin, client) = start().await;
    let wanted = wanted();
    converge(&client, &wanted).await;
    standin.stop().await;
    standin.with_store(|store| {
        store.lose_topology();
        store.expire_tokens();
    });
    for _ in 0..3 {
        let error = client.push(&wanted[0]).await.unwrap_err();
        assert_eq!((error.error.class(), error.index), (Class::Unreachable, 0));
    }
    standin.take_log();
    let began = Instant::now();
    let pushing = tokio::spawn({
        let (client, wanted) = (client.clone(), wanted.clone());
        async move { converge(&client, &wanted).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    standin.restart().await.unwrap();
    let away = began.elapsed();
    let requests = pushing.await.unwrap();
    // One request after each pause, which is 5 ms at least. When the server is back, the lists whose turn it is may need
    // what others before them did not push.
    let tries = usize::try_from(away.as_millis()).unwrap() / 5 + 1;
    assert!(requests <= 2 * count(&wanted) + 2 + tries, "{requests} with {tries} in vain");
    let arrived = usize::try_from(standin.log().total()).unwrap();
    assert!(arrived <= 2 * count(&wanted) + 2, "{arrived}");
    assert_eq!(there(&standin), expected(&wanted).await);
}
