//! One byte there, one byte back, over one connection or over a new one each time. Both ends on one
//! processor: what is measured is the cost of a transaction, not how fast the other one wakes up.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};

use super::{Path, join, pin, prepared};

/// A request, and the word that ends the server.
const REQUEST: u8 = b'r';
const END: u8 = b'e';

/// Transactions a second on one connection.
pub(crate) fn requests_per_second(path: &Path, duration: Duration) -> Result<f64> {
    let (listener, at) = path.listen()?;
    thread::scope(|scope| {
        let server = scope.spawn(|| -> Result<()> {
            pin(false)?;
            let mut stream = prepared(listener.accept().context("accept")?.0)?;
            let mut byte = [0];
            while stream.read(&mut byte).context("request")? == 1 {
                stream.write_all(&byte).context("response")?;
            }
            Ok(())
        });
        let client = scope.spawn(|| -> Result<f64> {
            // Connected first: connecting enters the namespace on a thread that would inherit the pin.
            let mut stream = path.connect(at)?;
            pin(false)?;
            let mut byte = [REQUEST];
            let (start, mut count) = (Instant::now(), 0.0);
            while start.elapsed() < duration {
                stream.write_all(&byte).context("request")?;
                stream.read_exact(&mut byte).context("response")?;
                count += 1.0;
            }
            Ok(count / start.elapsed().as_secs_f64())
        });
        let rate = join(client);
        join(server).and(rate)
    })
}

/// Connections a second: connect, one request, one response, close (by reset: no port stays taken).
pub(crate) fn connections_per_second(path: &Path, duration: Duration) -> Result<f64> {
    let (listener, at) = path.listen()?;
    thread::scope(|scope| {
        let server = scope.spawn(|| -> Result<()> {
            pin(false)?;
            loop {
                let mut stream = prepared(listener.accept().context("accept")?.0)?;
                let mut byte = [0];
                stream.read_exact(&mut byte).context("request")?;
                if byte == [END] {
                    return Ok(());
                }
                stream.write_all(&byte).context("response")?;
                match stream.read(&mut byte) {
                    Err(error) if error.kind() != ErrorKind::ConnectionReset => {
                        return Err(error).context("close");
                    }
                    _ => {}
                }
            }
        });
        let client = scope.spawn(|| -> Result<f64> {
            path.from.run(|| -> Result<f64> {
                pin(false)?;
                let once = |word: u8| -> Result<TcpStream> {
                    let mut stream =
                        TcpStream::connect(at).with_context(|| format!("cannot connect to {at}"))?;
                    stream.write_all(&[word]).context("request")?;
                    Ok(stream)
                };
                let (start, mut count) = (Instant::now(), 0.0);
                while start.elapsed() < duration {
                    let mut stream = once(REQUEST)?;
                    stream.read_exact(&mut [0]).context("response")?;
                    setsockopt(&stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
                    count += 1.0;
                }
                let rate = count / start.elapsed().as_secs_f64();
                once(END)?;
                Ok(rate)
            })?
        });
        let rate = join(client);
        join(server).and(rate)
    })
}
