//! The model's Services in the datapath's words.

use std::sync::Arc;

use datapath::{Backend, Frontend, FrontendKind, Policy};
use model::{Family, Protocol, ServicePort, ServicePortKey};

/// The key of a row.
pub(super) fn key_of(key: &ServicePortKey) -> datapath::ServicePortKey {
    datapath::ServicePortKey {
        service: Arc::clone(&key.service),
        port: Arc::clone(&key.port),
        protocol: protocol_of(key.protocol),
        family: match key.family {
            Family::V4 => datapath::Family::V4,
            Family::V6 => datapath::Family::V6,
        },
    }
}

/// A protocol.
pub(in crate::backend::embedded) fn protocol_of(protocol: Protocol) -> datapath::Protocol {
    match protocol {
        Protocol::Tcp => datapath::Protocol::Tcp,
        Protocol::Udp => datapath::Protocol::Udp,
        Protocol::Sctp => datapath::Protocol::Sctp,
    }
}

/// The model's key of a row.
pub(super) fn model_key(key: &datapath::ServicePortKey) -> ServicePortKey {
    ServicePortKey {
        service: Arc::clone(&key.service),
        port: Arc::clone(&key.port),
        protocol: match key.protocol {
            datapath::Protocol::Tcp => Protocol::Tcp,
            datapath::Protocol::Udp => Protocol::Udp,
            datapath::Protocol::Sctp => Protocol::Sctp,
        },
        family: match key.family {
            datapath::Family::V4 => Family::V4,
            datapath::Family::V6 => Family::V6,
        },
    }
}

/// A row.
pub(super) fn port_of(port: &ServicePort) -> datapath::ServicePort {
    datapath::ServicePort {
        frontends: port.frontends.iter().map(frontend).collect(),
        cluster: backends(&port.cluster),
        local: backends(&port.local),
        refuse: port.refuse,
        affinity: port.affinity,
        source_ranges: port.source_ranges.clone(),
    }
}

/// Who serves a port, sorted.
pub(super) fn serving(port: &ServicePort) -> Arc<[Backend]> {
    backends(&port.serving)
}

fn frontend(frontend: &model::Frontend) -> Frontend {
    let policy = |policy| match policy {
        model::Policy::Cluster => Policy::Cluster,
        model::Policy::Local => Policy::Local,
    };
    Frontend {
        kind: match frontend.kind {
            model::FrontendKind::ClusterIp => FrontendKind::ClusterIp,
            model::FrontendKind::NodePort => FrontendKind::NodePort,
            model::FrontendKind::LoadBalancer => FrontendKind::LoadBalancer,
            model::FrontendKind::ExternalIp => FrontendKind::ExternalIp,
        },
        address: frontend.address,
        port: frontend.port,
        inside: policy(frontend.inside),
        outside: policy(frontend.outside),
    }
}

fn backends(backends: &[model::Backend]) -> Arc<[Backend]> {
    backends.iter().map(|one| Backend { address: one.address, port: one.port }).collect()
}
