//! `midokube ui`: the same in a browser.

mod args;
mod asker;
mod documents;
mod flows;
mod known;
mod source;

use std::fs::File;
use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use terminal::output;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use ui::{Settings, serve};

pub(crate) use args::{HELP, UiArgs};
use asker::Asker;
use source::Watched;

/// How many bytes the key of the page has.
const KEY: usize = 16;

/// Serves the page until a signal ends the program.
pub(crate) fn run(args: &UiArgs) -> Result<ExitCode> {
    let source = Arc::new(Watched::new(Asker::new(args)?));
    let key = key()?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let bind = runtime.block_on(TcpListener::bind(args.listen));
    let listener = bind.with_context(|| {
        format!("cannot listen at {}: give another --listen if something else uses it", args.listen)
    })?;
    let address = listener.local_addr()?;
    Watched::watch(&source).context("cannot start to ask")?;
    output::write(&format!("http://{address}/?key={key}\n"))?;
    runtime.block_on(serve(listener, source, Settings::new(key))).context("the page is served no more")?;
    Ok(ExitCode::SUCCESS)
}

/// A key that nobody can guess.
fn key() -> Result<String> {
    let mut bytes = [0; KEY];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
    read.context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
