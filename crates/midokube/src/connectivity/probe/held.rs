//! Connections that stay open between questions.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::super::question::{Outcome, Size};
use super::wire::outcome;
use super::{tcp, udp};

/// So many at most.
const MOST: usize = 64;

/// Connections by their keys.
#[derive(Default)]
pub(super) struct Held(Mutex<HashMap<String, Arc<Mutex<Connection>>>>);

enum Connection {
    Tcp(tcp::Stream),
    Udp(UdpSocket, IpAddr),
}

impl Held {
    /// Opens one in the place of what has the key, and asks who answers.
    pub(super) async fn open(
        &self,
        key: &str,
        to: SocketAddr,
        over_udp: bool,
        number: u32,
        patience: Duration,
    ) -> Outcome {
        let end = Instant::now() + patience;
        let opened = if over_udp {
            udp::connect(to)
                .await
                .map(|socket| Connection::Udp(socket, to.ip()))
                .map_err(|e| outcome(&e, false))
        } else {
            tcp::connect(to, end).await.map(Connection::Tcp)
        };
        let connection = match opened {
            Ok(connection) => Arc::new(Mutex::new(connection)),
            Err(outcome) => return outcome,
        };
        {
            let mut held = self.0.lock().await;
            if held.len() >= MOST && !held.contains_key(key) {
                return Outcome::Failed { why: format!("{MOST} connections are open already") };
            }
            held.insert(key.to_owned(), connection);
        }
        self.ask(key, number, patience).await
    }

    /// Asks again who answers.
    pub(super) async fn ask(&self, key: &str, number: u32, patience: Duration) -> Outcome {
        let end = Instant::now() + patience;
        let Some(connection) = self.0.lock().await.get(key).cloned() else {
            return Outcome::Failed { why: "no such connection is open".to_owned() };
        };
        let Ok(mut connection) = timeout_at(end, connection.lock()).await else {
            return Outcome::Failed { why: "it is still asked something else".to_owned() };
        };
        match &mut *connection {
            Connection::Tcp(stream) => tcp::ask_by(stream, 0, end).await,
            Connection::Udp(socket, to) => udp::ask_by(socket, *to, Size::Small, number, patience).await,
        }
    }
}
