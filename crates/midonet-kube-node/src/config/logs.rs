//! The files that the agent writes for people, as the command line has them.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use http::Uri;
use http::uri::PathAndQuery;

/// How what is dropped is logged.
#[derive(Debug, Clone, Args)]
pub struct DenyLog {
    /// A file that gets a line of JSON for what is dropped, or would be but for an audit, of each sender and destination; without
    /// it there is none. In the cluster it has to be in a directory of the node that the manifest mounts, such as
    /// /var/lib/midonet-kube-node/deny.log.
    #[arg(long = "deny-log", env = "MIDONETKUBE_DENYLOG", value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// How large that file gets before it is renamed and a new one begins, such as 10MiB.
    #[arg(long = "deny-log-size", env = "MIDONETKUBE_DENYLOGSIZE", default_value = "10MiB")]
    pub size: Size,

    /// How many former files are kept: the file's name with .1 (the newest), .2 and so on.
    #[arg(long = "deny-log-files", env = "MIDONETKUBE_DENYLOGFILES", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub files: u32,

    /// How many lines a second are written at most; another line says how many are missing.
    #[arg(long = "deny-log-rate", env = "MIDONETKUBE_DENYLOGRATE", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
}

/// How flows are told to others than midokube.
#[derive(Debug, Clone, Args)]
pub struct FlowLog {
    /// A file that gets a line of JSON for each flow that is over, and every minute for one that goes on; without it there is
    /// none. It takes --flows on. In the cluster it has to be in a directory of the node that the manifest mounts, such as
    /// /var/lib/midonet-kube-node/flows.log.
    #[arg(id = "flow-log", long, env = "MIDONETKUBE_FLOWLOG", value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// How large that file gets before it is renamed and a new one begins, such as 10MiB.
    #[arg(id = "flow-log-size", long, env = "MIDONETKUBE_FLOWLOGSIZE", default_value = "10MiB")]
    pub size: Size,

    /// How many former files are kept: the file's name with .1 (the newest), .2 and so on.
    #[arg(id = "flow-log-files", long, env = "MIDONETKUBE_FLOWLOGFILES", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub files: u32,

    /// An OpenTelemetry collector that gets the same as log records, by OTLP/HTTP, such as http://collector.monitoring:4318; a path
    /// is /v1/logs unless it is given. With https it needs a certificate that the node trusts (SSL_CERT_FILE). It takes --flows on.
    #[arg(id = "flow-otlp", long, env = "MIDONETKUBE_FLOWOTLP", value_name = "URL")]
    pub collector: Option<Collector>,
}

/// Where an OpenTelemetry collector listens for logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector(pub Uri);

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str =
            "http://HOST:PORT or https://HOST:PORT is expected, for example http://127.0.0.1:4318";
        let uri: Uri = text.parse().map_err(|error| format!("{error}: {EXPECTED}"))?;
        let mut parts = uri.into_parts();
        let is_known =
            parts.scheme.as_ref().is_some_and(|scheme| ["http", "https"].contains(&scheme.as_str()));
        let has_user = parts.authority.as_ref().is_none_or(|authority| authority.as_str().contains('@'));
        if !is_known || has_user {
            return Err(EXPECTED.to_owned());
        }
        if parts.path_and_query.as_ref().is_none_or(|path| path.as_str() == "/") {
            parts.path_and_query = Some(PathAndQuery::from_static("/v1/logs"));
        }
        Uri::from_parts(parts).map(Self).map_err(|error| format!("{error}: {EXPECTED}"))
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text.strip_prefix(number) {
            Some("" | "B") => 0,
            Some("KiB" | "Ki") => 10,
            Some("MiB" | "Mi") => 20,
            Some("GiB" | "Gi") => 30,
            _ => return Err(SIZES.to_owned()),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << unit));
        bytes.filter(|bytes| LOG_SIZES.contains(bytes)).map(Self).ok_or_else(|| SIZES.to_owned())
    }
}

/// How large such a file may get.
const LOG_SIZES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 40;

const SIZES: &str = "give 64KiB to 1024GiB, in KiB, MiB or GiB";
