//! One byte there, one byte back, over one connection or over a new one each time. Both ends on one
//! processor: what is measured is the cost of a transaction, not how fast the other one wakes up.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::SockRef;

use super::{Path, join, pin, prepared};

/// Transactions a second on one connection.
pub(crate) fn requests_per_second(path: &Path, duration: Duration) -> Result<f64> {
    served(path, echo, |targets| {
        // Connected first: connecting enters the namespace on a thread that would inherit the pin.
        let mut stream = path.connect(*targets.first().context("nobody serves")?)?;
        pin(false)?;
        let mut byte = [b'r'];
        let (start, mut count) = (Instant::now(), 0.0);
        while start.elapsed() < duration {
            stream.write_all(&byte).context("request")?;
            stream.read_exact(&mut byte).context("response")?;
            count += 1.0;
        }
        Ok(count / start.elapsed().as_secs_f64())
    })
}

/// Connections a second: connect, one request, one response, close (by reset: no port stays taken).
pub(crate) fn connections_per_second(path: &Path, duration: Duration) -> Result<f64> {
    served(path, echo, |targets| {
        path.from.run(|| -> Result<f64> {
            pin(false)?;
            let (start, mut count) = (Instant::now(), 0.0);
            for at in targets.iter().cycle() {
                if start.elapsed() >= duration {
                    break;
                }
                let mut stream = TcpStream::connect(at).with_context(|| format!("cannot connect to {at}"))?;
                stream.write_all(b"r").context("request")?;
                stream.read_exact(&mut [0]).context("response")?;
                setsockopt(&stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
                count += 1.0;
            }
            Ok(count / start.elapsed().as_secs_f64())
        })?
    })
}

/// Answers every byte until the client closes, in whatever manner.
fn echo(mut stream: TcpStream) -> Result<()> {
    let mut byte = [0];
    loop {
        match stream.read(&mut byte) {
            Ok(0) => return Ok(()),
            Ok(_) => stream.write_all(&byte).context("response")?,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error).context("request"),
        }
    }
}

/// Runs a client while every server of the path handles connections, one at a time.
fn served<T: Send>(
    path: &Path,
    handle: fn(TcpStream) -> Result<()>,
    client: impl FnOnce(&[SocketAddr]) -> Result<T> + Send,
) -> Result<T> {
    let listening = path.listen()?;
    thread::scope(|scope| {
        let servers: Vec<_> =
            listening.sockets.iter().map(|listener| scope.spawn(move || serve(listener, handle))).collect();
        let result = join(scope.spawn(|| client(&listening.targets)));
        for listener in &listening.sockets {
            // It ends accept(2) there.
            SockRef::from(listener).shutdown(Shutdown::Both).context("cannot end a server")?;
        }
        let ended: Vec<Result<()>> = servers.into_iter().map(join).collect();
        let value = result?;
        ended.into_iter().collect::<Result<()>>()?;
        Ok(value)
    })
}

fn serve(listener: &TcpListener, handle: fn(TcpStream) -> Result<()>) -> Result<()> {
    pin(false)?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => handle(prepared(stream)?)?,
            Err(error) if error.kind() == ErrorKind::InvalidInput => return Ok(()),
            // Nobody came for a while: that is for the client to judge.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("accept"),
        }
    }
}
