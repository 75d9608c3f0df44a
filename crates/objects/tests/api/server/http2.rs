//! The same server by HTTP/2, which real API servers speak.

use bytes::Bytes;
use h2::server::SendResponse;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{End, Reply, Request, Server, kind};

pub(super) async fn serve(
    server: Server,
    connection: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Option<()> {
    let mut connection = h2::server::handshake(connection).await.ok()?;
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(server.clone(), request, respond));
    }
    Some(())
}

async fn answer(
    server: Server,
    request: http::Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Option<()> {
    let (head, mut content) = request.into_parts();
    let mut body = Vec::new();
    while let Some(Ok(data)) = content.data().await {
        body.extend_from_slice(&data);
    }
    let target = head.uri.path_and_query()?.to_string();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    let kind = kind(head.method.as_str(), &target);
    let reply = server.reply(Request { kind, target, headers, body: String::from_utf8(body).ok()? });
    let head = |status: u16| http::Response::builder().status(status).body(()).ok();
    match reply {
        Reply::Answer(status, body) => {
            let mut stream = respond.send_response(head(status)?, false).ok()?;
            stream.send_data(body.into(), true).ok()
        }
        Reply::Stream(lines, end) => {
            let mut stream = respond.send_response(head(200)?, false).ok()?;
            for line in lines {
                stream.send_data(format!("{line}\n").into(), false).ok()?;
            }
            match end {
                End::Proper => stream.send_data(Bytes::new(), true).ok(),
                End::Open => std::future::pending().await,
                End::Cut | End::Bookmarks => panic!("no test needs this of HTTP/2"),
            }
        }
        Reply::Stall => std::future::pending().await,
        Reply::Plain(..) | Reply::Endless => panic!("no test needs this of HTTP/2"),
    }
}
