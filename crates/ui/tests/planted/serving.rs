//! The page of a planted cluster, served.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use ui::{Settings, Source, serve};

/// The key of the page.
pub(crate) const KEY: &str = "planted";

/// A server, until it is dropped.
pub(crate) struct Serving {
    pub(crate) port: u16,
    runtime: Option<Runtime>,
}

impl Serving {
    /// Of what a source knows.
    pub(crate) fn new(source: Arc<impl Source>, settings: Settings) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(serve(listener, source, settings));
        Self { port, runtime: Some(runtime) }
    }

    /// The address of the page, without the key.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
