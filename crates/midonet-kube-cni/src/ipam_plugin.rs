//! The allocator alone, as the IPAM plugin that other plugins may call.

use ipam::Ipam;
use serde_json::Value;

use crate::env::Command;
use crate::error::Error;
use crate::request::Request;
use crate::result::{CniResult, Ip};

/// Does what the request says; ADD has a result.
///
/// # Errors
/// What the caller is to be told.
pub(crate) fn run(request: &Request) -> Result<Option<Value>, Error> {
    let call = request.ipam_call();
    let ipam = Ipam::InProcess;
    match request.env.command {
        Command::Add => {
            let allocation = ipam.add(&call)?;
            let ip = |ip: ipam::IpConfig| Ip { interface: None, address: ip.address, gateway: ip.gateway };
            let result = CniResult {
                interfaces: Vec::new(),
                ips: allocation.ips.into_iter().map(ip).collect(),
                routes: allocation.routes,
                dns: allocation.dns,
            };
            return Ok(Some(result.to_json(request.conf.version)));
        }
        Command::Del => ipam.del(&call)?,
        Command::Check => ipam.check(&call)?,
        Command::Status => ipam.status(&call)?,
        Command::Gc => ipam.gc(&call, &request.conf.valid_attachments)?,
        Command::Version => {}
    }
    Ok(None)
}
