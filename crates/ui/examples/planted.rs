//! The page with a planted cluster, for those who work on it: `cargo run -p ui --example planted -- 9455 [empty|silent|lost|crowd]`.

#[path = "../tests/planted/mod.rs"]
mod planted;

use std::env;
use std::error::Error;
use std::sync::Arc;

use planted::{Known, Planted, cluster};
use tokio::net::TcpListener;
use ui::{Settings, serve};

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let port: u16 = words.next().unwrap_or_default().parse().unwrap_or(9455);
    let mut known = cluster::shop();
    known.flows.push(cluster::drop());
    match words.next().as_deref() {
        Some("empty") => known.flows.clear(),
        Some("silent") => {
            let nodes = known
                .nodes
                .into_iter()
                .map(|(node, error)| (node, error.or(Some("there is no socket".to_owned()))));
            known = Known { nodes: nodes.collect(), ..Known::default() };
        }
        Some("lost") => known = Known { lost_events: 812, flows: Vec::new(), ..known },
        Some("crowd") => known.flows = cluster::crowd(400, 12, 0),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        serve(listener, Arc::new(Planted::new(known)), Settings::new("planted".to_owned())).await?;
        Ok(())
    })
}
