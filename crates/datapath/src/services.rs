//! Services: where they are reached, and who serves them.

mod entries;
mod hash;
mod lists;
mod maglev;
mod numbers;
mod parts;
mod served;
mod source_ranges;
mod space;
mod sums;
mod take_over;
mod types;
mod unused;
mod whole;
mod writer;
mod writes;

pub use sums::ServiceCounters;
pub use types::{Backend, Family, Frontend, FrontendKind, Policy, Protocol, ServicePort, ServicePortKey};
pub use unused::GRACE;
pub use writer::{Services, TableUsage};
pub(crate) use writes::Maps;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on fails"
)]
mod tests;
