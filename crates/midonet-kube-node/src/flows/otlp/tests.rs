use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

/// What the collector answers, one after the other; then always the last one.
type Answers = Arc<Mutex<Vec<(StatusCode, Value)>>>;

/// A collector at an address of the loopback. It hands on the requests that it gets.
async fn collector(
    address: &str,
    answers: &[(StatusCode, Value)],
) -> (Uri, UnboundedReceiver<(HeaderMap, Value)>) {
    async fn take(
        State((answers, requests)): State<(Answers, UnboundedSender<(HeaderMap, Value)>)>,
        headers: HeaderMap,
        body: Bytes,
    ) -> (StatusCode, String) {
        requests.send((headers, serde_json::from_slice(&body).unwrap())).unwrap();
        let mut answers = answers.lock().unwrap();
        let (status, body) = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
        (status, body.to_string())
    }
    let (sender, receiver) = unbounded_channel();
    let listener = TcpListener::bind(address).await.unwrap();
    let at: SocketAddr = listener.local_addr().unwrap();
    let answers = Arc::new(Mutex::new(answers.to_vec()));
    let router = Router::new().route("/v1/logs", post(take)).with_state((answers, sender));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{at}/v1/logs").parse().unwrap(), receiver)
}

fn counts(outcomes: &Outcomes) -> [u64; 3] {
    Outcome::ALL.map(|outcome| outcomes.get(outcome))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn records_come_to_the_collector() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (endpoint, mut requests) = collector(address, &[(StatusCode::OK, json!({}))]).await;
        let outcomes = Outcomes::default();
        let (queue, exporter) = Queue::new("node1", &endpoint, &outcomes);
        let running = tokio::spawn(exporter.run());
        for number in 0..3 {
            queue.add(json!({"number": number}).to_string());
        }
        let (headers, body) = timeout(PATIENCE, requests.recv()).await.unwrap().unwrap();
        assert_eq!(headers["content-type"], "application/json");
        let records = &body["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
        assert_eq!(*records, json!([{"number": 0}, {"number": 1}, {"number": 2}]));
        until("they are counted", || counts(&outcomes) == [3, 0, 0]).await;
        assert!(queue.problem().is_none());
        drop(queue);
        timeout(PATIENCE, running).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_a_collector_does_not_take_is_sent_again_or_counted() {
    let rejected = json!({"partialSuccess": {"rejectedLogRecords": "1", "errorMessage": "too old"}});
    let answers = [
        (StatusCode::SERVICE_UNAVAILABLE, json!({})),
        (StatusCode::OK, rejected),
        (StatusCode::BAD_REQUEST, json!({})),
        (StatusCode::OK, json!({})),
    ];
    let (endpoint, mut requests) = collector("127.0.0.1:0", &answers).await;
    let outcomes = Outcomes::default();
    let (queue, exporter) = Queue::new("node1", &endpoint, &outcomes);
    tokio::spawn(exporter.run());
    let (first, second) = (json!({"number": 1}).to_string(), json!({"number": 2}).to_string());
    queue.add(first);
    queue.add(second);
    until("one of two is rejected", || counts(&outcomes) == [1, 0, 1]).await;
    let mut sent = Vec::new();
    while let Ok(request) = requests.try_recv() {
        sent.push(request.1);
    }
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0], sent[1], "the same is sent again");
    until("it is a problem", || queue.problem().is_some()).await;
    // What is wrong with a request does not become right.
    queue.add("{}".to_owned());
    until("it is gone", || counts(&outcomes) == [1, 0, 2]).await;
    let problem = queue.problem().unwrap();
    assert!(format!("{problem:?}").contains("400"), "{problem:?}");
    queue.add("{}".to_owned());
    until("the next one comes", || counts(&outcomes) == [2, 0, 2]).await;
    assert!(queue.problem().is_none());
}

#[tokio::test]
async fn nobody_waits_for_a_collector() {
    let outcomes = Outcomes::default();
    let (queue, _exporter) = Queue::new("node1", &"http://127.0.0.1:9/v1/logs".parse().unwrap(), &outcomes);
    for _ in 0..WAITING + 5 {
        queue.add("{}".to_owned());
    }
    assert_eq!(counts(&outcomes), [0, 5, 0]);
}

#[tokio::test]
async fn a_collector_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Uri = format!("http://{}/v1/logs", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let (queue, exporter) = Queue::new("node1", &endpoint, &Outcomes::default());
    tokio::spawn(exporter.run());
    queue.add("{}".to_owned());
    until("it is a problem", || queue.problem().is_some()).await;
    let problem = format!("{:?}", queue.problem().unwrap());
    assert!(problem.contains("refused") && problem.contains(&endpoint.to_string()), "{problem}");
}
