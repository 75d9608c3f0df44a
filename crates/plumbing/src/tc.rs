//! Traffic control: the ingress block that all host sides of Pods share, programs at single
//! interfaces, and queueing disciplines.

mod block;
mod classifier;
mod clsact;
mod discipline;

pub use block::{INGRESS_BLOCK, block_members, block_program, clear_block, in_block, set_block_program};
pub(crate) use block::{is_member, join, join_block};
pub use classifier::{Direction, attach, attached_program, detach};
pub(crate) use discipline::disciplines;
