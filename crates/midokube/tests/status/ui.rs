//! The page's server, with an agent that has flows, and a socket where there is none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::flows::FakeFlows;
use super::support::FakeAgent;

const PATIENCE: Duration = Duration::from_secs(20);

/// The program that serves the page.
struct Ui {
    child: Child,
    port: u16,
    key: String,
}

impl Ui {
    fn new(agent: &FakeAgent) -> Self {
        let mut command =
            agent.command(&["ui", "--this-node", "--listen", "127.0.0.1:0", "--socket", "/nowhere/api"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (address, key) = line.trim().split_once("/?key=").unwrap();
        let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
        Self { child, port, key: key.to_owned() }
    }

    /// What it answers: the status, and the body.
    fn get(&self, path: &str, key: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let port = self.port;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: midokube-{port}={key}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn document(&self, path: &str) -> Value {
        let (status, body) = self.get(path, &self.key);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

#[test]
fn the_page_gets_what_the_commands_say() {
    let agent = FakeAgent::telling(FakeFlows);
    let ui = Ui::new(&agent);
    assert_eq!(ui.get("/", "guess").0, 403);
    assert!(ui.get("/", &ui.key).1.contains("<title>midokube</title>"));

    let flows = ui.document("/api/flows");
    assert_eq!((&flows["kind"], &flows["matching"]), (&"Flows".into(), &4.into()));
    let node = |name: &str| {
        let nodes = flows["nodes"].as_array().unwrap();
        nodes
            .iter()
            .find(|node| node["node"] == name)
            .unwrap_or_else(|| panic!("no {name}: {nodes:?}"))
            .clone()
    };
    assert_eq!(node("node1")["lostEvents"], 7);
    assert!(node("/nowhere/api")["error"].as_str().unwrap().contains("there is no socket"));
    // But for what is added, a flow is as the command has it.
    let command = agent.run(&["flows", "--this-node", "-o", "json"]);
    let command: Value = serde_json::from_slice(&command.stdout).unwrap();
    for flow in command["flows"].as_array().unwrap() {
        let rows = flows["flows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["id"] == flow["id"] && row["state"] == flow["state"]).unwrap();
        for (name, value) in flow.as_object().unwrap() {
            // Time passes; and what this agent tells of a connection at last has no ingress.
            let changes = name == "lastSeconds" || name.ends_with("Milliseconds");
            if !changes && (name != "ingress" || flow["state"] == "denied") {
                assert_eq!(row[name], *value, "{name}");
            }
        }
    }
    assert_eq!(ui.document("/api/flows?port=tcp/8080&not=verdict=deny")["matching"], 1);
    let map = ui.document("/api/map?focus=default/web");
    assert_eq!((&map["kind"], &map["edges"][0]["to"]["kind"]), (&"FlowMap".into(), &"pod".into()));
    assert_eq!(ui.get("/api/map?address=x", &ui.key).0, 400);
}

#[test]
fn nodes_and_pods_are_as_status_and_policy_have_them() {
    let agent = FakeAgent::telling(FakeFlows);
    let ui = Ui::new(&agent);
    let nodes = ui.document("/api/nodes");
    let known = nodes["nodes"].as_array().unwrap().iter().find(|node| node["error"].is_null()).unwrap();
    let command = agent.run(&["status", "-o", "json"]);
    let status: Value = serde_json::from_slice(&command.stdout).unwrap();
    let name = status["agent"]["node"].as_str().unwrap();
    assert_eq!(known["node"], name);
    let node = ui.document(&format!("/api/node?name={name}"));
    assert_eq!(
        (&node["kind"], &node["network"], &node["ports"]),
        (&status["kind"], &status["network"], &status["ports"])
    );
    let port = &status["ports"][0];
    let pod = format!("{}/{}", port["namespace"].as_str().unwrap(), port["name"].as_str().unwrap());
    let pod = ui.document(&format!("/api/pod?name={pod}"));
    assert_eq!((&pod["node"], &pod["port"]), (&name.into(), port));
    // This agent enforces no policy, and says so.
    assert!(pod["policies"].is_null() && pod["policiesError"].is_string(), "{pod}");
    assert_eq!(ui.get("/api/pod?name=default/nobody", &ui.key).0, 404);
}
