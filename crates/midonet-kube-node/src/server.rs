//! What the agent serves: gRPC on a Unix socket for the plugin and `midokube`, and HTTP for probes and Prometheus.

mod answers;
mod connections;
mod drops;
mod flows;
mod flows_metrics;
mod grpc;
pub mod http;
mod legacy;
mod metrics;
mod near;
mod paths;
mod policies;
mod policy_metrics;
mod process_metrics;
mod remedy;
mod services;
mod services_metrics;
mod status;
mod summary;
mod text_format;
mod traces;
mod turn;

pub use drops::DropsService;
pub use flows::FlowsService;
pub use grpc::NodeService;
pub use legacy::LegacyService;
pub use paths::PathsService;
pub use policies::PoliciesService;
pub use services::ServicesService;
pub use traces::TracesService;
