//! What is told of a test: to people, to programs, and to those that collect results of tests.

mod junit;
#[cfg(test)]
mod tests;
mod text;
mod view;

pub(super) use junit::junit;
pub(super) use text::{list, text};
pub(super) use view::{Failure, ScenarioResult, Scenarios, View, result};
