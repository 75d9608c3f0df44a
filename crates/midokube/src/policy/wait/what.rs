//! What is waited for.

use clap::ValueEnum;

/// Until what is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum What {
    /// The policy is in force.
    #[default]
    #[value(name = "applied")]
    Applied,
    /// The policy is gone, and is in force no more.
    #[value(name = "delete")]
    Deleted,
}

impl What {
    /// As the command line has it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Deleted => "delete",
        }
    }
}
