//! The network configuration on stdin.

use crate::call::Attachment;
use crate::env::{Command, IDENTIFIER, is_identifier};
use crate::error::{Error, Problems, code};
use crate::json::{Document, Element, Invalid};
use crate::version::Version;

/// What every plugin that uses IPAM has to know of a network configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// `cniVersion`.
    pub version: Version,
    /// `name`: the network.
    pub network: String,
    /// `ipam.type`.
    pub ipam_type: String,
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

impl NetworkConfig {
    /// Reads and checks a configuration, as far as the command needs it.
    ///
    /// # Errors
    /// Codes 1, 6 and 7, with everything that is wrong.
    pub fn parse(config: &Document, command: Command) -> Result<Self, Error> {
        let mut problems = Problems::default();
        let config = Self::read(&config.root(), command, &mut problems)?;
        problems.into_result().map(|()| config)
    }

    /// The same as a part of a plugin's own configuration. What is wrong is added to `problems`.
    ///
    /// # Errors
    /// Codes 1 and 6: the version says nothing about the rest.
    pub fn read(root: &Element<'_>, command: Command, problems: &mut Problems) -> Result<Self, Error> {
        let version = version(root, command)?;
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
        let ipam_type = problems.take(ipam_type(root)).unwrap_or_default();
        let valid_attachments =
            if command == Command::Gc { problems.take(valid_attachments(root)) } else { None };
        Ok(Self {
            version,
            network: network.flatten().unwrap_or_default().to_owned(),
            ipam_type,
            valid_attachments: valid_attachments.unwrap_or_default(),
        })
    }
}

fn version(root: &Element<'_>, command: Command) -> Result<Version, Error> {
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

fn ipam_type(root: &Element<'_>) -> Result<String, Invalid> {
    let ipam = root.require("ipam")?;
    match ipam.word("type")? {
        Some(name) => Ok(name.to_owned()),
        None => Err(ipam.require("type")?.invalid("is empty")),
    }
}

/// The list of GC, under its name of 1.1.0 or the one that runtimes used before it. `null` is how the reference
/// library writes an empty list, and with no list at all `cnitool gc` means the same: nothing is valid.
fn valid_attachments(root: &Element<'_>) -> Result<Vec<Attachment>, Invalid> {
    let keys = ["cni.dev/valid-attachments", "cni.dev/attachments"];
    let Some(key) = keys.into_iter().find(|key| root.has(key)) else { return Ok(Vec::new()) };
    let read = |element: &Element<'_>| {
        Ok(Attachment {
            container_id: element.require("containerID")?.text()?.to_owned(),
            ifname: element.require("ifname")?.text()?.to_owned(),
        })
    };
    root.list(key)?.iter().map(read).collect()
}

#[cfg(test)]
mod tests;
