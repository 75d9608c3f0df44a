//! The allocator alone, as the IPAM plugin that other plugins may call.

use ipam::Ipam;
use ipam::json::Document;
use serde_json::Value;

use crate::config::NetConf;
use crate::env::{Command, Environment};
use crate::error::Error;
use crate::result::{CniResult, Ip};

/// Does what the environment says; ADD has a result. The configuration is the calling plugin's.
///
/// # Errors
/// What the caller is to be told.
pub(crate) fn run(env: &Environment, config: &Document) -> Result<Option<Value>, Error> {
    let conf = NetConf::parse_for_ipam(config, env.command)?;
    let call = env.ipam_call(config);
    let ipam = Ipam::InProcess;
    match env.command {
        Command::Add => {
            let allocation = ipam.add(&call)?;
            let ip = |ip: ipam::IpConfig| Ip { interface: None, address: ip.address, gateway: ip.gateway };
            let result = CniResult {
                interfaces: Vec::new(),
                ips: allocation.ips.into_iter().map(ip).collect(),
                routes: allocation.routes,
                dns: allocation.dns,
            };
            return Ok(Some(result.to_json(conf.version)));
        }
        Command::Del => ipam.del(&call)?,
        Command::Check => ipam.check(&call)?,
        Command::Status => ipam.status(&call)?,
        Command::Gc => ipam.gc(&call, &conf.valid_attachments)?,
        Command::Version => {}
    }
    Ok(None)
}
