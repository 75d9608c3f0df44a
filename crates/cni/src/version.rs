//! Versions of the CNI specification.

use std::fmt;

use serde_json::{Value, json};

/// A supported version; later ones compare greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.1.0: also the version of a configuration without `cniVersion`.
    V0_1_0,
    /// 0.2.0: VERSION.
    V0_2_0,
    /// 0.3.0: any number of interfaces and addresses; chaining.
    V0_3_0,
    /// 0.3.1
    V0_3_1,
    /// 0.4.0: CHECK.
    V0_4_0,
    /// 1.0.0: no `version` in `ips`.
    V1_0_0,
    /// 1.1.0: GC and STATUS.
    V1_1_0,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 7] =
        [Self::V0_1_0, Self::V0_2_0, Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// The newest.
    pub const NEWEST: Self = Self::V1_1_0;

    /// The value of `cniVersion`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The version of a configuration or result with this `cniVersion`, if it is supported. Without one it is
    /// 0.1.0, as in the reference implementation.
    pub fn named(text: Option<&str>) -> Option<Self> {
        text.map_or(Some(Self::V0_1_0), Self::parse)
    }

    /// The version of that text, if it is supported.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The answer to VERSION: in the version of `config`, which came on stdin and may be anything.
pub fn answer(config: &[u8]) -> Value {
    let asked: Option<Value> = serde_json::from_slice(config).ok();
    let asked = asked.as_ref().and_then(|config| config.get("cniVersion")?.as_str());
    let version = asked.unwrap_or(Version::NEWEST.as_str());
    json!({"cniVersion": version, "supportedVersions": Version::ALL.map(Version::as_str)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_the_version_of_the_question() {
        assert_eq!(answer(br#"{"cniVersion": "0.4.0"}"#)["cniVersion"], "0.4.0");
        assert_eq!(answer(b"")["cniVersion"], "1.1.0");
        assert_eq!(
            answer(b"{}")["supportedVersions"],
            json!(["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
        );
    }
}
