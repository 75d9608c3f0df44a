//! What becomes of a connection.

mod text;
mod view;

use std::process::ExitCode;

use anyhow::Result;
use nodeapi::call;
use terminal::output;

use super::args::ExplainArgs;
pub(super) use text::text;
pub(super) use view::View;

/// The exit status of a connection that does not pass.
const DENIED: u8 = 4;

/// Asks the agent and prints its answer.
pub(super) fn run(args: &ExplainArgs) -> Result<ExitCode> {
    let reply = args.agent.ask(&call::EXPLAIN_POLICY, &args.request(), "what becomes of the connection")?;
    let view = View::from(reply);
    output::write(&args.output.text(&view, text)?)?;
    Ok(if view.passes() { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
}
