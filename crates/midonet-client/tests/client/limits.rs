//! How much is sent at once, and how little while the server is out of reach.

use std::sync::Arc;
use std::time::{Duration, Instant};

use midonet_client::{Class, Client, Nobody};

use crate::server::{Reply, Server};
use crate::{chain, client_of, ok, options, says};

/// So many pushes at once, each again and again until it succeeds; how many tries it took.
async fn push_all(client: &Client, count: usize) -> usize {
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut tries = 1;
                while client.push(&[chain(&number.to_string())]).await.is_err() {
                    tries += 1;
                }
                tries
            })
        })
        .collect();
    let mut tries = 0;
    for task in tasks {
        tries += task.await.unwrap();
    }
    tries
}

#[tokio::test]
async fn no_more_than_the_limit_runs_at_once() {
    let server = Server::start([("*", Reply::Late(Duration::from_millis(50), 201))]).await;
    let (client, _) = client_of(&server);
    let began = Instant::now();
    assert_eq!(push_all(&client, 20).await, 20);
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
    assert!(server.connections() <= 4, "{}", server.connections());
}

#[tokio::test]
async fn a_thousand_pushes_do_not_storm_a_server_that_is_down() {
    let server = Server::start([]).await;
    let address = server.address;
    let log = Arc::new(crate::Log::default());
    let client =
        Client::new(&options(server.url()), Arc::clone(&log) as Arc<dyn midonet_client::Observer>).unwrap();
    server.stop().await;
    let all = tokio::spawn({
        let client = client.clone();
        async move { push_all(&client, 1000).await }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let meanwhile = log.lines().len();
    // Pauses of 20 ms, 40 ms, 80 ms and then 100 ms, each ended by one request. Four requests may have been under way.
    assert!((5..45).contains(&meanwhile), "{meanwhile}");
    let server = Server::listen(address, [("*", ok())], None).await;
    let tries = all.await.unwrap();
    assert_eq!(server.requests().len(), 1000);
    assert!(tries < 1060, "{tries}");
}

#[tokio::test]
async fn an_operation_does_not_wait_for_ever() {
    let server = Server::start([("*", Reply::Answer(503, "down for maintenance".into()))]).await;
    let mut options = options(server.url());
    options.limits.pause_min = Duration::from_secs(600);
    options.limits.pause_max = Duration::from_secs(600);
    options.deadlines.turn = Duration::from_millis(200);
    let client = Client::new(&options, Arc::new(Nobody)).unwrap();
    let error = client.hosts().await.unwrap_err();
    assert_eq!((error.class(), error.status()), (Class::Unreachable, Some(503)));
    let error = client.push(&[chain("a")]).await.unwrap_err();
    assert_eq!(error.error.class(), Class::Unreachable);
    assert!(
        error
            .to_string()
            .contains("not sent, since: GET /hosts: MidoNet answers 503 Service Unavailable: down for"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_error_of_one_resource_is_no_pause() {
    let server = Server::start([("*", says(500, "no")), ("*", says(404, "no")), ("*", ok())]).await;
    let mut options = options(server.url());
    options.limits.pause_min = Duration::from_secs(600);
    let client = Client::new(&options, Arc::new(Nobody)).unwrap();
    for class in [Class::Failed, Class::Missing] {
        assert_eq!(client.push(&[chain("a")]).await.unwrap_err().error.class(), class);
    }
    assert_eq!(client.push(&[chain("a")]).await.unwrap().created, 1);
}

#[tokio::test]
async fn an_operation_that_is_given_up_leaves_its_place_to_others() {
    let stalls = ["*"; 4].map(|line| (line, Reply::Stall));
    let server = Server::start(stalls.into_iter().chain([("*", ok())])).await;
    let (client, _) = client_of(&server);
    for count in 1..=4 {
        let client = client.clone();
        let push = tokio::spawn(async move { client.push(&[chain("a")]).await });
        while server.requests().len() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        push.abort();
    }
    assert_eq!(client.push(&[chain("a")]).await.unwrap().created, 1);
}
