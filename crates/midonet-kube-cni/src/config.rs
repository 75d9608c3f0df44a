//! The plugin's part of the network configuration. Pure.

use std::path::PathBuf;

use cni::json::{Element, Invalid};
use cni::{CniResult, Command, DnsConfig, Document, Error, NetworkConfig, Problems, code};
use naming::Mac;
use serde_json::Value;

use crate::runtime_config::RuntimeConfig;

/// Capabilities that this plugin does not support (CONVENTIONS.md: a plugin acts on the capabilities that its
/// configuration declares, or reports an error).
const REFUSED: [&str; 3] = ["aliases", "deviceID", "infinibandGUID"];

/// What the plugin has to know of a network configuration. It has no `Debug`: configurations may hold
/// secrets of other plugins.
#[derive(Clone, PartialEq)]
pub struct PluginConfig {
    /// What every plugin has to know.
    pub net: NetworkConfig,
    /// `socket`: where the agent listens.
    pub socket: PathBuf,
    /// ADD, CHECK: `mtu` of the Pod's interface, in bytes. The agent writes it.
    pub mtu: Option<u32>,
    /// ADD, CHECK: the MAC address that `args.cni.mac` or, before it, the runtime's capability asks for.
    pub mac: Option<Mac>,
    /// ADD, CHECK: name resolution.
    pub dns: DnsConfig,
    /// ADD, CHECK, DEL: limits and host ports that the runtime asks for.
    pub runtime: RuntimeConfig,
    /// ADD, CHECK: `prevResult`.
    pub prev_result: Option<CniResult>,
}

impl PluginConfig {
    /// Reads and checks a configuration, as far as the command needs it.
    ///
    /// # Errors
    /// Codes 1, 2, 6 and 7, with everything that is wrong.
    pub fn parse(config: &Document, command: Command) -> Result<Self, Error> {
        let root = config.root();
        let mut problems = Problems::default();
        let net = NetworkConfig::read(&root, command, &mut problems)?;
        let socket = problems.take(root.word("socket")).flatten().unwrap_or(nodeapi::SOCKET);
        let mut config = Self {
            net,
            socket: socket.into(),
            mtu: None,
            mac: None,
            dns: DnsConfig::default(),
            runtime: RuntimeConfig::default(),
            prev_result: None,
        };
        match command {
            Command::Add | Command::Check => config.read_attachment(&root, &mut problems),
            // DEL must not fail by what it does not need, such as a damaged prevResult; what cannot be read was never
            // added.
            Command::Del => config.runtime = RuntimeConfig::read(&root).unwrap_or_default(),
            Command::Gc | Command::Status | Command::Version => {}
        }
        problems.into_result().map(|()| config)
    }

    fn read_attachment(&mut self, root: &Element<'_>, problems: &mut Problems) {
        refuse_capabilities(root.value(), problems);
        let mtu = root.get("mtu").and_then(|element| element.map(|element| mtu(&element)).transpose());
        self.mtu = problems.take(mtu).flatten();
        self.mac = problems.take(mac(root)).flatten();
        self.dns = problems.take(DnsConfig::read(root)).unwrap_or_default();
        self.runtime = problems.take(RuntimeConfig::read(root)).unwrap_or_default();
        self.prev_result = problems.take(prev_result(root)).flatten();
    }
}

fn mtu(element: &Element<'_>) -> Result<u32, Invalid> {
    let mtu = element.number()?;
    if (68..=65535).contains(&mtu) {
        Ok(mtu)
    } else {
        Err(element.invalid(format!("{mtu}: must be 68 to 65535 bytes")))
    }
}

fn mac(root: &Element<'_>) -> Result<Option<Mac>, Invalid> {
    let in_args = match root.get("args")? {
        Some(args) => args.get("cni")?,
        None => None,
    };
    for holder in [root.get("runtimeConfig")?, in_args].into_iter().flatten() {
        if holder.word("mac")?.is_some() {
            let element = holder.require("mac")?;
            let mac: Mac = element.parse()?;
            return check_mac(mac).map_err(|what| element.invalid(what)).map(Some);
        }
    }
    Ok(None)
}

/// Refuses addresses that no interface can have.
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

fn prev_result(root: &Element<'_>) -> Result<Option<CniResult>, Invalid> {
    root.get("prevResult")?.map(|element| CniResult::read(&element)).transpose()
}

#[cfg(test)]
mod tests;
