//! What the agent answers on its socket.

mod node;
mod original;

pub use node::NodeService;
pub use original::OriginalService;
