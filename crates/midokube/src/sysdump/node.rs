//! What a node and its agent have to tell a maintainer.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::socket::{getsockopt, sockopt};
use serde_json::{Value, json};

use super::part::{LARGEST, Parts};
use super::redact;
use crate::agent::Agent;
use crate::{connections, drops, policy, services, status};

/// What /proc tells of the kernel and the node's network: of the agent's namespace.
const KERNEL: [&str; 9] = [
    "version",
    "uptime",
    "loadavg",
    "meminfo",
    "net/dev",
    "net/route",
    "net/ipv6_route",
    "net/snmp",
    "net/softnet_stat",
];

/// How long the agent's page of metrics may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where metrics are unless the agent is told otherwise.
const METRICS: &str = "127.0.0.1:9454";

/// What names of the agent's settings in the environment begin with.
const SETTINGS: &str = "MIDONETKUBE_";

/// Everything. What cannot be had is named.
pub(super) fn parts(agent: &Agent) -> Parts {
    let mut parts = Parts::default();
    parts.add("status.json", status::document(agent));
    parts.add("services.json", services::document(agent));
    parts.add("connections.json", connections::document(agent));
    parts.add("policies.json", policy::document(None, agent));
    parts.add("drops.json", drops::document(agent));
    let process = Process::of(agent);
    let process = process.as_ref();
    let missing = |error: &anyhow::Error| anyhow::anyhow!("{error:#}");
    parts.add("agent.json", process.map_err(missing).and_then(Process::document));
    parts.add("metrics.txt", process.map_err(missing).and_then(|process| metrics(process.metrics()?)));
    parts.add("kernel.txt", process.map_err(missing).map(Process::kernel));
    parts.add("cni.txt", process.map_err(missing).and_then(Process::cni));
    parts
}

/// The agent's process.
struct Process {
    directory: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Process {
    fn of(agent: &Agent) -> Result<Self> {
        let socket = UnixStream::connect(&agent.socket)
            .with_context(|| format!("no agent listens at {}", agent.socket.display()))?;
        let id = getsockopt(&socket, sockopt::PeerCredentials)
            .context("the kernel does not tell whose the socket is")?
            .pid();
        if id == 0 {
            bail!("the agent's process is not visible from here: run this in its container");
        }
        let directory = PathBuf::from(format!("/proc/{id}"));
        let read = |name: &str| {
            let path = directory.join(name);
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
            Ok::<Vec<String>, anyhow::Error>(
                words.map(|word| String::from_utf8_lossy(word).into_owned()).collect(),
            )
        };
        let arguments = read("cmdline")?;
        // Without the right to trace it there are its arguments alone.
        let environment = read("environ").unwrap_or_default();
        let environment = environment
            .iter()
            .filter_map(|one| one.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Self { environment: environment.collect(), directory, arguments })
    }

    /// Its settings without secrets. Of the rest of its environment there are names.
    fn document(&self) -> Result<String> {
        let (settings, others): (Vec<_>, Vec<_>) =
            self.environment.iter().partition(|(name, _)| name.starts_with(SETTINGS));
        let settings: serde_json::Map<String, Value> = settings
            .into_iter()
            .map(|(name, value)| {
                let value =
                    if redact::is_secret(name) { redact::REDACTED.to_owned() } else { redact::text(value) };
                (name.clone(), json!(value))
            })
            .collect();
        let others: Vec<&String> = others.into_iter().map(|(name, _)| name).collect();
        let document = json!({
            "arguments": redact::arguments(&self.arguments),
            "settings": settings,
            "otherVariables": others,
            "midokube": env!("CARGO_PKG_VERSION"),
        });
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    /// Where its metrics are.
    fn metrics(&self) -> Result<SocketAddr> {
        let mut words = self.arguments.iter();
        let mut told = None;
        while let Some(word) = words.next() {
            match word.split_once('=') {
                Some(("--http-listen", value)) => told = Some(value.to_owned()),
                None if word == "--http-listen" => told = words.next().cloned(),
                _ => {}
            }
        }
        let variable = self.environment.iter().find(|(name, _)| name == "MIDONETKUBE_HTTPLISTEN");
        let told = told.or_else(|| variable.map(|(_, value)| value.clone()));
        let mut address: SocketAddr =
            told.as_deref().unwrap_or(METRICS).parse().context("--http-listen is no address")?;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        Ok(address)
    }

    fn kernel(&self) -> String {
        let read = |name: &&str| {
            // What is not under /proc/PID is the whole machine's.
            let own = self.directory.join(name);
            let path = if own.exists() { own } else { PathBuf::from("/proc").join(name) };
            let text = fs::read_to_string(&path).unwrap_or_else(|error| format!("{error}\n"));
            format!("==> {name}\n{text}\n")
        };
        KERNEL.iter().map(read).collect()
    }

    /// The directory of CNI configurations: its files, and the agent's own.
    fn cni(&self) -> Result<String> {
        let variable = self.environment.iter().find(|(name, _)| name == "MIDONETKUBE_CNICONFIGPATH");
        let file = variable.map_or("/etc/cni/net.d/10-midonet.conflist", |(_, value)| value.as_str());
        let file = self.directory.join("root").join(file.trim_start_matches('/'));
        let directory = file.parent().context("it has no directory")?;
        let entries =
            fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        let own = fs::read_to_string(&file).unwrap_or_else(|error| format!("{error}\n"));
        Ok(format!(
            "{}\n\n==> {}\n{own}\n",
            names.join("\n"),
            file.file_name().unwrap_or_default().to_string_lossy()
        ))
    }
}

/// The page of metrics.
fn metrics(address: SocketAddr) -> Result<String> {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut page = Vec::new();
        stream.take(LARGEST as u64).read_to_end(&mut page)?;
        Ok::<_, std::io::Error>(page)
    };
    let page = ask().with_context(|| format!("no metrics are had at {address}: run this on the node"))?;
    let page = String::from_utf8_lossy(&page);
    let (head, body) = page.split_once("\r\n\r\n").context("what answers there speaks no HTTP")?;
    let first = head.lines().next().unwrap_or_default();
    anyhow::ensure!(first.contains(" 200 "), "what answers there says {first}");
    Ok(body.to_owned())
}
