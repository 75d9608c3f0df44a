//! The client against a strict stand-in for MidoNet.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod changes;
mod faults;
mod order;
mod outage;
mod repeated;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use midonet::{Resource, RouteType};
use midonet_client::{Client, Deadlines, Limits, Nobody, Options, Password};
use midonet_standin::{Access, Standin, Store, Topology};
use naming::Tenant;
use uuid::Uuid;

const LIMITS: Limits =
    Limits { concurrency: 4, pause_min: Duration::from_millis(5), pause_max: Duration::from_millis(20) };

/// A server that has the hosts and nothing else, and asks for a login.
fn store() -> Store {
    let mut store = Store::new(1);
    let (user, password) = ("admin".into(), "s3cret".into());
    store.set_access(Access::Tokens { user, password, project: Some("k8s".into()), lifetime: 3600 });
    add_hosts(&mut store);
    store
}

fn add_hosts(store: &mut Store) {
    for name in topology::NODES {
        store.add_host(id("host", name), name);
    }
}

async fn start() -> (Standin, Client) {
    let standin = Standin::start(store()).await.unwrap();
    let client = client_of(&standin, Duration::from_secs(5));
    (standin, client)
}

/// A client that waits so long for an answer.
fn client_of(standin: &Standin, deadline: Duration) -> Client {
    let mut options = Options::new(standin.url(), "admin", Password::new("s3cret"), "k8s");
    options.deadlines =
        Deadlines { connect: Duration::from_secs(2), request: deadline, turn: Duration::from_secs(5) };
    options.limits = LIMITS;
    Client::new(&options, Arc::new(Nobody)).unwrap()
}

/// One id for each kind and name.
fn id(kind: &str, name: &str) -> Uuid {
    Tenant::default().id(kind, name)
}

/// Pushes lists of resources, and those that fail again, as the pusher does, until all are there. How many requests it
/// took.
async fn converge(client: &Client, wanted: &[Vec<Resource>]) -> usize {
    let mut requests = 0;
    let mut left: Vec<_> = wanted.iter().collect();
    for _ in 0..100 {
        let mut failed = Vec::new();
        for list in left {
            match client.push(list).await {
                Ok(report) => requests += report.requests,
                Err(error) => {
                    requests += error.report.requests;
                    failed.push(list);
                }
            }
        }
        if failed.is_empty() {
            return requests;
        }
        left = failed;
    }
    panic!("not pushed: {left:?}");
}

/// Removes lists of resources, and tries again where that fails. How many requests it took.
async fn remove(client: &Client, unwanted: &[Vec<Resource>]) -> usize {
    let mut requests = 0;
    let mut left: Vec<_> = unwanted.iter().rev().collect();
    for _ in 0..100 {
        let mut failed = Vec::new();
        for list in left {
            match client.remove(list).await {
                Ok(report) => requests += report.requests,
                Err(error) => {
                    requests += error.report.requests;
                    failed.push(list);
                }
            }
        }
        if failed.is_empty() {
            return requests;
        }
        left = failed;
    }
    panic!("not removed: {left:?}");
}

/// What the server has, without what tells nothing: the ids of routes that it made, and the order of what has none.
fn there(standin: &Standin) -> Topology {
    let mut all = standin.with_store(|store| store.topology()).unwrap();
    for node in &mut all.routes {
        if node.route.route_type == RouteType::Local {
            node.route.id = Uuid::nil();
            node.automatic = true;
        }
    }
    all.routes.sort_by_key(|node| format!("{node:?}"));
    all.macs.sort_by_key(|entry| format!("{entry:?}"));
    all.arps.sort_by_key(|entry| format!("{entry:?}"));
    for (_, hosts) in &mut all.tunnel_zones {
        hosts.sort_by_key(|host| host.host_id);
    }
    all
}

/// What a server has to which this was pushed without any trouble.
async fn expected(wanted: &[Vec<Resource>]) -> Topology {
    let (standin, client) = start().await;
    for list in wanted {
        client.push(list).await.unwrap();
    }
    there(&standin)
}

fn count(lists: &[Vec<Resource>]) -> usize {
    lists.iter().map(Vec::len).sum()
}
