use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::Connected;

/// The socket's mode: root alone.
const MODE: u32 = 0o600;

/// The socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {}: {what}: {source}", .socket.display())]
pub struct ListenError {
    socket: PathBuf,
    what: &'static str,
    source: io::Error,
}

/// The socket's file, which somebody else may remove or replace: it can be made again. Clones are handles on one.
#[derive(Debug, Clone)]
pub struct Socket(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// The device and inode numbers of the file that leads to the listener.
    made: Mutex<(u64, u64)>,
    listeners: mpsc::Sender<UnixListener>,
}

/// Where connections arrive: those of the socket that was made last.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    now: UnixListener,
    /// Those that were made since.
    next: mpsc::Receiver<UnixListener>,
}

/// Makes the socket, open to root alone. A socket file left by an agent that is gone is replaced, so
/// the caller makes sure beforehand that it is the only agent of the node.
///
/// A directory that is missing is made, with mode 0700. One that is there keeps its mode; it must be root's and
/// writable by nobody else, who could put a socket of their own there.
///
/// # Errors
/// [`ListenError`] names the socket and what failed.
pub fn listen(socket: &Path) -> Result<Listener, ListenError> {
    // Not whatever the path leads to: it may be somebody else's file.
    if std::fs::symlink_metadata(socket).is_ok_and(|file| !file.file_type().is_socket()) {
        let source = io::Error::other("it is no socket: remove it, or name another path");
        return Err(ListenError { socket: socket.to_owned(), what: "use what is there", source });
    }
    let (now, made) = bind(socket)?;
    let (listeners, next) = mpsc::channel(1);
    let inner = Inner { path: socket.to_owned(), made: Mutex::new(made), listeners };
    Ok(Listener { socket: Socket(Arc::new(inner)), now, next })
}

impl Listener {
    /// The socket's file.
    pub fn socket(&self) -> Socket {
        self.socket.clone()
    }
}

impl Stream for Listener {
    type Item = io::Result<UnixStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            // First what waits at the socket that was there before: those calls live on.
            if let Poll::Ready(accepted) = self.now.poll_accept(cx) {
                return Poll::Ready(Some(accepted.map(|(stream, _)| stream)));
            }
            match ready!(self.next.poll_recv(cx)) {
                Some(next) => self.now = next,
                None => return Poll::Pending,
            }
        }
    }
}

impl Socket {
    /// What keeps callers from the listener, if anything: the file is gone, another, or not as it was made.
    pub fn problem(&self) -> Option<String> {
        let Inner { path, made, .. } = &*self.0;
        let made = *made.lock().unwrap_or_else(PoisonError::into_inner);
        let path = path.display();
        match std::fs::symlink_metadata(&self.0.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!("{path} is gone")),
            Err(error) => Some(format!("cannot look at {path}: {error}")),
            Ok(file) if !file.file_type().is_socket() || identity(&file) != made => {
                Some(format!("{path} was replaced by another file"))
            }
            Ok(file) if file.mode() & 0o777 != MODE || file.uid() != 0 => {
                Some(format!("{path} has mode {:o} and owner {}", file.mode() & 0o777, file.uid()))
            }
            Ok(_) => None,
        }
    }

    /// Makes the socket anew, in the place of whatever is there. Calls under way go on.
    ///
    /// # Errors
    /// [`ListenError`] names the socket and what failed; or nobody serves it any more.
    pub fn make_again(&self) -> Result<(), ListenError> {
        let Inner { path, made, listeners } = &*self.0;
        let (listener, identity) = bind(path)?;
        listeners.try_send(listener).map_err(|error| ListenError {
            socket: path.clone(),
            what: "serve it",
            source: io::Error::other(error.to_string()),
        })?;
        *made.lock().unwrap_or_else(PoisonError::into_inner) = identity;
        Ok(())
    }
}

/// A listener, and what its file is known by.
fn bind(socket: &Path) -> Result<(UnixListener, (u64, u64)), ListenError> {
    let fail = |what| move |source| ListenError { socket: socket.to_owned(), what, source };
    if let Some(directory) = socket.parent() {
        make_directory(directory).map_err(fail("use its directory"))?;
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(fail("remove what is there")(error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(fail("bind"))?;
    std::fs::set_permissions(socket, PermissionsExt::from_mode(MODE)).map_err(fail("protect"))?;
    let file = std::fs::symlink_metadata(socket).map_err(fail("look at it"))?;
    Ok((listener, identity(&file)))
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Makes the directory, or refuses one in which others than root could replace the socket.
fn make_directory(directory: &Path) -> io::Result<()> {
    let found = match std::fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return DirBuilder::new().recursive(true).mode(0o700).create(directory);
        }
        found => found?,
    };
    let others_write = found.mode() & 0o002 != 0 || (found.mode() & 0o020 != 0 && found.gid() != 0);
    if found.uid() == 0 && !others_write {
        return Ok(());
    }
    let path = directory.display();
    Err(io::Error::other(format!(
        "{path} has owner {}, group {} and mode {:o}: others than root could replace the socket; run `chown root {path}` \
         and `chmod go-w {path}`, or name a socket in another directory",
        found.uid(),
        found.gid(),
        found.mode() & 0o7777
    )))
}

/// The connections of the processes that run as root; others are closed unheard, and told to
/// `refused` by their uid.
pub fn incoming(
    listener: Listener,
    mut refused: impl FnMut(u32) + Send,
) -> impl Stream<Item = io::Result<PeerStream>> + Send {
    listener.filter_map(move |stream| match stream.and_then(|s| Ok((s.peer_cred()?, s))) {
        Ok((peer, stream)) if peer.uid() == 0 => Some(Ok(PeerStream(stream))),
        Ok((peer, _)) => {
            refused(peer.uid());
            None
        }
        Err(error) => Some(Err(error)),
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
