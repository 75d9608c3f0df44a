//! Traffic control: the ingress block that all host sides of Pods share, programs at the ingress of single
//! interfaces, and queueing disciplines.

mod block;
mod clsact;
mod discipline;
mod ingress;

pub use block::{INGRESS_BLOCK, block_members, block_program, in_block, set_block_program};
pub(crate) use block::{is_member, join, join_block};
pub(crate) use discipline::disciplines;
pub use ingress::{attach_ingress, detach_ingress, ingress_program};
