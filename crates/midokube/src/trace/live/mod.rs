//! `--live`: real packets of one connection, as the hooks of the nodes have them.

mod ask;
mod connection;
mod judge;
mod plan;
mod session;
#[cfg(test)]
mod tests;
mod text;
mod view;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use terminal::{Format, output};

use self::ask::Follow;
pub(super) use self::ask::{Agents, Cluster, run_follow};
use self::judge::judge;
use self::plan::Plan;
use self::session::Session;
use self::view::View;
use super::args::TraceArgs;
use super::embedded::Ask;
use super::{LOST, UNKNOWN};

/// After the last packet of a connection, and before it is said that one was lost.
const GRACE: Duration = Duration::from_secs(1);

/// Follows, and shows what is seen.
///
/// # Errors
/// The nodes do not know who sends, or to whom, or the client's node cannot follow.
pub(super) fn run(args: &TraceArgs, ask: &mut impl Ask, follow: &mut impl Follow) -> Result<ExitCode> {
    let plan = Plan::new(ask, &args.packet)?;
    let streams = matches!(args.output, Format::Table | Format::Wide);
    let mut session = Session::begin(&plan, follow, usize::from(args.packets))?;
    let interrupted = interrupted();
    if streams {
        output::write(&text::head(&plan, session.nodes(), args.duration))?;
    }
    let began = Instant::now();
    let (mut shown, mut over) = (None, None::<Instant>);
    let mut is_read = true;
    while is_read {
        if streams {
            session.news().iter().for_each(|problem| output::complain("midokube", problem));
        }
        let rows = session.ask(follow);
        is_read = !streams || output::write(&text::rows(session.connection(), &rows, &mut shown))?;
        if session.connection().is_over() || session.connection().is_full() {
            over.get_or_insert_with(Instant::now);
        }
        let is_over = over.is_some_and(|over| over.elapsed() >= GRACE) || began.elapsed() >= args.duration;
        if is_over || interrupted.load(Ordering::Relaxed) {
            break;
        }
    }
    let rows = session.end(follow);
    let outcome = judge(session.connection(), &plan, session.told());
    if streams {
        session.news().iter().for_each(|problem| output::complain("midokube", problem));
        output::write(&text::rows(session.connection(), &rows, &mut shown))?;
        output::write(&text::foot(&outcome, session.lost()))?;
    } else {
        output::write(&args.output.text(&View::new(&plan, &session, &outcome), |_, _| String::new())?)?;
    }
    Ok(match outcome.arrives {
        Some(true) => ExitCode::SUCCESS,
        Some(false) => ExitCode::from(LOST),
        None => ExitCode::from(UNKNOWN),
    })
}

/// Becomes true with Ctrl-C: what was seen until then is told. The second one ends the program.
fn interrupted() -> Arc<AtomicBool> {
    let interrupted = Arc::<AtomicBool>::default();
    let flag = Arc::clone(&interrupted);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if flag.swap(true, Ordering::Relaxed) {
                    std::process::exit(INTERRUPTED);
                }
            }
        });
    });
    interrupted
}

/// The exit status of who is ended by SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;
