//! What the parts of the embedded network share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use super::connections::Tracking;
use super::hook::Hook;
use super::nftables::Nftables;
use super::ports::Ports;
use super::sets::Sets;
use super::state::{Applied, Settings};
use super::tables::Tables;
use super::tracer::Tracing;
use crate::repairs::Repairs;

/// What the parts share. A lock is held for short work only; whoever needs several takes them in this order: `ports`,
/// `nftables`, `tables`, `applied`. Those of `sets` and `tracing` are nobody's business but their own.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) settings: Settings,
    pub(super) hook: Hook,
    pub(super) repairs: Repairs,
    pub(super) tables: Tables,
    pub(super) tracking: Tracking,
    pub(super) tracing: Tracing,
    pub(super) sets: Sets,
    pub(super) ports: Mutex<Ports>,
    pub(super) nftables: Mutex<Nftables>,
    pub(super) applied: Mutex<Option<Arc<Applied>>>,
}

impl Parts {
    /// The Pods' ports.
    pub(super) fn ports(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nftables table.
    pub(super) fn nftables(&self) -> MutexGuard<'_, Nftables> {
        self.nftables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the kernel was last made to agree with; `None` before the first time.
    pub(super) fn applied(&self) -> Option<Arc<Applied>> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_applied(&self, applied: Applied) {
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(applied));
    }

    /// This node's podCIDRs; none before they are known.
    pub(super) fn pod_cidrs(&self) -> Vec<IpNet> {
        self.applied().map(|applied| applied.local.pod_cidrs.clone()).unwrap_or_default()
    }
}
