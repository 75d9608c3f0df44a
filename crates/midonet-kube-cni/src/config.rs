//! The network configuration on stdin. Pure.

mod dns;

use std::path::PathBuf;

use ipam::Attachment;
use ipam::json::{Document, Invalid, Node};
use naming::Mac;
use serde_json::Value;

use crate::env::{Command, IDENTIFIER, is_identifier};
use crate::error::{Error, Problems, code};
use crate::result::CniResult;
use crate::runtime_config::RuntimeConfig;
use crate::version::Version;

pub use dns::DnsConf;

/// Capabilities that a configuration may declare and this plugin has nothing for (CONVENTIONS.md: a plugin acts
/// on what it asked for, or says that it cannot).
const REFUSED: [&str; 3] = ["aliases", "deviceID", "infinibandGUID"];

/// What the plugin has to know of a network configuration. It has no `Debug`: configurations may hold
/// secrets of other plugins.
#[derive(Clone, PartialEq)]
pub struct NetConf {
    /// `cniVersion`.
    pub version: Version,
    /// `name`: the network.
    pub network: String,
    /// `ipam.type`.
    pub ipam_type: String,
    /// `socket`: where the agent listens.
    pub socket: PathBuf,
    /// ADD, CHECK: `mtu` of the Pod's interface, in bytes. The agent writes it.
    pub mtu: Option<u32>,
    /// ADD, CHECK: the MAC address that `args.cni.mac` or, before it, the runtime's capability asks for.
    pub mac: Option<Mac>,
    /// ADD, CHECK: name resolution.
    pub dns: DnsConf,
    /// ADD, CHECK: limits and ports that the runtime asks for.
    pub runtime: RuntimeConfig,
    /// ADD, CHECK: `prevResult`.
    pub prev_result: Option<CniResult>,
    /// GC: the attachments that are still there.
    pub valid_attachments: Vec<Attachment>,
}

/// Reads what came on stdin.
///
/// # Errors
/// Code 6.
pub fn document(stdin: Vec<u8>) -> Result<Document, Error> {
    Document::parse(stdin).map_err(|error| {
        Error::new(code::DECODE, format!("the network configuration on stdin is not JSON: {error}"))
    })
}

/// The version of a configuration, for errors about the rest of it.
pub fn version_of(config: &Document) -> Option<Version> {
    Version::named(config.root().word("cniVersion").ok()?)
}

impl NetConf {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// Codes 1, 2, 6 and 7, with everything that is wrong.
    pub fn parse(config: &Document, command: Command) -> Result<Self, Error> {
        // DEL must not fail by what it does not need, such as a damaged prevResult.
        Self::read(config, command, matches!(command, Command::Add | Command::Check))
    }

    /// Reads another plugin's configuration, as far as it is about addresses.
    ///
    /// # Errors
    /// Codes 1, 6 and 7, with everything that is wrong.
    pub fn parse_for_ipam(config: &Document, command: Command) -> Result<Self, Error> {
        Self::read(config, command, false)
    }

    fn read(config: &Document, command: Command, is_attachment: bool) -> Result<Self, Error> {
        let root = config.root();
        let version = version(&root, command)?;
        let mut problems = Problems::default();
        let network = problems.take(root.word("name"));
        match network {
            Some(None) => problems.add(code::CONFIG, "name: missing network name"),
            Some(Some(name)) if !is_identifier(name) => {
                problems.add(
                    code::CONFIG,
                    format!("name: invalid characters found in network name \"{name}\": {IDENTIFIER}"),
                );
            }
            _ => {}
        }
        let socket = problems.take(root.word("socket")).flatten().unwrap_or(nodeapi::SOCKET);
        let mut conf = Self {
            version,
            network: network.flatten().unwrap_or_default().to_owned(),
            ipam_type: problems.take(ipam_type(&root)).flatten().unwrap_or_default(),
            socket: socket.into(),
            mtu: None,
            mac: None,
            dns: DnsConf::default(),
            runtime: RuntimeConfig::default(),
            prev_result: None,
            valid_attachments: Vec::new(),
        };
        if is_attachment {
            refuse_capabilities(root.value(), &mut problems);
            let mtu = root.get("mtu").and_then(|node| node.map(|node| mtu(&node)).transpose());
            conf.mtu = problems.take(mtu).flatten();
            conf.mac = problems.take(mac(&root)).flatten();
            conf.dns = problems.take(DnsConf::read(&root)).unwrap_or_default();
            conf.runtime = problems.take(RuntimeConfig::read(&root)).unwrap_or_default();
            conf.prev_result = problems.take(prev_result(&root)).flatten();
        }
        if command == Command::Del {
            // What cannot be read was never added.
            conf.runtime = RuntimeConfig::read(&root).unwrap_or_default();
        }
        if command == Command::Gc {
            conf.valid_attachments = problems.take(valid_attachments(&root)).unwrap_or_default();
        }
        problems.into_result().map(|()| conf)
    }
}

fn version(root: &Node<'_>, command: Command) -> Result<Version, Error> {
    let text = root.word("cniVersion").map_err(|invalid| Error::new(code::DECODE, invalid.to_string()))?;
    let incompatible = |msg: &str| Error::new(code::INCOMPATIBLE_VERSION, msg);
    let version = Version::named(text).ok_or_else(|| {
        let (text, supported) = (text.unwrap_or_default(), Version::ALL.map(Version::as_str).join(", "));
        let details = format!("config is \"{text}\", plugin supports {supported}");
        Error { details, ..incompatible("incompatible CNI versions") }
    })?;
    match command {
        Command::Check if version < Version::V0_4_0 => {
            Err(incompatible("config version does not allow CHECK"))
        }
        Command::Gc if version < Version::V1_1_0 => Err(incompatible("config version does not allow GC")),
        Command::Status if version < Version::V1_1_0 => {
            Err(incompatible("config version does not allow STATUS"))
        }
        _ => Ok(version),
    }
}

fn ipam_type(root: &Node<'_>) -> Result<Option<String>, Invalid> {
    let ipam = root.require("ipam")?;
    match ipam.word("type")? {
        Some(name) => Ok(Some(name.to_owned())),
        None => ipam.require("type").and_then(|n| Err(n.invalid("is empty"))),
    }
}

fn mtu(node: &Node<'_>) -> Result<u32, Invalid> {
    let mtu = node.number()?;
    if (68..=65535).contains(&mtu) {
        Ok(mtu)
    } else {
        Err(node.invalid(format!("{mtu}: must be 68 to 65535 bytes")))
    }
}

fn mac(root: &Node<'_>) -> Result<Option<Mac>, Invalid> {
    let in_args = match root.get("args")? {
        Some(args) => args.get("cni")?,
        None => None,
    };
    for holder in [root.get("runtimeConfig")?, in_args].into_iter().flatten() {
        if holder.word("mac")?.is_some() {
            let node = holder.require("mac")?;
            let mac: Mac = node.parse()?;
            return check_mac(mac).map_err(|what| node.invalid(what)).map(Some);
        }
    }
    Ok(None)
}

/// Refuses what no interface can have.
pub(crate) fn check_mac(mac: Mac) -> Result<Mac, String> {
    let [first, ..] = mac.0;
    if first & 1 == 1 || mac.0 == [0; 6] {
        return Err(format!("{mac} is no address of a single interface"));
    }
    Ok(mac)
}

fn refuse_capabilities(config: &Value, problems: &mut Problems) {
    for key in REFUSED {
        let value = config.get("runtimeConfig").and_then(|runtime| runtime.get(key));
        if let Some(value) = value.filter(|value| !is_nothing(value)) {
            let what =
                format!("runtimeConfig.{key}={value} is not supported: take {key} out of \"capabilities\"");
            problems.add(code::UNSUPPORTED_FIELD, what);
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null()
        || value.as_str().is_some_and(str::is_empty)
        || value.as_array().is_some_and(Vec::is_empty)
}

fn prev_result(root: &Node<'_>) -> Result<Option<CniResult>, Invalid> {
    root.get("prevResult")?.map(|node| CniResult::read(&node)).transpose()
}

/// The list of GC, under its name of 1.1.0 or the one that runtimes used before it. `null` is how the reference
/// library writes an empty list, and with no list at all `cnitool gc` means the same: nothing is valid.
fn valid_attachments(root: &Node<'_>) -> Result<Vec<Attachment>, Invalid> {
    let keys = ["cni.dev/valid-attachments", "cni.dev/attachments"];
    let Some(key) = keys.into_iter().find(|key| root.has(key)) else { return Ok(Vec::new()) };
    let read = |node: &Node<'_>| {
        Ok(Attachment {
            container_id: node.require("containerID")?.text()?.to_owned(),
            ifname: node.require("ifname")?.text()?.to_owned(),
        })
    };
    root.list(key)?.iter().map(read).collect()
}

#[cfg(test)]
mod tests;
