//! What the agent serves: gRPC on a Unix socket for the plugin and `midokube`, and HTTP for probes and Prometheus.

mod grpc;
pub mod http;
mod legacy;
mod metrics;
mod status;

pub use grpc::NodeService;
pub use legacy::LegacyService;
