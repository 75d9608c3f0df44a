//! The API server, MidoNet and programs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use midonet::{Entry, Kind, Resource};
use midonet_standin::{Access, Standin, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::api::Api;
use crate::objects::TRANSLATIONS;

/// How long one step may take.
const DEADLINE: Duration = Duration::from_secs(60);

pub const PASSWORD: &str = "s3cret-of-midonet";

pub struct Scene {
    pub api: Api,
    pub midonet: Standin,
    files: TempDir,
}

/// One of the programs. It is killed when it is dropped.
pub struct Program {
    child: Child,
    port: u16,
    pub log: std::path::PathBuf,
}

impl Scene {
    pub async fn new() -> Self {
        let mut store = Store::new(1);
        let user = "admin".into();
        store.set_access(Access::Tokens { user, password: PASSWORD.into(), project: None, lifetime: 3600 });
        add_hosts(&mut store);
        let scene = Self {
            api: Api::start().await,
            midonet: Standin::start(store).await.unwrap(),
            files: tempfile::tempdir().unwrap(),
        };
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", scene.api.address)}}],
            "users": [{"name": "u", "user": {"token": "secret"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(scene.kubeconfig(), kubeconfig.to_string()).unwrap();
        scene
    }

    fn kubeconfig(&self) -> std::path::PathBuf {
        self.files.path().join("config")
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_midonet-kube-controllers"));
        command.arg("--kubeconfig").arg(self.kubeconfig()).env_remove("MIDONETKUBE_KUBECONFIG");
        command
    }

    /// Starts one, with a short Lease.
    pub fn start(&self, name: &str) -> Program {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = self.files.path().join(format!("{name}.log"));
        let file = std::fs::File::create(&log).unwrap();
        let mut command = self.command();
        command.args(["--lease-duration=3s", "--probe=500ms", "--resync=1h", "--log-level=debug"]);
        command.arg(format!("--midonet-api={}", self.midonet.url()));
        command.arg(format!("--http-listen=127.0.0.1:{port}")).env("MIDONETKUBE_MIDONET_PASSWORD", PASSWORD);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Program { child, port, log }
    }

    /// The resources of all Translations, by path; but for links, of which either end may be named.
    pub fn wanted(&self) -> BTreeMap<String, Kind> {
        let translations = self.api.list(TRANSLATIONS);
        let entries =
            translations.iter().flat_map(|one| one["resources"].as_array().cloned().unwrap_or_default());
        let resources = entries
            .map(|entry| Resource::try_from(&serde_json::from_value::<Entry>(entry).unwrap()).unwrap());
        paths(resources)
    }

    /// What MidoNet has.
    pub fn there(&self) -> BTreeMap<String, Kind> {
        paths(self.midonet.with_store(|store| store.resources()).unwrap().into_iter())
    }

    /// Waits until MidoNet has what the Translations say, and there are so many of these.
    pub async fn converged(&self, translations: usize) {
        until(&format!("{translations} Translations, all pushed"), || {
            let count = self.api.list(TRANSLATIONS).len();
            let (wanted, there) = (self.wanted(), self.there());
            if count == translations && wanted == there {
                return Ok(());
            }
            let missing: Vec<_> = wanted.keys().filter(|path| !there.contains_key(*path)).collect();
            let more: Vec<_> = there.keys().filter(|path| !wanted.contains_key(*path)).collect();
            Err(format!("{count} Translations, missing {missing:?}, more {more:?}"))
        })
        .await;
    }

    pub fn events(&self, reason: &str) -> Vec<Value> {
        let all = self.api.list(crate::objects::EVENTS);
        all.into_iter().filter(|event| event["reason"] == reason).collect()
    }

    /// How many requests changed something in MidoNet since this was last asked.
    pub fn changes(&self) -> u64 {
        let log = self.midonet.take_log();
        log.counts()
            .iter()
            .filter(|((method, resource, status), _)| {
                method != "GET" && *resource != "Login" && (200..300).contains(status)
            })
            .map(|(_, count)| count)
            .sum()
    }
}

pub fn add_hosts(store: &mut Store) {
    for (number, name) in ["node1", "node2", "node3"].into_iter().enumerate() {
        store.add_host(Uuid::from_u128(number as u128 + 1), name);
    }
}

fn paths(resources: impl Iterator<Item = Resource>) -> BTreeMap<String, Kind> {
    let named = resources.filter(|resource| resource.kind() != Kind::PortLink);
    named.map(|resource| (resource.item_path().unwrap(), resource.kind())).collect()
}

impl Program {
    /// The answer to a request.
    pub fn get(&self, path: &str) -> String {
        let ask = || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(stream, "GET {path} HTTP/1.0\r\nHost: a\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        ask().unwrap_or_default()
    }

    pub fn works(&self) -> bool {
        self.get("/readyz").ends_with("working\n")
    }

    pub fn stands_by(&self) -> bool {
        self.get("/readyz").contains("standing by")
    }

    /// The value of a metric, with its labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let page = self.get("/metrics");
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok())
    }

    /// SIGKILL: it says no good-bye.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub fn terminate(mut self) {
        let id = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        assert!(!log.contains(PASSWORD), "the password is in the log");
        if std::thread::panicking() {
            let lines: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("the end of {}:", self.log.display());
            lines.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// Waits until this is so.
pub async fn until(what: &str, mut check: impl FnMut() -> Result<(), String>) {
    let begin = Instant::now();
    loop {
        match check() {
            Ok(()) => return,
            Err(why) => assert!(begin.elapsed() < DEADLINE, "{what}: {why}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The same of what is true or not.
pub async fn until_true(what: &str, mut check: impl FnMut() -> bool) {
    until(what, || check().then_some(()).ok_or_else(|| "it is not so".to_owned())).await;
}
