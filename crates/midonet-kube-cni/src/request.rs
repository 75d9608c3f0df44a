//! A call of the plugin, read and checked as a whole. Pure.

use cni::{Args, Call, Command, Document, Environment, Error, Problems, code};
use naming::alias::{CLUSTER_NETWORK, PortAlias};
use naming::{Mac, PodKey};

use crate::config::{PluginConfig, check_mac};

/// The namespace of attachments without a Pod.
const NO_NAMESPACE: &str = "cni";

/// A call of the plugin. It has no `Debug`: the configuration may hold secrets.
#[derive(Clone)]
pub struct Request {
    /// The environment.
    pub env: Environment,
    /// The configuration.
    pub conf: PluginConfig,
    /// The Pod; without Kubernetes, the container id in [`NO_NAMESPACE`].
    pub pod: PodKey,
    /// The Pod's UID, if the runtime passed it.
    pub pod_uid: Option<String>,
    /// The MAC address that was asked for.
    pub mac: Option<Mac>,
    /// The configuration as a whole.
    pub document: Document,
}

impl Request {
    /// Reads the configuration and `CNI_ARGS`, as far as the command needs them.
    ///
    /// # Errors
    /// Everything that is wrong, under the code of the first.
    pub fn read(env: Environment, document: Document) -> Result<Self, Error> {
        let mut problems = Problems::default();
        let args = problems.take(Args::parse(&env.args)).unwrap_or_default();
        let mut word = |key: &str| {
            let value = args.get(key)?;
            let clean = !value.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control());
            if !clean {
                problems.add(code::ENVIRONMENT, format!("CNI_ARGS: {key}: \"{value}\" cannot be a Pod's"));
            }
            clean.then(|| value.to_owned())
        };
        let names = (word("K8S_POD_NAMESPACE"), word("K8S_POD_NAME"));
        let pod_uid = word("K8S_POD_UID");
        let pod = match names {
            (Some(namespace), Some(name)) => PodKey::new(namespace, name),
            (None, None) => PodKey::new(NO_NAMESPACE, env.container_id.clone()),
            _ => {
                let what = "CNI_ARGS: K8S_POD_NAMESPACE and K8S_POD_NAME go together: set both or none";
                problems.add(code::ENVIRONMENT, what);
                PodKey::new(NO_NAMESPACE, env.container_id.clone())
            }
        };
        // DEL must not fail by what it does not need.
        let from_args = args.get("MAC").filter(|_| env.command != Command::Del).map(|text| {
            let mac = text.parse().map_err(|e: naming::ParseMacError| e.to_string()).and_then(check_mac);
            mac.map_err(|what| Error::new(code::ENVIRONMENT, format!("CNI_ARGS: MAC: {what}")))
        });
        let from_args = from_args.and_then(|mac| problems.take(mac));
        let conf = problems.take(PluginConfig::parse(&document, env.command));
        problems.into_result()?;
        let conf = conf.ok_or_else(|| Error::new(code::CONFIG, "the configuration cannot be read"))?;
        let mac = conf.mac.or(from_args);
        Ok(Self { env, conf, pod, pod_uid, mac, document })
    }

    /// The same call, for IPAM.
    pub fn ipam_call(&self) -> Call<'_> {
        self.env.call(&self.document)
    }

    /// The network, unless it is the cluster's own.
    pub fn network(&self) -> Option<&str> {
        Some(self.conf.net.network.as_str()).filter(|name| *name != CLUSTER_NETWORK)
    }

    /// The owner, as the host interface's alias records it.
    pub fn alias(&self) -> PortAlias {
        PortAlias {
            pod: self.pod.clone(),
            container_id: self.env.container_id.clone(),
            ifname: self.env.ifname.clone(),
            pod_uid: self.pod_uid.clone(),
            network: self.network().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests;
