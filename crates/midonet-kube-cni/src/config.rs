//! The network configuration on stdin. Pure.

use std::path::PathBuf;

use ipam::json::{Invalid, Node};
use ipam::{Attachment, Dns};
use naming::Mac;
use serde_json::Value;

use crate::env::{Command, IDENTIFIER, is_identifier};
use crate::error::{Error, Problems, code};
use crate::result::CniResult;
use crate::version::Version;

/// What the plugin has to know of a network configuration. It has no `Debug`: configurations may hold
/// secrets of other plugins.
#[derive(Clone, PartialEq, Eq)]
pub struct NetConf {
    /// `cniVersion`.
    pub version: Version,
    /// `ipam.type`.
    pub ipam_type: String,
    /// `mtu`: of the Pod's interface, in bytes. The agent writes it.
    pub mtu: Option<u32>,
    /// `socket`: where the agent listens.
    pub socket: PathBuf,
    /// The MAC address that `args.cni.mac` or, before it, the runtime's capability asks for.
    pub mac: Option<Mac>,
    /// `dns`: if it says anything, it replaces what IPAM says.
    pub dns: Option<Dns>,
    /// `prevResult`.
    pub prev_result: Option<CniResult>,
    /// GC: the attachments that are still there.
    pub valid_attachments: Option<Vec<Attachment>>,
}

/// The version of a configuration, for errors about the rest of it.
pub fn version_of(stdin: &[u8]) -> Option<Version> {
    let value: Value = serde_json::from_slice(stdin).ok()?;
    Version::parse(Node::root(&value).word("cniVersion").ok()??)
}

impl NetConf {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// Codes 1, 6 and 7, with everything that is wrong.
    pub fn parse(stdin: &[u8], command: Command) -> Result<Self, Error> {
        let value: Value = serde_json::from_slice(stdin).map_err(|error| {
            Error::new(code::DECODE, format!("the network configuration on stdin is not JSON: {error}"))
        })?;
        let root = Node::root(&value);
        let version = version(&root, command)?;
        let mut problems = Problems::default();
        match problems.take(root.word("name")) {
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
        let conf = Self {
            version,
            ipam_type: problems.take(ipam_type(&root)).flatten().unwrap_or_default(),
            mtu: problems.take(root.get("mtu").and_then(|n| n.map(|n| mtu(&n)).transpose())).flatten(),
            socket: socket.into(),
            mac: problems.take(mac(&root)).flatten(),
            dns: problems.take(dns(&root)).flatten(),
            prev_result: problems.take(prev_result(&root)).flatten(),
            valid_attachments: problems.take(valid_attachments(&root)).flatten(),
        };
        if command == Command::Gc && conf.valid_attachments.is_none() {
            problems.add(
                code::CONFIG,
                "cni.dev/valid-attachments: missing: without it GC would release every attachment; send an empty \
                 list if that is meant",
            );
        }
        problems.into_result().map(|()| conf)
    }
}

fn version(root: &Node<'_>, command: Command) -> Result<Version, Error> {
    // The specification's default for a configuration without a version.
    let text = root.word("cniVersion")?.unwrap_or("0.1.0");
    let incompatible = |msg: &str| Error::new(code::INCOMPATIBLE_VERSION, msg);
    let version = Version::parse(text).ok_or_else(|| {
        let supported = Version::ALL.map(Version::as_str).join(", ");
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

/// A `dns` that sets nothing is none; an empty list sets something.
fn dns(root: &Node<'_>) -> Result<Option<Dns>, Invalid> {
    let Some(node) = root.get("dns")? else { return Ok(None) };
    let mut is_set = node.word("domain")?.is_some();
    for list in ["nameservers", "search", "options"] {
        is_set |= node.get(list)?.is_some();
    }
    Ok(if is_set { Some(Dns::read(&node)?) } else { None })
}

fn prev_result(root: &Node<'_>) -> Result<Option<CniResult>, Invalid> {
    root.get("prevResult")?.map(|node| CniResult::read(&node)).transpose()
}

/// The list of GC, under its name of 1.1.0 or the one before. `null` is how the reference library
/// writes an empty list.
fn valid_attachments(root: &Node<'_>) -> Result<Option<Vec<Attachment>>, Invalid> {
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        if !root.has(key) {
            continue;
        }
        let mut list = Vec::new();
        for node in root.list(key)? {
            list.push(Attachment {
                container_id: node.require("containerID")?.text()?.to_owned(),
                ifname: node.require("ifname")?.text()?.to_owned(),
            });
        }
        return Ok(Some(list));
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
