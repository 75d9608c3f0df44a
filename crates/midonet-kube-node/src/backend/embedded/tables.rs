//! The datapath, as its users share it: each holds it for single operations only, so that nobody waits for long work.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use datapath::{Datapath, NodeConfig, Result, Shaper};

/// So many entries of a table are read or written before others get their turn.
pub(super) const SLICE: usize = 256;

/// The datapath behind its lock.
pub(super) struct Tables(Mutex<Held>);

/// The datapath, and what it was last configured to.
pub(super) struct Held {
    pub(super) datapath: Datapath,
    config: Option<NodeConfig>,
    shaper: Option<Shaper>,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tables")
    }
}

impl Tables {
    pub(super) fn new(datapath: Datapath) -> Self {
        Self(Mutex::new(Held { datapath, config: None, shaper: None }))
    }

    /// The datapath, for single operations: everybody else waits meanwhile.
    pub(super) fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Configures the datapath; the shaper is the one that was set last.
    pub(super) fn set_config(&mut self, config: NodeConfig) -> Result<()> {
        let config = NodeConfig { shaper: self.shaper, ..config };
        self.datapath.set_config(&config)?;
        self.config = Some(config);
        Ok(())
    }

    /// Where limited Pods' packets queue from now on.
    pub(super) fn set_shaper(&mut self, shaper: Shaper) -> Result<()> {
        if self.shaper == Some(shaper) {
            return Ok(());
        }
        self.shaper = Some(shaper);
        self.config.clone().map_or(Ok(()), |config| self.set_config(config))
    }

    /// The shaper, once there was a Pod that needs it.
    pub(super) fn shaper(&self) -> Option<Shaper> {
        self.shaper
    }

    /// Whether the datapath is still configured as it was.
    pub(super) fn has_config(&self) -> Result<bool> {
        self.config.as_ref().map_or(Ok(true), |config| self.datapath.has_config(config))
    }
}
