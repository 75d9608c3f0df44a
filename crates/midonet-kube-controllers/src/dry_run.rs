//! What would be written, as YAML on standard output.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::timeout;
use translation::{CustomResource, Owner, Problem, Wanted};

use crate::config::Config;
use crate::difference::Difference;
use crate::feed::Feed;
use crate::kinds::TRANSLATION;
use crate::reconciler::{Enabled, Reconciler};
use crate::run::connect;

/// How long reading all objects may take.
const READING: Duration = Duration::from_secs(120);

/// Prints the Translations of all objects. With those that there are, what differs comes first, as comments. What is wrong with
/// objects goes to standard error.
///
/// # Errors
/// The objects cannot be read, or not all of them, or standard output cannot be written. A closed pipe is no error.
pub async fn dry_run(config: &Config) -> Result<()> {
    let connection = connect(config).await?;
    let enabled = Enabled { pusher: false, annotator: false, ..config.enabled() };
    let has_kind = match connection.writer() {
        Some(writer) => writer.serves(&TRANSLATION).await?,
        None => true,
    };
    let mut watch = connection.watch();
    let mut feed = Feed::new(&mut watch, enabled, has_kind);
    let mut reconciler = Reconciler::new(&config.tenant, enabled);
    if !has_kind {
        reconciler.without_translations();
    }
    let health = connection.health();
    let watching = watch.start();
    let read = async {
        while !reconciler.has_heard_of_all() {
            let news = feed.next().await.context("the source of objects ended")?;
            news(&mut reconciler);
        }
        anyhow::Ok(())
    };
    match timeout(READING, read).await {
        Ok(read) => read?,
        Err(_) => {
            let why = health.error().unwrap_or_else(|| "it is not known why".into());
            bail!("the objects were not read within {READING:?}: {why}");
        }
    }
    drop(watching);
    let mut complaints = BufWriter::new(io::stderr().lock());
    for (kind, objects) in health.invalid_objects().borrow().iter() {
        for (key, invalid) in objects {
            let _ = writeln!(complaints, "{kind} {key}: {}; {}", invalid.problem, invalid.remedy);
        }
    }
    quiet(print(&mut reconciler, enabled, &mut complaints))?;
    // Whoever uses what was printed is to know.
    match health.error() {
        Some(error) => bail!("not everything could be read: {error}"),
        None => Ok(()),
    }
}

fn print(reconciler: &mut Reconciler, enabled: Enabled, complaints: &mut impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let ours = |owner: &Owner| match owner {
        Owner::Globals => true,
        Owner::Object(object) => enabled.owners(object.kind),
    };
    if !reconciler.inventory().is_empty() {
        let mut difference = Difference::default();
        while let Some(change) = reconciler.next_change() {
            if ours(&change.owner) {
                difference.add(&change, reconciler.inventory());
            }
        }
        out.write_all(difference.comments(reconciler.inventory(), ours).as_bytes())?;
        reconciler.mark_all();
    }
    while let Some(change) = reconciler.next_change() {
        if !ours(&change.owner) {
            continue;
        }
        for Problem { object, reason, message } in &change.problems {
            // If standard error cannot be written, there is nobody to tell.
            let _ = writeln!(complaints, "{object}: {}: {message}", reason.name());
        }
        let Wanted::Set(wanted) = change.wanted else { continue };
        for translation in &wanted {
            out.write_all(b"---\n")?;
            let text =
                serde_yaml_ng::to_string(&CustomResource::from(translation)).map_err(io::Error::other)?;
            out.write_all(text.as_bytes())?;
        }
    }
    out.flush()
}

/// That nobody reads any more is no failure.
fn quiet(result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}
