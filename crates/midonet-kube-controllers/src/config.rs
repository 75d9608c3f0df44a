//! The settings: what each means, its flag and its variable in the environment, and what is wrong with them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, ValueEnum};
use logging::{LogFormat, log_filter};
use midonet_client::{Options, Password, Trust};

use crate::election::Terms;
use crate::reconciler::Enabled;

/// Keeps a MidoNet in step with a Kubernetes cluster.
///
/// Nodes, Pods, Services and EndpointSlices become Translations, which are custom resources of Kubernetes with lists of
/// MidoNet's resources, and these are pushed to MidoNet's REST API. Of several of these programs one works, and the others wait.
#[derive(Debug, Clone, Parser)]
#[command(name = "midonet-kube-controllers", version, after_help = EXAMPLES)]
pub struct Config {
    /// Print the Translations of all objects as YAML, and end. Nothing is written or pushed. With a cluster, what differs from
    /// the Translations there comes first, as comments.
    #[arg(long, env = "MIDONETKUBE_DRYRUN")]
    pub dry_run: bool,

    /// Take objects from the Kubernetes manifests in this directory instead of an API server; with --dry-run alone.
    #[arg(long, env = "MIDONETKUBE_MANIFESTS")]
    pub manifests: Option<PathBuf>,

    /// What is done: node, pod, service and endpoints make Translations of these objects, pusher pushes them, nodeannotator makes
    /// Nodes MidoNet's hosts.
    #[arg(
        long,
        env = "MIDONETKUBE_ENABLED_CONTROLLERS",
        value_enum,
        value_delimiter = ',',
        default_value = "node,pod,service,endpoints,pusher,nodeannotator"
    )]
    pub enabled_controllers: Vec<Controller>,

    /// A kubeconfig file; without it, and without --manifests, the Pod's service account is used.
    #[arg(long, env = "MIDONETKUBE_KUBECONFIG", conflicts_with = "manifests")]
    pub kubeconfig: Option<PathBuf>,

    /// The API server's own address, for example https://192.0.2.10:6443.
    #[arg(long, env = "MIDONETKUBE_APISERVER", conflicts_with = "manifests")]
    pub api_server: Option<String>,

    /// Where MidoNet is.
    #[command(flatten)]
    pub midonet: MidoNet,

    /// The tenant that MidoNet's resources are of. With another one all ids are others.
    #[arg(long, env = "MIDONETKUBE_TENANT", default_value = "midonetkube")]
    pub tenant: String,

    /// The Lease by which one of several programs works.
    #[command(flatten)]
    pub lease: Lease,

    /// How many writes of Translations a second are made at most.
    #[arg(long, env = "MIDONETKUBE_WRITERATE", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub write_rate: u32,

    /// In which time all Translations are compared with MidoNet once, such as 30m.
    #[arg(long, env = "MIDONETKUBE_RESYNC", default_value = "30m", value_parser = humantime::parse_duration)]
    pub resync: Duration,

    /// How often MidoNet is asked whether it has lost everything.
    #[arg(long, env = "MIDONETKUBE_PROBE", default_value = "30s", value_parser = humantime::parse_duration)]
    pub probe: Duration,

    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, env = "MIDONETKUBE_HTTPLISTEN", default_value = "0.0.0.0:9453")]
    pub http_listen: SocketAddr,

    /// What to log: a level (error, warn, info, debug, trace) or a filter like info,objects=debug. Libraries stay at info unless named, as in debug,h2=debug.
    #[arg(long, env = "MIDONETKUBE_LOG_LEVEL", default_value = "info", value_parser = log_filter)]
    pub log_level: String,

    /// How to log.
    #[arg(long, env = "MIDONETKUBE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

const EXAMPLES: &str = "\
Examples:
  In a Deployment (the service account's token, an explicit API server, since no ClusterIP works yet):
    midonet-kube-controllers --api-server https://192.0.2.10:6443 --midonet-api http://192.0.2.20:8181/midonet-api
  What would be made of manifests, without any cluster:
    midonet-kube-controllers --dry-run --manifests DIR
  Settings can also be given in the environment: [env: ...] beside a flag has the variable's name. A flag counts before
  its variable.";

/// What can be done or left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the setting's help says it")]
pub enum Controller {
    Node,
    Pod,
    Service,
    Endpoints,
    Pusher,
    #[value(name = "nodeannotator")]
    NodeAnnotator,
}

/// Where MidoNet's REST API is, and how one logs in.
#[derive(Debug, Clone, Args)]
pub struct MidoNet {
    /// The base URL of MidoNet's REST API.
    #[arg(
        long = "midonet-api",
        env = "MIDONETKUBE_MIDONET_API",
        default_value = "https://localhost:8181/midonet-api"
    )]
    pub api: String,

    /// The user that logs in.
    #[arg(long = "midonet-username", env = "MIDONETKUBE_MIDONET_USERNAME", default_value = "admin")]
    pub username: String,

    /// Its password. Other users of the machine see a flag: give it in the environment, or in a file.
    #[arg(
        long = "midonet-password",
        env = "MIDONETKUBE_MIDONET_PASSWORD",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true,
        conflicts_with = "password_file"
    )]
    pub password: Password,

    /// A file with its password instead; a line break at its end does not count.
    #[arg(long = "midonet-password-file", env = "MIDONETKUBE_MIDONET_PASSWORDFILE")]
    pub password_file: Option<PathBuf>,

    /// The project that it logs in to.
    #[arg(
        long = "midonet-project",
        env = "MIDONETKUBE_MIDONET_PROJECT",
        default_value = "",
        hide_default_value = true
    )]
    pub project: String,

    /// A PEM file with the certificate authority of MidoNet's REST API, instead of the system's.
    #[arg(long = "midonet-ca", env = "MIDONETKUBE_MIDONET_CA", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,

    /// Believe MidoNet's REST API whatever its certificate is: whoever is on the path can read the password and change the
    /// network.
    #[arg(long = "midonet-insecure", env = "MIDONETKUBE_MIDONET_INSECURE")]
    pub insecure: bool,

    /// How many Translations are pushed at a time.
    #[arg(long = "push-concurrency", env = "MIDONETKUBE_PUSHCONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub concurrency: u8,
}

/// The Lease by which one of several programs works.
#[derive(Debug, Clone, Args)]
pub struct Lease {
    /// Its namespace.
    #[arg(long = "lease-namespace", env = "MIDONETKUBE_LEASENAMESPACE", default_value = "kube-system")]
    pub namespace: String,

    /// Its name.
    #[arg(long = "lease-name", env = "MIDONETKUBE_LEASENAME", default_value = "midonet-kube-controllers")]
    pub name: String,

    /// How long others wait after the last sign of the one that works, 3s to 10m. That one stops after two thirds of it.
    #[arg(long = "lease-duration", env = "MIDONETKUBE_LEASEDURATION", default_value = "15s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
}

/// What the manifest has in the place of what only the cluster's owner knows.
const PLACEHOLDER: &str = "FILL-IN";

/// The prefix of all settings in the environment.
const PREFIX: &str = "MIDONETKUBE_";

impl Config {
    /// Everything that is wrong with the settings, each with a remedy.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.manifests.is_some() && !self.dry_run {
            problems.push("--manifests is given without --dry-run; give both, or a cluster".to_owned());
        }
        let has = |one| self.enabled_controllers.contains(&one);
        if has(Controller::Service) != has(Controller::Endpoints) {
            problems.push(
                "--enabled-controllers has one of service and endpoints alone; give both or none: their Translations \
                 belong together"
                    .into(),
            );
        }
        if !(3..=600).contains(&self.lease.duration.as_secs()) {
            problems.push("--lease-duration is not 3s to 10m; correct it".into());
        }
        if self.resync < Duration::from_secs(1) || self.probe < Duration::from_millis(100) {
            problems.push("--resync is less than 1s or --probe less than 100ms; give more".into());
        }
        let given = [("--api-server", self.api_server.as_ref()), ("--midonet-api", Some(&self.midonet.api))];
        for (flag, text) in given {
            if text.is_some_and(|text| text.contains(PLACEHOLDER)) {
                problems.push(format!(
                    "{flag} has the manifest's placeholder; write the address into the ConfigMap midonet-kube-config and \
                     restart the Deployment"
                ));
            }
        }
        problems
    }

    /// What is done.
    pub fn enabled(&self) -> Enabled {
        let has = |one| self.enabled_controllers.contains(&one);
        Enabled {
            node: has(Controller::Node),
            pod: has(Controller::Pod),
            service: has(Controller::Service),
            pusher: has(Controller::Pusher),
            annotator: has(Controller::NodeAnnotator),
        }
    }

    /// How to reach MidoNet.
    ///
    /// # Errors
    /// The file with the password cannot be read.
    pub fn options(&self) -> anyhow::Result<Options> {
        let midonet = &self.midonet;
        let password = match &midonet.password_file {
            None => midonet.password.clone(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    anyhow::anyhow!(
                        "--midonet-password-file {}: {error}; give one that can be read",
                        path.display()
                    )
                })?;
                Password::new(text.trim_end_matches(['\r', '\n']))
            }
        };
        let mut options = Options::new(&midonet.api, &midonet.username, password, &midonet.project);
        options.trust = match &midonet.ca {
            _ if midonet.insecure => Trust::Anybody,
            Some(path) => Trust::File(path.clone()),
            None => Trust::System,
        };
        options.limits.concurrency = midonet.concurrency.into();
        Ok(options)
    }

    /// How long who works works.
    pub fn terms(&self) -> Terms {
        Terms::of(self.lease.duration)
    }
}

/// What in an environment of these names looks like a setting and is none. The manifest has one ConfigMap for the agent and
/// this program, so the agent's settings are let pass.
pub fn unknown_settings(names: impl Iterator<Item = String>) -> Vec<String> {
    let command = Config::command();
    let known: Vec<&str> =
        command.get_arguments().filter_map(|argument| argument.get_env()?.to_str()).collect();
    let bare = |name: &str| name.replace(['_', '.', '-'], "").to_ascii_uppercase();
    let unknown = names.filter(|name| name.starts_with(PREFIX) && !known.contains(&name.as_str()));
    let meant = |name: String| {
        let meant = known.iter().find(|known| bare(known) == bare(&name))?;
        Some(format!("{name} in the environment is no setting; write {meant}"))
    };
    unknown.filter_map(meant).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &str) -> Config {
        Config::try_parse_from(std::iter::once("program").chain(args.split_whitespace())).unwrap()
    }

    #[test]
    fn the_defaults_are_those_of_the_legacy_project() {
        let config = parse("");
        assert_eq!(config.enabled(), Enabled::ALL);
        assert_eq!(config.midonet.api, "https://localhost:8181/midonet-api");
        assert_eq!((config.midonet.username.as_str(), config.tenant.as_str()), ("admin", "midonetkube"));
        assert_eq!(config.http_listen.port(), 9453);
        assert_eq!(config.problems(), Vec::<String>::new());
        assert_eq!(config.options().unwrap().trust, Trust::System);
    }

    #[test]
    fn a_password_is_shown_nowhere() {
        let config = parse("--midonet-password hunter2");
        let shown = format!("{config:?} {:?}", config.options().unwrap());
        assert!(!shown.contains("hunter2") && shown.contains("(not shown)"), "{shown}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter3\n").unwrap();
        let config = parse(&format!("--midonet-password-file {}", file.path().display()));
        assert_eq!(config.options().unwrap().password, Password::new("hunter3"));
        let missing = parse("--midonet-password-file /nowhere/at/all").options().unwrap_err().to_string();
        assert!(missing.contains("/nowhere/at/all"), "{missing}");
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let flags = "--manifests /m --enabled-controllers service --lease-duration 1s --resync 0s \
                     --midonet-api http://FILL-IN:8181";
        let problems = parse(flags).problems().join("\n");
        for part in ["--dry-run", "service and endpoints", "--lease-duration", "--resync", "placeholder"] {
            assert!(problems.contains(part), "{part} in {problems}");
        }
    }

    #[test]
    fn every_setting_has_its_variable() {
        for argument in Config::command().get_arguments().filter(|arg| arg.get_long().is_some()) {
            let variable = argument.get_env().and_then(|name| name.to_str());
            assert!(variable.is_some_and(|name| name.starts_with(PREFIX)), "{argument:?}");
        }
        Config::command().debug_assert();
        let told = unknown_settings(
            ["MIDONETKUBE_TENANT", "MIDONETKUBE_midonet.api", "X"].map(Into::into).into_iter(),
        );
        assert_eq!(
            told,
            ["MIDONETKUBE_midonet.api in the environment is no setting; write MIDONETKUBE_MIDONET_API"]
        );
    }
}
