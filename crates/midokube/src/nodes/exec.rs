//! Running `midokube` in an agent's Pod.

use std::time::SystemTime;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::Question;

/// Bytes of an answer that are read at most.
const LARGEST: u64 = 64 << 20;

/// Bytes of what stands on standard error that are read at most.
const LARGEST_ERROR: u64 = 64 << 10;

/// The exit status of an invalid command line.
const USAGE: u8 = 2;

/// What a command printed on a node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) code: u8,
    pub(crate) stdout: Vec<u8>,
    /// Between these two moments it ran, by this machine's clock.
    pub(crate) asked: SystemTime,
    pub(crate) answered: SystemTime,
}

/// Runs it to its end.
///
/// # Errors
/// Why there is no answer, in words.
pub(super) async fn exec(
    pods: &Api<Pod>,
    pod: &str,
    container: &str,
    question: &Question,
) -> Result<Output, String> {
    let words: Vec<&str> =
        std::iter::once("midokube").chain(question.words.iter().map(String::as_str)).collect();
    let how = AttachParams::default()
        .container(container)
        .stdin(question.input.is_some())
        .stdout(true)
        .stderr(true);
    let asked = SystemTime::now();
    let started = pods.exec(pod, words, &how).await;
    let mut process = started.map_err(|error| refused(pod, &error))?;
    let (stdin, stdout, stderr) = (process.stdin(), process.stdout(), process.stderr());
    let status = process.take_status();
    let write = async {
        if let (Some(mut stdin), Some(input)) = (stdin, &question.input) {
            // Who does not read all of it says why on standard error.
            let _closed = stdin.write_all(input).await;
            let _closed = stdin.shutdown().await;
        }
    };
    let (_, stdout, stderr) = tokio::join!(write, read(stdout, LARGEST), read(stderr, LARGEST_ERROR));
    let answered = SystemTime::now();
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    let Some(status) = status else { return Err(broken(pod, process).await) };
    let code = code(&status).map_err(|why| format!("midokube cannot be run in its Pod {pod}: {why}"))?;
    if stdout.len() as u64 > LARGEST {
        return Err(format!("its answer is larger than {LARGEST} bytes"));
    }
    // Who cannot answer prints nothing there, with whatever exit status.
    if question.answers.contains(&code) && !stdout.is_empty() {
        return Ok(Output { code, stdout, asked, answered });
    }
    Err(failed(code, &String::from_utf8_lossy(&stderr)))
}

/// Reads a stream to its end, and keeps a byte more than may be there.
async fn read(stream: Option<impl AsyncRead + Unpin>, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // What was read before the connection broke is kept: the status says that there is more to it.
        let _broken = (&mut stream).take(most + 1).read_to_end(&mut bytes).await;
        let _broken = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    bytes
}

/// The exit status of a command that was run; else why it was not.
pub(super) fn code(status: &Status) -> Result<u8, String> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.iter().flat_map(|details| details.causes.iter().flatten());
    let exit = causes.filter(|cause| cause.reason.as_deref() == Some("ExitCode"));
    let exit = exit.filter_map(|cause| cause.message.as_deref()?.parse().ok()).next();
    exit.ok_or_else(|| status.message.clone().unwrap_or_else(|| "the API server does not say why".to_owned()))
}

/// What a command that failed says.
pub(super) fn failed(code: u8, stderr: &str) -> String {
    let said = stderr.trim();
    let said = said.strip_prefix("midokube: ").unwrap_or(said);
    match code {
        USAGE => format!(
            "its midokube does not take this command line, so that it has another version than this one: {}",
            said.lines().next().unwrap_or_default()
        ),
        _ if said.is_empty() => {
            format!("midokube ended there with the exit status {code}, and without a word")
        }
        _ => said.to_owned(),
    }
}

pub(super) fn refused(pod: &str, error: &kube::Error) -> String {
    let said = error.to_string();
    if said.contains("403") {
        return format!(
            "the API server forbids it: the right to create pods/exec of {pod} is needed: {said}"
        );
    }
    format!("midokube cannot be run in its Pod {pod}: {said}")
}

/// Why there is no status.
async fn broken(pod: &str, process: AttachedProcess) -> String {
    let why = match process.join().await {
        Ok(()) => "the API server may be older than 1.30, which cannot end what a command reads".to_owned(),
        Err(error) => error.to_string(),
    };
    format!("the connection to midokube in its Pod {pod} ended early: {why}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_has_the_exit_status_or_why_there_is_none() {
        let status = |value| code(&serde_json::from_value::<Status>(value).unwrap());
        assert_eq!(status(json!({"status": "Success"})), Ok(0));
        let exit = json!({"reason": "ExitCode", "message": "4"});
        assert_eq!(status(json!({"status": "Failure", "details": {"causes": [exit]}})), Ok(4));
        let other = json!({"status": "Failure", "message": "no such container", "details": {"causes": []}});
        assert_eq!(status(other), Err("no such container".to_owned()));
        assert!(status(json!({"status": "Failure"})).is_err());
    }

    #[test]
    fn what_a_command_says_is_told() {
        assert_eq!(failed(1, "midokube: there is no socket x\n"), "there is no socket x");
        assert!(
            failed(2, "error: unrecognized subcommand 'preview'\n\nUsage: ...").contains("another version")
        );
        assert!(!failed(2, "error: a\nUsage: b").contains("Usage"));
        assert!(failed(7, "").contains("exit status 7"));
    }

    #[tokio::test]
    async fn no_more_is_kept_than_may_be_there() {
        assert_eq!(read(Some(&b"abc"[..]), 3).await, b"abc");
        assert_eq!(read(Some(&b"abcdef"[..]), 3).await, b"abcd");
        assert_eq!(read(None::<&[u8]>, 3).await, b"");
    }
}
