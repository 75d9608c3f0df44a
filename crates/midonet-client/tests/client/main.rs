//! The client against a server that follows a script.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod limits;
mod login;
mod push;
mod replace;
mod requests;
mod server;
mod tls;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use midonet::{Chain, Resource};
use midonet_client::{Client, Deadlines, Limits, Observer, Options, Password};
use naming::Tenant;
use uuid::Uuid;

use server::{Reply, Server};

/// What an observer was told.
#[derive(Debug, Default)]
pub struct Log(Mutex<Vec<String>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Log {
    fn answered(&self, method: &'static str, resource: &'static str, code: u16, _: Duration) {
        self.0.lock().unwrap().push(format!("{method} {resource} {code}"));
    }

    fn failed(&self, method: &'static str, resource: &'static str) {
        self.0.lock().unwrap().push(format!("{method} {resource} failed"));
    }
}

fn options(url: String) -> Options {
    let mut options = Options::new(url, "admin", Password::new("s3cret"), "k8s");
    options.deadlines = Deadlines {
        connect: Duration::from_secs(2),
        request: Duration::from_secs(5),
        turn: Duration::from_secs(5),
    };
    let (min, max) = (Duration::from_millis(20), Duration::from_millis(100));
    options.limits = Limits { concurrency: 4, pause_min: min, pause_max: max };
    options
}

fn client_of(server: &Server) -> (Client, Arc<Log>) {
    let log = Arc::new(Log::default());
    (Client::new(&options(server.url()), Arc::clone(&log) as Arc<dyn Observer>).unwrap(), log)
}

fn ok() -> Reply {
    Reply::Answer(201, String::new())
}

fn says(status: u16, message: &str) -> Reply {
    Reply::Answer(status, format!(r#"{{"message":"{message}","code":{status}}}"#))
}

fn id(name: &str) -> Uuid {
    Tenant::default().id("test", name)
}

fn chain(name: &str) -> Resource {
    Resource::top(Chain { id: id(name), tenant_id: String::new(), name: name.into() })
}
