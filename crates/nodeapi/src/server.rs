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

/// The socket's file, which others may remove or replace: it can be created again. Clones refer to the same socket.
#[derive(Debug, Clone)]
pub struct Socket(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// The device and inode numbers of the file that leads to the listener.
    made: Mutex<(u64, u64)>,
    listeners: mpsc::Sender<UnixListener>,
}

/// The listener: its connections are those of the last socket that was created.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    now: UnixListener,
    /// Those that were created since.
    next: mpsc::Receiver<UnixListener>,
}

/// Creates the socket, for root alone. A socket file of an agent that has ended is replaced, so the caller makes sure
/// beforehand that it is the only agent of the node.
///
/// A missing directory is created with mode 0700. An existing one keeps its mode; it must be owned by root and
/// writable by root alone, since others could replace the socket.
///
/// # Errors
/// [`ListenError`] names the socket and what failed.
pub fn listen(socket: &Path) -> Result<Listener, ListenError> {
    // A symbolic link is not followed: it may lead to another file.
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
            // First the connections of the former socket: those calls continue.
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
    /// Why clients cannot connect, if that is so: the file is gone, another, or its mode or owner changed.
    pub fn problem(&self) -> Option<String> {
        let Inner { path, made, .. } = &*self.0;
        let made = *made.lock().unwrap_or_else(PoisonError::into_inner);
        let path = path.display();
        match std::fs::symlink_metadata(&self.0.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!("{path} is gone")),
            Err(error) => Some(format!("cannot stat {path}: {error}")),
            Ok(file) if !file.file_type().is_socket() || identity(&file) != made => {
                Some(format!("{path} was replaced by another file"))
            }
            Ok(file) if file.mode() & 0o777 != MODE || file.uid() != 0 => {
                Some(format!("{path} has mode {:o} and owner {}", file.mode() & 0o777, file.uid()))
            }
            Ok(_) => None,
        }
    }

    /// Creates the socket again, and replaces whatever is there. Calls in progress continue.
    ///
    /// # Errors
    /// [`ListenError`] names the socket and what failed, or the server has ended.
    pub fn recreate(&self) -> Result<(), ListenError> {
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

/// A listener, and the device and inode numbers of its file.
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
    let file = std::fs::symlink_metadata(socket).map_err(fail("stat it"))?;
    Ok((listener, identity(&file)))
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// Creates the directory, or refuses one in which others than root could replace the socket.
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

/// The connections of processes that run as root. Others, of unauthorized peers, are closed unread, and their uid
/// is passed to `refused`.
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
