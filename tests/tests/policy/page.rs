//! `midokube ui` in front of real agents: what the page gets of traffic, of what a policy denies, of Pods and of packets that
//! are traced.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use e2e::{DEADLINE, pod};
use lab::Pod;
use lab::probe::ECHO_PORT;
use serde_json::Value;

use crate::scene::{Scene, allow_from, app};

/// The program, and a browser's memory.
pub(crate) struct Page {
    child: Child,
    address: String,
    directory: tempfile::TempDir,
}

impl Page {
    pub(crate) fn open(scene: &Scene) -> Self {
        let mut command = Command::new(testkit::bin("midokube"));
        command.args(["ui", "--this-node", "--listen", "127.0.0.1:0"]);
        for node in ["node1", "node2"] {
            command.arg("--socket").arg(scene.lab.socket(node).unwrap());
        }
        let command = command.env_remove("MIDONETKUBE_SOCKET").stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (address, _) = line.trim().split_once("/?").unwrap_or_else(|| panic!("{line:?}"));
        let page = Self { child, address: address.to_owned(), directory: tempfile::tempdir().unwrap() };
        // As a browser it gets the key as a cookie.
        let entered = page.curl(&["--location", line.trim()]);
        assert!(entered.contains("<title>midokube</title>"), "{entered}");
        page
    }

    fn cookies(&self) -> PathBuf {
        self.directory.path().join("cookies")
    }

    fn curl(&self, words: &[&str]) -> String {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "60", "--cookie-jar"]);
        let output = command.arg(self.cookies()).arg("--cookie").arg(self.cookies()).args(words).output();
        let output = output.unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8(text).unwrap()
    }

    /// A document for the page.
    pub(crate) fn document(&self, path: &str) -> Value {
        let text = self.curl(&[&format!("{}{path}", self.address)]);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// The flows of a document that are between two Pods.
fn between(document: &Value, [client, server]: [&Pod; 2]) -> Vec<Value> {
    let is_it = |flow: &&Value| {
        flow["client"]["pod"] == client.key.to_string() && flow["backend"]["pod"] == server.key.to_string()
    };
    document["flows"].as_array().unwrap().iter().filter(is_it).cloned().collect()
}

#[test]
fn the_page_shows_who_talks_to_whom_and_why_somebody_does_not() {
    let mut scene = Scene::of(2, &["--flows=on"]);
    let web = scene.silent_pod("node1", "shop", "web", "web");
    let guest = scene.silent_pod("node1", "other", "guest", "guest");
    let db = scene.pod("node2", "shop", "db", "db");
    scene.policy("shop", "db", &allow_from(&app("db"), &serde_json::json!([{"podSelector": app("web")}])));
    scene.only(&[&web], &[&guest], &db);
    let page = Page::open(&scene);

    let mut found = Vec::new();
    testkit::wait_until(DEADLINE, "a flow that is allowed, and the policy", || {
        scene.gets_an_answer(&pod(&web), db.addresses()[1]);
        found = between(&page.document("/api/flows?verdict=allow"), [&web, &db]);
        found.iter().any(|flow| flow["ingress"]["policies"][0] == "shop/db")
    });
    testkit::wait_until(DEADLINE, "what is denied, with its cause", || {
        scene.gets_no_answer(&pod(&guest), db.addresses()[0]);
        found = between(&page.document("/api/flows?verdict=deny&pod=other/guest"), [&guest, &db]);
        !found.is_empty()
    });
    let denied = &found[0];
    assert_eq!(denied["reason"], "policy_ingress", "{denied}");
    assert!(denied["why"].as_str().unwrap().contains("shop/db"), "{denied}");

    let map = page.document("/api/map");
    let edge = |from: &str, to: &str| {
        let edges = map["edges"].as_array().unwrap();
        let is_it = |edge: &&Value| edge["from"]["namespace"] == from && edge["to"]["namespace"] == to;
        edges.iter().find(is_it).unwrap_or_else(|| panic!("no edge {from} {to}: {map}")).clone()
    };
    assert!(edge("shop", "shop")["allowed"].as_u64().unwrap() > 0, "{map}");
    let from_guests = edge("other", "shop");
    assert!(from_guests["denied"].as_u64().unwrap() > 0, "{map}");
    assert_eq!(from_guests["reasons"][0], "policy_ingress", "{map}");

    let nodes = page.document("/api/nodes");
    let ready = nodes["nodes"].as_array().unwrap().iter().filter(|node| node["ready"] == true).count();
    assert_eq!(ready, 2, "{nodes}");
    let of_db = page.document("/api/pod?name=shop/db");
    assert_eq!((&of_db["node"], &of_db["policiesError"]), (&"node2".into(), &Value::Null), "{of_db}");
    assert_eq!(of_db["policies"]["policies"][0]["policies"][0], "shop/db", "{of_db}");

    for (from, answered) in [("shop/web", true), ("other/guest", false)] {
        for address in db.addresses() {
            let path = format!("/api/trace?name={from}&to={address}&port=tcp/{ECHO_PORT}");
            let traced = page.document(&path);
            assert_eq!(traced["outcome"]["answered"], answered, "{traced:#}");
            let hops = traced["parts"][0]["trace"]["hops"].as_array().unwrap();
            let nodes: Vec<_> = hops.iter().map(|hop| hop["node"].as_str().unwrap()).collect();
            assert_eq!(nodes, ["node1", "node2"], "{traced:#}");
        }
    }
}
