//! Tokens: when they are had, renewed and shared, and that nobody gets to see them.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use midonet_client::{Class, Client, Observer};

use crate::server::{Reply, Server};
use crate::{Log, chain, client_of, ok, options, says};

/// An answer to a login.
fn token(key: &str, expires: &str) -> Reply {
    Reply::Answer(200, format!(r#"{{"key":"{key}","expires":{expires}}}"#))
}

fn denied() -> Reply {
    says(401, "Invalid token")
}

/// The token of each request, or none.
fn tokens(server: &Server) -> Vec<Option<String>> {
    server.requests().iter().map(|request| request.headers.get("x-auth-token").cloned()).collect()
}

#[tokio::test]
async fn the_login_comes_when_midonet_asks_for_it() {
    let server = Server::start([
        ("POST /chains", denied()),
        ("POST /login", token("t1", r#""Fri, 31-12-2199 23:59:59 UTC""#)),
        ("POST /chains", ok()),
        ("POST /chains", ok()),
        ("POST /chains", denied()),
        ("POST /login", token("t2", "null")),
        ("POST /chains", ok()),
    ])
    .await;
    let (client, log) = client_of(&server);
    let report = client.push(&[chain("a"), chain("b"), chain("c")]).await.unwrap();
    server.finish();
    assert_eq!((report.created, report.requests), (3, 7));
    let t = |text: &str| Some(text.to_owned());
    assert_eq!(tokens(&server), [None, None, t("t1"), t("t1"), t("t1"), None, t("t2")]);
    let login = &server.requests()[1];
    assert_eq!(login.headers["authorization"], "Basic YWRtaW46czNjcmV0");
    assert_eq!(login.headers["x-auth-project"], "k8s");
    assert!(!login.headers.contains_key("accept"));
    assert_eq!(log.lines()[..3], ["post Chain 401", "post login 200", "post Chain 201"]);
}

#[tokio::test]
async fn a_server_that_asks_for_nothing_gets_no_password() {
    let server = Server::start([("*", ok())]).await;
    client_of(&server).0.create(&chain("a")).await.unwrap();
    assert!(!server.requests()[0].headers.contains_key("authorization"));
}

/// The time in so many seconds, as MidoNet writes it: up to one less, since it has no parts of seconds.
fn in_seconds(seconds: u64) -> String {
    let at = std::time::SystemTime::now() + Duration::from_secs(seconds);
    let at = format!("@{}", at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs());
    let date =
        Command::new("date").args(["-u", "-d", &at, "+\"%a, %d-%m-%Y %H:%M:%S UTC\""]).output().unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

/// The token of the last request, after three quarters of the first one's time are over and a renewal got that answer.
async fn token_after_renewal(answer: Reply) -> Option<String> {
    let server = Server::start([
        ("POST /chains", denied()),
        ("POST /login", token("t1", &in_seconds(6))),
        ("POST /chains", ok()),
        ("POST /login", answer),
        ("POST /chains", ok()),
        ("POST /chains", ok()),
    ])
    .await;
    let (client, _) = client_of(&server);
    client.create(&chain("a")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(4550)).await;
    client.create(&chain("b")).await.unwrap();
    client.create(&chain("c")).await.unwrap();
    server.finish();
    tokens(&server)[4].clone()
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    assert_eq!(token_after_renewal(token("t2", &in_seconds(3600))).await.as_deref(), Some("t2"));
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_used_as_long_as_midonet_takes_it() {
    assert_eq!(token_after_renewal(Reply::Answer(500, String::new())).await.as_deref(), Some("t1"));
}

#[tokio::test]
async fn many_requests_wait_for_one_login() {
    let mut script = vec![("POST /chains", denied()); 4];
    script.extend([("POST /login", token("t1", "null")), ("*", ok())]);
    let server = Server::start(script).await;
    let (client, log) = client_of(&server);
    let tasks: Vec<_> = (0..4)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move { client.create(&chain(&number.to_string())).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    server.finish();
    assert_eq!(log.lines().iter().filter(|line| line.starts_with("post login")).count(), 1);
}

#[tokio::test]
async fn credentials_that_are_rejected_are_told_once_for_all_and_not_shown() {
    let mut script = vec![("POST /chains", denied()); 4];
    script.push(("POST /login", says(401, "No such user admin with s3cret or YWRtaW46czNjcmV0")));
    let server = Server::start(script).await;
    let (client, log) = client_of(&server);
    let tasks: Vec<_> = (0..4)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move { client.create(&chain(&number.to_string())).await })
        })
        .collect();
    for task in tasks {
        let error = task.await.unwrap().unwrap_err();
        assert_eq!(error.class(), Class::Credentials);
        let said = format!("{error} {error:?}");
        assert!(said.contains("POST /login: MidoNet answers 401 Unauthorized: No such user admin with (not shown) or (not shown)"), "{said}");
        assert!(said.contains("; correct the user, password and project"), "{said}");
        assert!(!said.contains("s3cret") && !said.contains("YWRtaW46czNjcmV0"), "{said}");
    }
    server.finish();
    assert_eq!(log.lines().iter().filter(|line| line.starts_with("post login")).count(), 1);
}

#[tokio::test]
async fn a_token_that_is_not_accepted_at_once_ends_in_an_error() {
    let server = Server::start([
        ("POST /chains", denied()),
        ("POST /login", token("t1secret", "null")),
        ("POST /chains", says(401, "Invalid token t1secret")),
    ])
    .await;
    let (client, _) = client_of(&server);
    let error = client.create(&chain("a")).await.unwrap_err();
    server.finish();
    assert_eq!((error.class(), error.path()), (Class::Credentials, "/chains"));
    let said = format!("{error} {error:?} {client:?}");
    assert!(said.contains("Invalid token (not shown)") && !said.contains("t1secret"), "{said}");
}

#[tokio::test]
async fn an_answer_that_is_no_token_is_not_repeated() {
    for body in [r#"{"key":"a\u0000secret"}"#, r#"{"key":424242}"#, "<html>secret"] {
        let server =
            Server::start([("POST /chains", denied()), ("POST /login", Reply::Answer(200, body.into()))])
                .await;
        let error = client_of(&server).0.create(&chain("a")).await.unwrap_err().to_string();
        assert!(error.starts_with("POST /login: the answer of MidoNet is no token; "), "{error}");
        assert!(!error.contains("secret") && !error.contains("4242"), "{error}");
    }
}

#[test]
fn nothing_secret_is_printed() {
    let options = options("http://127.0.0.1:1/midonet-api".into());
    let client = Client::new(&options, Arc::new(Log::default()) as Arc<dyn Observer>).unwrap();
    let said = format!("{options:?} {client:?}");
    assert!(said.contains("http://127.0.0.1:1/midonet-api") && !said.contains("s3cret"), "{said}");
    let mut wrong = options;
    wrong.user = "a\nb".into();
    wrong.project = "a\nb".into();
    let said = Client::new(&wrong, Arc::new(Log::default()) as Arc<dyn Observer>).unwrap_err().to_string();
    assert!(said.contains("project for MidoNet has a character"), "{said}");
}
