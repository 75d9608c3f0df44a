//! The allocator alone, as the IPAM plugin that other plugins may call.

use cni::{Command, Document, Environment, Error, NetworkConfig};
use ipam::Ipam;
use serde_json::Value;

/// Carries out the call; ADD has a result. The configuration is the calling plugin's.
///
/// # Errors
/// The error to report to the caller.
pub(crate) fn run(env: &Environment, document: &Document) -> Result<Option<Value>, Error> {
    let config = NetworkConfig::parse(document, env.command)?;
    let call = env.call(document);
    let ipam = Ipam::InProcess;
    match env.command {
        Command::Add => return Ok(Some(ipam.add(&call)?.to_json(config.version))),
        Command::Del => ipam.del(&call)?,
        Command::Check => ipam.check(&call)?,
        Command::Status => ipam.status(&call)?,
        Command::Gc => ipam.gc(&call, &config.valid_attachments)?,
        Command::Version => {}
    }
    Ok(None)
}
