//! How fast is an echo of bytes with tokio, without a protocol?

use std::cell::RefCell;
use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use kit::{Mode, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn main() -> Result<()> {
    let options = Options::of_process();
    let room: &'static Room = Box::leak(Box::default());
    kit::serve(options, move |stream| open(stream, options, room))
}

type Room = Mutex<Vec<Arc<TcpStream>>>;

const BUFFER: usize = 64 * 1024;

async fn open(mut stream: TcpStream, options: &'static Options, room: &'static Room) -> Result<()> {
    Box::pin(kit::open(&mut stream)).await?;
    match (options.mode, options.is("lazy")) {
        (Mode::Fanout, _) => tokio::spawn(publish(stream, room)),
        (Mode::Echo | Mode::Burst, true) => tokio::spawn(echo_lazily(stream)),
        (Mode::Echo | Mode::Burst, false) => tokio::spawn(echo(stream)),
    };
    Ok(())
}

async fn echo(mut stream: TcpStream) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count]).await?,
        }
    }
}

thread_local! {
    static SHARED: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// Holds no memory while idle: all connections of a thread read into one buffer.
async fn echo_lazily(mut stream: TcpStream) -> Result<()> {
    loop {
        stream.readable().await?;
        let rest = SHARED.with(|buffer| {
            let buffer = &mut *buffer.borrow_mut();
            let count = stream.try_read(buffer)?;
            let sent = stream.try_write(&buffer[..count]).or_else(would_block)?;
            Ok((count, buffer[sent..count].to_vec()))
        });
        match rest {
            Ok((0, _)) => return Ok(()),
            Ok((_, rest)) if rest.is_empty() => {}
            Ok((_, rest)) => stream.write_all(&rest).await?,
            Err(error) => would_block(error).map(drop)?,
        }
    }
}

fn would_block(error: Error) -> std::io::Result<usize> {
    match error.kind() {
        ErrorKind::WouldBlock => Ok(0),
        _ => Err(error),
    }
}

/// Sends the bytes of one connection to all others, from the buffer of the read.
async fn publish(stream: TcpStream, room: &'static Room) -> Result<()> {
    let stream = Arc::new(stream);
    room.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&stream));
    let mut buffer = vec![0; BUFFER];
    loop {
        stream.readable().await?;
        let count = match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) => would_block(error)?,
        };
        let bytes = &buffer[..count];
        let all = room.lock().unwrap_or_else(PoisonError::into_inner);
        for other in all.iter().filter(|other| count > 0 && !Arc::ptr_eq(other, &stream)) {
            anyhow::ensure!(
                other.try_write(bytes)? == count,
                "the socket buffer of a subscriber is full"
            );
        }
    }
}
