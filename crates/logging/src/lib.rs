//! What the daemons log, and how: shared by `midonet-kube-node` and `midonet-kube-controllers`.

use std::io;

use anyhow::Result;
use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Libraries that log each frame and each poll at debug. A level alone leaves them at info; a filter that names one overrides that.
const LIBRARIES: [&str; 9] =
    ["aya", "aya_obj", "h2", "hyper", "hyper_util", "mio", "rustls", "tonic", "tower"];

/// What is logged: the text as it was given, if it is a filter.
///
/// # Errors
/// It is none; says what is allowed.
pub fn log_filter(text: &str) -> Result<String, String> {
    let allowed = "give a level (error, warn, info, debug, trace or off) or a filter like info,objects=debug";
    // A word that is no level would be taken for the name of a part of the program, and silence all others.
    let unknown = |part: &&str| !part.contains(['=', '[']) && level(part).is_none();
    if let Some(part) = text.split(',').find(unknown) {
        return Err(format!("{part:?} is no level: {allowed}"));
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}: {allowed}")),
    }
}

/// Logs to standard error from now on, as a filter of [`log_filter`] says.
///
/// # Errors
/// It is no filter.
pub fn start(filter: &str, format: LogFormat) -> Result<()> {
    let log =
        tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(quiet(filter))?).with_writer(io::stderr);
    // That the log cannot be written is nothing to end for, as writing that to a closed standard error would.
    let log = log.log_internal_errors(false);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// The filter, after the defaults for libraries. It overrides them: of two parts with one name the last one counts.
fn quiet(filter: &str) -> String {
    // The Kubernetes client tells of every failed request, in its own words; the daemons say each cause once.
    let mut parts = vec!["kube_client=off".to_owned()];
    if filter.split(',').filter_map(level).any(|level| level > LevelFilter::INFO) {
        parts.extend(LIBRARIES.map(|library| format!("{library}=info")));
    }
    parts.push(filter.to_owned());
    parts.join(",")
}

/// The level that a part of a filter is for everything. The library takes nothing at all for a level, too.
fn level(part: &str) -> Option<LevelFilter> {
    if part.is_empty() { None } else { part.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_level_that_is_none_is_refused_with_those_that_are() {
        for good in
            ["info", "WARN", "off", "info,objects=debug", "debug,kube_client=off", "warn,[span]=trace"]
        {
            assert_eq!(log_filter(good).as_deref(), Ok(good));
        }
        for bad in ["verbose", "info,verbose", "objects=loud", "", "info,", "info=a=b"] {
            let error = log_filter(bad).unwrap_err();
            assert!(error.contains("error, warn, info, debug, trace"), "{bad}: {error}");
        }
    }

    #[test]
    fn libraries_say_little_unless_they_are_named() {
        for level in ["off", "error", "warn", "info", "objects=debug", "info,datapath=trace"] {
            assert_eq!(quiet(level), format!("kube_client=off,{level}"));
        }
        for level in ["debug", "TRACE", "info,debug"] {
            let filter = EnvFilter::try_new(quiet(level)).unwrap().to_string();
            assert!(filter.contains("h2=info") && filter.contains("rustls=info"), "{filter}");
        }
        let filter = EnvFilter::try_new(quiet("debug,h2=trace,kube_client=debug")).unwrap().to_string();
        assert!(filter.contains("h2=trace") && filter.contains("kube_client=debug"), "{filter}");
        assert!(!filter.contains("h2=info") && !filter.contains("kube_client=off"), "{filter}");
    }
}
