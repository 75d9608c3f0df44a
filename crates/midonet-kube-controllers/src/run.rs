//! The program's life: wait for the Lease, work while it is held, and stop before another one works.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use midonet_client::Client;
use objects::{ApiOptions, Connection, Source};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::annotating::annotate;
use crate::config::Config;
use crate::election::{Answer, Elector};
use crate::events::channel;
use crate::feed::Feed;
use crate::http;
use crate::metrics::Metrics;
use crate::pushing::Pushing;
use crate::readiness::{Readiness, Stage};
use crate::reconciler::Reconciler;
use crate::reporting::report;
use crate::shared::Shared;
use crate::writing::{Pace, WRITERS, Writing};

/// Who reports in Events.
const CONTROLLER: &str = "midonet.org/midonet-kube-controllers";

/// How long giving the Lease back may take.
const GOODBYE: Duration = Duration::from_secs(3);

/// Where objects come from.
pub fn source(config: &Config) -> Source {
    match &config.manifests {
        Some(path) => Source::Directory(path.clone()),
        None => {
            let (kubeconfig, server) = (config.kubeconfig.clone(), config.api_server.clone());
            Source::Api(ApiOptions { kubeconfig, server, cache: None })
        }
    }
}

/// Prepares the source.
///
/// # Errors
/// It cannot be used at all.
pub async fn connect(config: &Config) -> Result<Connection> {
    source(config).connect().await.map_err(|error| anyhow!("{error}; {}", error.remedy()))
}

/// What works, or waits to.
struct Program {
    config: Config,
    connection: Connection,
    client: Client,
    metrics: Metrics,
    readiness: Readiness,
    identity: String,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// What makes it impossible to start, or to go on.
pub async fn run(config: Config) -> Result<()> {
    let metrics = Metrics::default();
    let readiness = Readiness::default();
    let client = Client::new(&config.options()?, Arc::new(metrics.client.clone()))?;
    let connection = connect(&config).await?;
    let writer = connection.writer().context("there is no API server to write to")?;
    let identity = identity()?;
    info!(version = env!("CARGO_PKG_VERSION"), identity, source = %connection, "starting");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = http::listen(config.http_listen).await?;
    let served = http::serve(listener, metrics.clone(), readiness.clone());
    let (lease, terms) = (&config.lease, config.terms());
    let mut elector = Elector::new(writer, &lease.namespace, &lease.name, identity.clone(), terms);
    let program = Program { config, connection, client, metrics, readiness, identity };
    let mut working = JoinSet::new();
    let result = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = served => ended,
        ended = program.take_turns(&mut elector, &mut working) => ended,
    };
    info!("stopping");
    // Nothing is written any more when another one may begin.
    working.shutdown().await;
    if timeout(GOODBYE, elector.release()).await.is_err() {
        warn!("the Lease was not given back: another one waits until it ends");
    }
    result
}

impl Program {
    /// Waits for the Lease and works while it is held, again and again.
    async fn take_turns(&self, elector: &mut Elector, working: &mut JoinSet<()>) -> Result<()> {
        loop {
            let held = self.acquire(elector).await;
            info!("this program works now");
            self.metrics.set_leader(true);
            self.readiness.set(Stage::Reading(None));
            self.work(working)?;
            let ended = tokio::select! {
                () = keep(elector, held) => Ok(()),
                Some(ended) = working.join_next() => ended.context("a part of the program failed"),
            };
            working.shutdown().await;
            self.metrics.set_leader(false);
            self.readiness.set(Stage::Starting);
            warn!("the Lease is lost: nothing is written until it is held again");
            ended?;
        }
    }

    /// Waits until the Lease is held.
    async fn acquire(&self, elector: &mut Elector) -> Instant {
        let mut said = None;
        loop {
            let stage = match elector.ask().await {
                Ok(Answer::Held(since)) => return since,
                Ok(Answer::By(holder)) => Stage::Standby(holder),
                Ok(Answer::Unclear) => Stage::Standby("another one".into()),
                Err(fault) => Stage::NoLease(fault.to_string()),
            };
            if said.as_ref() != Some(&stage) {
                match &stage {
                    Stage::NoLease(why) => warn!(why, "the Lease cannot be had"),
                    Stage::Standby(holder) => info!(holder, "standing by"),
                    _ => {}
                }
            }
            said = Some(stage.clone());
            self.readiness.set(stage);
            tokio::time::sleep(elector.terms().period).await;
        }
    }

    /// Begins to work: everything that does so ends with these tasks.
    fn work(&self, tasks: &mut JoinSet<()>) -> Result<()> {
        let enabled = self.config.enabled();
        let shared = Arc::new(Shared::new(Reconciler::new(&self.config.tenant, enabled)));
        let (events, telling) = channel(&self.metrics);
        let mut watch = self.connection.watch();
        let mut feed = Feed::new(&mut watch, enabled, true);
        let health = self.connection.health();
        let recorder =
            self.connection.event_recorder(CONTROLLER, &self.identity).context("there is no API server")?;
        let writing = Writing {
            shared: Arc::clone(&shared),
            writer: self.connection.writer().context("there is no API server to write to")?,
            pace: Arc::new(Pace::new(self.config.write_rate)),
            events: events.clone(),
            metrics: self.metrics.clone(),
        };
        tasks.spawn(telling.run(recorder));
        let (metrics, readiness) = (self.metrics.clone(), self.readiness.clone());
        tasks.spawn(report(Arc::clone(&shared), events, metrics, readiness, health));
        for _ in 0..WRITERS {
            tasks.spawn(writing.clone().run());
        }
        let (client, readiness) = (self.client.clone(), self.readiness.clone());
        let pushing = Pushing { client, writing: writing.clone(), readiness };
        if enabled.pusher {
            for _ in 0..self.config.midonet.concurrency {
                tasks.spawn(pushing.clone().run());
            }
            tasks.spawn(pushing.clone().probe(self.config.probe));
            tasks.spawn(pushing.compare(self.config.resync));
        }
        if enabled.annotator {
            tasks.spawn(annotate(Arc::clone(&shared), self.client.clone(), writing));
        }
        let watching = watch.start();
        tasks.spawn(async move {
            while let Some(news) = feed.next().await {
                shared.change(news);
            }
            drop(watching);
        });
        Ok(())
    }
}

/// Renews the Lease until that has not been possible for too long, or another one has it.
async fn keep(elector: &mut Elector, mut held: Instant) {
    let terms = elector.terms();
    loop {
        tokio::time::sleep(terms.period).await;
        let left = (held + terms.deadline).saturating_duration_since(Instant::now());
        match timeout(left, elector.ask()).await {
            Ok(Ok(Answer::Held(since))) => held = since,
            Ok(Ok(Answer::By(holder))) => return warn!(holder, "another one has the Lease"),
            Ok(Ok(Answer::Unclear)) => {}
            Ok(Err(fault)) => warn!(%fault, "the Lease was not renewed"),
            Err(_) => return warn!(limit = ?terms.deadline, "the Lease could not be renewed in time"),
        }
    }
}

/// The machine's name, and something that no other program has.
fn identity() -> Result<String> {
    let host = nix::unistd::gethostname().context("the machine's name")?;
    let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid").context("a random number")?;
    Ok(format!("{}_{}", host.to_string_lossy(), random.trim()))
}
