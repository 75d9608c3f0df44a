use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::Connected;

/// The socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {}: {what}: {source}", .socket.display())]
pub struct ListenError {
    socket: PathBuf,
    what: &'static str,
    source: io::Error,
}

/// Makes the socket, open to root alone. A socket file left by an agent that is gone is replaced, so
/// the caller makes sure beforehand that it is the only agent of the node.
///
/// # Errors
/// [`ListenError`] names the socket and what failed.
pub fn listen(socket: &Path) -> Result<UnixListener, ListenError> {
    let fail = |what| move |source| ListenError { socket: socket.to_owned(), what, source };
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder).map_err(fail("create its folder"))?;
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700))
            .map_err(fail("protect its folder"))?;
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(fail("remove the old socket")(error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(fail("bind"))?;
    std::fs::set_permissions(socket, PermissionsExt::from_mode(0o600)).map_err(fail("protect"))?;
    Ok(listener)
}

/// The connections of the processes that run as root; others are closed unheard, and told to
/// `refused` by their uid.
pub fn incoming(
    listener: UnixListener,
    mut refused: impl FnMut(u32) + Send,
) -> impl Stream<Item = io::Result<PeerStream>> + Send {
    UnixListenerStream::new(listener).filter_map(move |stream| {
        match stream.and_then(|s| Ok((s.peer_cred()?, s))) {
            Ok((peer, stream)) if peer.uid() == 0 => Some(Ok(PeerStream(stream))),
            Ok((peer, _)) => {
                refused(peer.uid());
                None
            }
            Err(error) => Some(Err(error)),
        }
    })
}

/// One connection of a process that runs as root.
#[derive(Debug)]
pub struct PeerStream(UnixStream);

impl Connected for PeerStream {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
