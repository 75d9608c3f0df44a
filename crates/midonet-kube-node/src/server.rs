//! What the agent serves: gRPC on a Unix socket for the plugin and `midokube`, and HTTP for probes and Prometheus.

mod answers;
mod connections;
mod grpc;
pub mod http;
mod legacy;
mod metrics;
mod services;
mod services_metrics;
mod status;
mod summary;

pub use grpc::NodeService;
pub use legacy::LegacyService;
pub use services::ServicesService;
