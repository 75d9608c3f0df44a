//! The client: it reads questions, a line each, and writes what came of them. Many are tried at a time.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::super::question::{Outcome, Question, What};
use super::held::Held;
use super::{dns, ping, resolver, tcp, udp};

/// So many questions are tried at a time.
const AT_ONCE: usize = 256;

/// So many lines wait.
const WAITING: usize = 64;

/// Who has not been asked for so long has been forgotten.
const IDLE: Duration = Duration::from_secs(600);

/// A line has so many bytes at most.
const LONGEST: u64 = 64 << 10;

/// Answers until there is no more to read. A line is a number, a space, and a question or what came of it.
///
/// # Errors
/// A question cannot be read: it is another version's.
pub(in crate::connectivity) async fn ask() -> Result<()> {
    let mut lines = lines();
    let (held, limit) = (Arc::new(Held::default()), Arc::new(Semaphore::new(AT_ONCE)));
    let mut questions: u32 = 0;
    while let Ok(Some(line)) = timeout(IDLE, lines.recv()).await {
        let (number, text) = line.split_once(' ').unwrap_or_default();
        let question: Question = serde_json::from_str(text)?;
        let number = number.to_owned();
        // Each try of a question has a number of its own.
        questions = questions.wrapping_add(u32::from(question.what.tries()).max(1));
        let first = questions;
        let (held, permit) = (Arc::clone(&held), Arc::clone(&limit).acquire_owned().await?);
        tokio::spawn(async move {
            let outcomes = try_it(&held, &question, first).await;
            drop(permit);
            // Who asked is gone, and so is this program soon.
            let _written = write(&number, &outcomes);
        });
    }
    Ok(())
}

/// Standard input, by a thread of its own: reading it blocks.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(WAITING);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = String::new();
            match io::Read::take(&mut input, LONGEST).read_line(&mut line) {
                Ok(length) if length > 0 && sender.blocking_send(line).is_ok() => {}
                _ => return,
            }
        }
    });
    receiver
}

fn write(number: &str, outcomes: &[Outcome]) -> Result<()> {
    let line = format!("{number} {}\n", serde_json::to_string(outcomes)?);
    let mut output = io::stdout().lock();
    output.write_all(line.as_bytes())?;
    output.flush()?;
    Ok(())
}

/// What comes of each try. After one that took its time no more are made.
async fn try_it(held: &Held, question: &Question, first: u32) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for number in 0..question.what.tries().max(1) {
        let outcome = try_once(held, question, first.wrapping_sub(number.into())).await;
        let is_over = matches!(outcome, Outcome::Silent { .. } | Outcome::Failed { .. });
        outcomes.push(outcome);
        if is_over {
            break;
        }
    }
    outcomes
}

async fn try_once(held: &Held, question: &Question, number: u32) -> Outcome {
    let patience = question.patience();
    match &question.what {
        What::Tcp { to, bytes, .. } => tcp::ask(*to, *bytes, patience).await,
        What::Connect { to } => match tcp::connect(*to, tokio::time::Instant::now() + patience).await {
            Ok(_) => Outcome::Reached,
            Err(outcome) => outcome,
        },
        What::Udp { to, size, .. } => udp::ask(*to, *size, number, patience).await,
        What::Ping { to } => ping::ask(*to, patience).await,
        What::Resolve { name, ipv6, tcp, server } => {
            dns::ask(dns::Wanted { name, ipv6: *ipv6 }, *tcp, *server, number, patience).await
        }
        What::Resolver => resolver::read(),
        What::Open { key, to, udp } => held.open(key, *to, *udp, number, patience).await,
        What::Use { key } => held.ask(key, number, patience).await,
    }
}
