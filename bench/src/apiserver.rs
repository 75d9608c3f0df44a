//! A real API server with its etcd, in a node of a lab: the programs are those of the test cluster.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::{Lab, Target};
use plumbing::NetNs;
use serde_json::Value;

use crate::context::Bench;
use crate::{context, http, objects};

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Objects that are made at a time.
const AT_ONCE: usize = 4;

/// Where `kubectl proxy` listens in the server's node: plain HTTP, without a token.
const PROXY: ([u8; 4], u16) = ([127, 0, 0, 1], 8001);

/// It is the only one who calls, in a node that nobody else reaches.
const TOKEN: &str = "bench";

pub(crate) struct ApiServer {
    node: NetNs,
    processes: Vec<Child>,
}

impl ApiServer {
    /// Starts it in a node, and writes a kubeconfig with which others reach it there.
    pub(crate) fn start(lab: &Lab, node: &str, files: &Path, kubeconfig: &Path) -> Result<Self> {
        let target = Target::Node(node.to_owned());
        let addresses = lab.state()?.node(node)?.addresses.clone();
        let address = addresses.iter().find(|address| address.is_ipv4()).context("a node without IPv4")?;
        let mut server = Self { node: lab.netns(&target)?, processes: Vec::new() };
        write_files(files, kubeconfig, *address)?;
        let data = files.join("etcd");
        server.run(
            lab,
            &target,
            files,
            "etcd",
            &format!("--data-dir={} --unsafe-no-fsync", data.display()),
        )?;
        let at = |name: &str| files.join(name).display().to_string();
        let words = format!(
            "--etcd-servers=http://127.0.0.1:2379 --bind-address={address} --advertise-address={address} \
             --cert-dir={} --token-auth-file={} --authorization-mode=AlwaysAllow \
             --disable-admission-plugins=ServiceAccount \
             --service-cluster-ip-range=10.96.0.0/16 --service-account-issuer=https://bench \
             --service-account-key-file={key} --service-account-signing-key-file={key}",
            at("certificates"),
            at("tokens"),
            key = at("key"),
        );
        server.run(lab, &target, files, "kube-apiserver", &words)?;
        let words = format!("--kubeconfig={} proxy --port={}", kubeconfig.display(), PROXY.1);
        server.run(lab, &target, files, "kubectl", &words)?;
        server.wait(files)?;
        Ok(server)
    }

    fn run(&mut self, lab: &Lab, node: &Target, files: &Path, name: &str, words: &str) -> Result<()> {
        let program = program(name)?;
        let log = fs::File::create(files.join(format!("{name}.log"))).context("a log")?;
        let mut command = Command::new(program);
        command.args(words.split_whitespace()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.processes.push(lab.enter(node, &mut command).with_context(|| format!("cannot start {name}"))?);
        Ok(())
    }

    fn wait(&self, files: &Path) -> Result<()> {
        let begin = Instant::now();
        while self.call("GET", "/readyz", "", "").is_err() {
            if begin.elapsed() > PATIENCE {
                let log = fs::read_to_string(files.join("kube-apiserver.log")).unwrap_or_default();
                let end: Vec<&str> = log.lines().rev().take(5).collect();
                bail!("the API server does not answer after {PATIENCE:?}: {}", end.join(" <- "));
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Makes an object. What became of it.
    pub(crate) fn create(&self, path: &str, object: &Value) -> Result<Value> {
        let answer = self.call("POST", path, "application/json", &object.to_string())?;
        serde_json::from_str(&answer).with_context(|| format!("POST {path}: the answer is no JSON"))
    }

    /// Makes many, several at a time.
    pub(crate) fn create_all(&self, bench: &Bench, objects: &[Value]) -> Result<()> {
        let part = objects.len().div_ceil(AT_ONCE).max(1);
        thread::scope(|scope| {
            let create = |part: &[Value]| {
                part.iter().try_for_each(|object| {
                    bench.check()?;
                    self.create(&objects::path(object)?, object).map(drop)
                })
            };
            let parts: Vec<_> = objects.chunks(part).map(|part| scope.spawn(move || create(part))).collect();
            parts
                .into_iter()
                .try_for_each(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    /// Changes a part of an object.
    pub(crate) fn patch(&self, path: &str, part: &Value) -> Result<()> {
        self.call("PATCH", path, "application/merge-patch+json", &part.to_string()).map(drop)
    }

    /// The objects of a collection that change from now on.
    pub(crate) fn watch(&self, collection: &str) -> Result<Events> {
        let stream = self.node.run(|| TcpStream::connect(SocketAddr::from(PROXY)))?;
        let stream = stream.context("cannot connect to the API server")?;
        let mut writer = &stream;
        // HTTP/1.0: without chunks, whose ends could be anywhere.
        write!(writer, "GET {collection}?watch=1 HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")?;
        let mut lines = BufReader::new(stream).lines();
        let head = lines.next().context("the watch ended")??;
        ensure!(head.contains(" 200 "), "the watch of {collection} is refused: {head}");
        let (sender, events) = channel();
        // It ends with the API server's end of the connection.
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let now = Instant::now();
                // First come the answer's headers.
                let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                let name = event.pointer("/object/metadata/name").and_then(Value::as_str);
                if let Some(name) = name
                    && event.get("type").and_then(Value::as_str) == Some("MODIFIED")
                    && sender.send((name.to_owned(), now)).is_err()
                {
                    return;
                }
            }
        });
        Ok(Events(events))
    }

    /// Makes a call. The answer's body.
    fn call(&self, method: &str, path: &str, kind: &str, content: &str) -> Result<String> {
        let answer = self.node.run(|| http::ask(PROXY.into(), method, path, kind, content))?;
        let answer = answer.with_context(|| format!("cannot {method} {path}"))?;
        let body = http::body(&answer).map(str::to_owned);
        body.with_context(|| format!("{method} {path}: {}", answer.lines().next().unwrap_or_default()))
    }
}

/// Objects that changed, by name, each with the moment at which the API server's event was here.
pub(crate) struct Events(Receiver<(String, Instant)>);

impl Events {
    /// When the next event of this object was here.
    pub(crate) fn of(&self, object: &str) -> Result<Instant> {
        loop {
            match self.0.recv_timeout(PATIENCE) {
                Ok((name, at)) if name == object => return Ok(at),
                Ok(_) => {}
                Err(error) => bail!("no event of {object}: {error}"),
            }
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            // One that has ended already is what was wanted.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn write_files(files: &Path, kubeconfig: &Path, address: IpAddr) -> Result<()> {
    fs::write(files.join("tokens"), format!("{TOKEN},bench,bench,system:masters\n"))?;
    let key = files.join("key");
    let made = Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048").output();
    let made = made.context("cannot run openssl: install it")?;
    ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: bench\n\
         clusters: [{{name: bench, cluster: {{server: 'https://{address}:6443', insecure-skip-tls-verify: true}}}}]\n\
         users: [{{name: bench, user: {{token: {TOKEN}}}}}]\n\
         contexts: [{{name: bench, context: {{cluster: bench, user: bench}}}}]\n"
    );
    fs::write(kubeconfig, text).context("cannot write the kubeconfig")
}

/// A program that `make cluster-programs` built.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let program = context::cache()?.join("bin").join(name);
    ensure!(program.is_file(), "{} is not there: run `make cluster-programs` first", program.display());
    Ok(program)
}
