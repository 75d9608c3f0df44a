//! A command of `midokube` that goes on in a Pod: it is asked line by line, and answers line by line, in any order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::exec::{failed, refused};

/// Bytes of a line, and of what stands on standard error, that are read at most.
const LARGEST: u64 = 256 << 10;

/// How long it may take to end.
const END: Duration = Duration::from_secs(2);

/// A command that goes on. It ends with this value.
pub(crate) struct Talk {
    input: tokio::sync::Mutex<Box<dyn AsyncWrite + Send + Unpin>>,
    asked: Arc<Mutex<Asked>>,
    reader: AbortHandle,
    /// It is closed when there are no more answers.
    over: watch::Receiver<()>,
}

/// Who waits for an answer.
#[derive(Default)]
struct Asked {
    next: u64,
    waiting: BTreeMap<u64, oneshot::Sender<String>>,
    /// Why there are no more answers.
    ended: Option<String>,
}

impl Talk {
    /// Starts one.
    ///
    /// # Errors
    /// Why it cannot be, in words.
    pub(crate) async fn start(
        pods: &Api<Pod>,
        pod: &str,
        container: &str,
        words: &[&str],
        patience: Duration,
    ) -> Result<Self, String> {
        let how = AttachParams::default().container(container).stdin(true).stdout(true).stderr(true);
        let words = [&["midokube"], words].concat();
        let started = timeout(patience, pods.exec(pod, words, &how)).await;
        let late = |_| format!("midokube did not start in its Pod {pod} within {patience:?}");
        let mut process = started.map_err(late)?.map_err(|error| refused(pod, &error))?;
        let (Some(input), Some(output), Some(errors)) = (process.stdin(), process.stdout(), process.stderr())
        else {
            return Err(format!("midokube in its Pod {pod} has no input or output"));
        };
        let asked = Arc::<Mutex<Asked>>::default();
        let (goes_on, over) = watch::channel(());
        let reading = read(Arc::clone(&asked), process, output, errors);
        let reader = tokio::spawn(async move {
            reading.await;
            drop(goes_on);
        });
        let input = tokio::sync::Mutex::new(Box::new(input) as _);
        Ok(Self { input, asked, reader: reader.abort_handle(), over })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(crate) async fn ask(&self, question: &str, patience: Duration) -> Result<String, String> {
        let (number, answer) = self.register()?;
        let line = format!("{number} {question}\n");
        let sent = async {
            let mut input = self.input.lock().await;
            input.write_all(line.as_bytes()).await?;
            input.flush().await
        };
        let answered = async {
            // Who ends early says why on standard error.
            let _sent = sent.await;
            answer.await
        };
        let answered = timeout(patience, answered).await;
        let mut asked = lock(&self.asked);
        asked.waiting.remove(&number);
        match answered {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(asked.ended.clone().unwrap_or_else(|| "it has ended".to_owned())),
            Err(_) => Err(format!("its midokube did not answer within {patience:?}")),
        }
    }

    /// Whether there can be no more answers.
    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.asked).ended.is_some()
    }

    /// Ends it.
    pub(crate) async fn end(&self) {
        let mut over = self.over.clone();
        let ended = async {
            let _closed = self.input.lock().await.shutdown().await;
            while over.changed().await.is_ok() {}
        };
        // It may hang; then its connection is closed.
        let _ended = timeout(END, ended).await;
    }

    fn register(&self) -> Result<(u64, oneshot::Receiver<String>), String> {
        let mut asked = lock(&self.asked);
        if let Some(why) = &asked.ended {
            return Err(why.clone());
        }
        let (sender, receiver) = oneshot::channel();
        let number = asked.next;
        asked.next += 1;
        asked.waiting.insert(number, sender);
        Ok((number, receiver))
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // With it goes the connection, and with that the command.
        self.reader.abort();
    }
}

fn lock(asked: &Mutex<Asked>) -> std::sync::MutexGuard<'_, Asked> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands answers to who waits for them, until there are no more.
async fn read(
    asked: Arc<Mutex<Asked>>,
    mut process: AttachedProcess,
    output: impl AsyncRead + Unpin,
    errors: impl AsyncRead + Unpin,
) {
    let status = process.take_status();
    let answers = async {
        let mut output = BufReader::new(output);
        loop {
            let mut line = Vec::new();
            match (&mut output).take(LARGEST).read_until(b'\n', &mut line).await {
                Ok(length) if length > 0 => hand_over(&asked, &line),
                _ => return,
            }
        }
    };
    let complaint = async {
        let mut text = Vec::new();
        let _broken = errors.take(LARGEST).read_to_end(&mut text).await;
        text
    };
    let ((), complaint) = tokio::join!(answers, complaint);
    let why = match status {
        Some(status) => match status.await {
            Some(status) => match super::exec::code(&status) {
                Ok(code) => failed(code, &String::from_utf8_lossy(&complaint)),
                Err(why) => format!("midokube cannot be run there: {why}"),
            },
            None => "the connection to its midokube ended".to_owned(),
        },
        None => "the connection to its midokube ended".to_owned(),
    };
    drop(process);
    let mut asked = lock(&asked);
    asked.ended = Some(why);
    asked.waiting.clear();
}

fn hand_over(asked: &Mutex<Asked>, line: &[u8]) {
    let line = String::from_utf8_lossy(line);
    let Some((number, answer)) = line.split_once(' ') else { return };
    let Ok(number) = number.parse() else { return };
    if let Some(sender) = lock(asked).waiting.remove(&number) {
        // Who asked may wait no more.
        let _unheard = sender.send(answer.trim_end().to_owned());
    }
}
