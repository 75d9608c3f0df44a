//! Protocols and ports as the API server and manifests have them.

use serde_json::Value;

use super::ClusterPort;
use crate::kinds::fields::{fields, port, port_name, text};
use crate::kinds::network_policy::Ports;
use crate::network::Protocol;
use crate::shared::shared;

/// One of a rule's protocols.
pub(super) fn cluster_port(value: &Value) -> Result<ClusterPort, String> {
    let [tcp, udp, sctp, name] = fields(value, ["tcp", "udp", "sctp", "destinationNamedPort"])?;
    let of = |protocol: Protocol, value| match destination(value) {
        Ok(ports) => Ok(ClusterPort::Of(protocol, ports)),
        Err(wrong) => Err(format!("{}: {wrong}", protocol.name().to_lowercase())),
    };
    match (tcp, udp, sctp, name) {
        (Some(tcp), None, None, None) => of(Protocol::Tcp, tcp),
        (None, Some(udp), None, None) => of(Protocol::Udp, udp),
        (None, None, Some(sctp), None) => of(Protocol::Sctp, sctp),
        (None, None, None, Some(name)) => Ok(ClusterPort::Named(shared(port_name(text(name)?)?))),
        (None, None, None, None) => Err("it is empty".to_owned()),
        _ => Err("it says more than one protocol".to_owned()),
    }
}

fn destination(value: &Value) -> Result<Ports, String> {
    let [destination] = fields(value, ["destinationPort"])?;
    match fields(destination.ok_or("it has no destinationPort")?, ["number", "range"])? {
        [Some(number), None] => port(number).map(|port| Ports::Range(port, port)),
        [None, Some(range)] => {
            let [start, end] = fields(range, ["start", "end"])?;
            let (start, end) = (start.ok_or("its range has no start")?, end.ok_or("its range has no end")?);
            match (port(start)?, port(end)?) {
                (start, end) if start < end => Ok(Ports::Range(start, end)),
                (start, end) => Err(format!("the range's end {end} is not above its start {start}")),
            }
        }
        [None, None] => Err("its destinationPort is empty".to_owned()),
        [Some(_), Some(_)] => Err("its destinationPort is a number and a range".to_owned()),
    }
}
