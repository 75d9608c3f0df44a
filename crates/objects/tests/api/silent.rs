//! Connections that went silent, servers that ask to wait, and answers without an end.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::faults::{Authority, trusting};
use super::*;

/// What forwards connections to a server, until it stops to: it neither closes them nor refuses new ones.
struct Proxy {
    address: SocketAddr,
    forwards: watch::Sender<bool>,
}

impl Proxy {
    async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, target) = (listener.local_addr().unwrap(), server.address());
        let (forwards, forwarding) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(target).await.unwrap();
                let (client, server) = (client.into_split(), server.into_split());
                tokio::spawn(forward(client.0, server.1, forwarding.clone()));
                tokio::spawn(forward(server.0, client.1, forwarding.clone()));
            }
        });
        Self { address, forwards }
    }

    fn forward(&self, on: bool) {
        self.forwards.send_replace(on);
    }
}

/// Copies what arrives while that is wanted; what arrives otherwise is lost, and so is the connection.
async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    forwarding: watch::Receiver<bool>,
) {
    let mut data = [0; 4096];
    let mut lost = false;
    while let Ok(count @ 1..) = from.read(&mut data).await {
        lost |= !*forwarding.borrow();
        if !lost && to.write_all(&data[..count]).await.is_err() {
            return;
        }
    }
    if lost {
        std::future::pending::<()>().await;
    }
}

async fn watched(server: &Server, changes: &mut Feed) {
    assert_eq!(changes.next().await, "=a");
    until("the watch", DEADLINE, || server.count(Kind::Watch) == 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await; // its beginning arrives
}

/// The clock stands still and jumps to the next timer once nothing else is to do.
#[tokio::test]
async fn a_half_open_connection_is_noticed_and_replaced() {
    let authority = Authority::new();
    let b = node("b", "10.2.0.0/24", "9");
    let server = Server::start_with(
        [
            (Kind::List, list("1", &[a("1")])),
            (Kind::Watch, idle()),
            (Kind::Watch, Reply::Stream(vec![event("ADDED", &b)], End::Open)),
        ],
        Some(authority.http2("127.0.0.1")),
    )
    .await;
    let proxy = Proxy::to(&server).await;
    let (_directory, connection) = trusting(&format!("https://{}", proxy.address), &authority).await;
    let (health, mut changes) = (connection.health(), Feed::of(&connection));
    watched(&server, &mut changes).await;
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!((health.error(), server.count(Kind::Watch)), (None, 1), "silent, but it answers pings");

    proxy.forward(false);
    let began = Instant::now();
    until("it is noticed", Duration::from_secs(45), || health.error().is_some()).await;
    assert!(began.elapsed() > Duration::from_secs(14), "{:?}", began.elapsed());
    let error = health.error().unwrap();
    let want = format!("lost the connection to the API server https://{}", proxy.address);
    assert!(error.starts_with(&want), "{error}");
    until("and named while it lasts", DEADLINE, || {
        health.error().is_some_and(|error| error.contains("no connection within 5s"))
    })
    .await;
    assert_eq!(health.api_errors().get(Verb::Watch, Reason::Timeout), 0);

    proxy.forward(true);
    tokio::time::resume();
    assert_eq!(changes.next().await, "+b 10.2.0.0/24");
    until("all is well", DEADLINE, || health.error().is_none()).await;
    assert_eq!((server.count(Kind::List), server.count(Kind::Watch)), (1, 2), "nothing was lost");
    assert!(server.requests(Kind::Watch)[1].target.contains("resourceVersion=1"));
}

#[tokio::test]
async fn requests_share_one_http2_connection() {
    let authority = Authority::new();
    let script = [(Kind::List, list("1", &[a("1")])), (Kind::Watch, idle())];
    let server = Server::start_with(script, Some(authority.http2("127.0.0.1"))).await;
    let (_directory, connection) = trusting(&server.url(), &authority).await;
    watched(&server, &mut Feed::of(&connection)).await;
    assert_eq!(keepalives(server.address()), 1);
}

#[tokio::test]
async fn the_kernel_tests_connections_too() {
    let server = Server::start([(Kind::List, list("1", &[a("1")])), (Kind::Watch, idle())]).await;
    let (_connection, mut changes) = follow(&server).await;
    watched(&server, &mut changes).await;
    assert!(keepalives(server.address()) > 0);
}

/// How many connections of this process to that port the kernel keeps a keepalive timer for (proc(5), tcp: the field
/// "tr" is 2).
fn keepalives(to: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let to = format!("0100007F:{:04X}", to.port());
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|line| line[2] == to && line[3] == "01" && line[5].starts_with("02:")).count()
}

#[tokio::test]
async fn a_watch_without_bookmarks_begins_anew() {
    let server = Server::start([(Kind::List, list("1", &[a("1")])), (Kind::Watch, idle())]).await;
    let (connection, mut changes) = follow(&server).await;
    watched(&server, &mut changes).await;
    tokio::time::pause();
    let began = Instant::now();
    until("another watch", Duration::from_secs(400), || server.count(Kind::Watch) == 2).await;
    assert!(began.elapsed() > Duration::from_secs(145), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(160), "{:?}", began.elapsed());
    assert_eq!((connection.health().error(), server.count(Kind::List)), (None, 1));
}

#[tokio::test]
async fn bookmarks_keep_a_watch() {
    let watch = Reply::Stream(Vec::new(), End::Bookmarks);
    let server = Server::start([(Kind::List, list("1", &[a("1")])), (Kind::Watch, watch)]).await;
    let (connection, mut changes) = follow(&server).await;
    watched(&server, &mut changes).await;
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(280)).await;
    assert_eq!((connection.health().error(), server.count(Kind::Watch)), (None, 1));
}

#[tokio::test]
async fn a_server_without_time_says_so_in_plain_text() {
    let words = "Too many requests, please try again later.";
    let server =
        Server::start([(Kind::List, Reply::Plain(429, words, 3)), (Kind::List, list("1", &[a("1")]))]).await;
    let began = Instant::now();
    let (connection, mut changes) = follow(&server).await;
    let health = connection.health();
    until("it is named", DEADLINE, || health.error().is_some()).await;
    let error = health.error().unwrap();
    assert!(error.contains("does not list nodes: 429 TooManyRequests: Too many requests"), "{error}");
    assert!(error.contains("API Priority and Fairness"), "{error}");
    assert_eq!(changes.next().await, "=a");
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(health.api_errors().get(Verb::List, Reason::Throttled), 1);
}

#[tokio::test]
async fn what_stands_before_a_server_is_understood() {
    let words = "<html>no server is available";
    let server =
        Server::start([(Kind::List, Reply::Plain(502, words, 0)), (Kind::List, list("1", &[a("1")]))]).await;
    let (connection, mut changes) = follow(&server).await;
    let health = connection.health();
    until("it is named", DEADLINE, || health.error().is_some()).await;
    let error = health.error().unwrap();
    assert!(error.contains("does not list nodes: 502 BadGateway: <html>no server"), "{error}");
    assert_eq!(changes.next().await, "=a");
    assert_eq!(health.api_errors().get(Verb::List, Reason::Server), 1);
}

#[tokio::test]
async fn a_list_without_an_end_is_given_up() {
    for (reply, want) in [
        (part("", "more", &[a("1")]), "the list has no end after 400 pages of 500"),
        (Reply::Endless, "more than 1 MiB stand around its objects"),
    ] {
        let server = Server::start([(Kind::List, reply)]).await;
        let (connection, _changes) = follow(&server).await;
        let health = connection.health();
        until(want, DEADLINE, || health.error().is_some()).await;
        let error = health.error().unwrap();
        assert!(
            error.contains("gives no usable answer to \"list nodes\"") && error.contains(want),
            "{error}"
        );
        assert!(server.count(Kind::List) <= 400);
    }
}
