//! How does a program without async code use a WebSocket?
//!
//! The calls have the names of the async API, and block until they are done. The settings are those
//! of [`Dial`]:
//!
//! ```
//! # use tokio::net::TcpListener;
//! # use ws_core::{AcceptOptions, Acceptor};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (send, receive) = std::sync::mpsc::channel();
//! # std::thread::spawn(move || {
//! #     tokio::runtime::Runtime::new().unwrap().block_on(async {
//! #         let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
//! #         send.send(format!("ws://{}", listener.local_addr().unwrap())).unwrap();
//! #         let (stream, _) = listener.accept().await.unwrap();
//! #         let conn = Acceptor::new(&AcceptOptions::new()).accept(stream).await.unwrap();
//! #         let first = conn.read().await.unwrap();
//! #         conn.write(first).await.unwrap();
//! #         conn.write("news").await.unwrap();
//! #         conn.close(ws_core::StatusCode::GOING_AWAY, "").await.unwrap();
//! #     });
//! # });
//! # let url = receive.recv()?;
//! use ws_client::{Dial, blocking};
//!
//! let conn = blocking::connect(Dial::new(url).header("authorization", "Bearer 7c2f"))?;
//! conn.write("hello")?;
//! assert_eq!(conn.read()?.as_text(), Some("hello"));
//! for message in conn.messages() {
//!     println!("{}", message?.as_text().unwrap_or("binary"));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! There is no blocking [`Reconnect`](crate::Reconnect): the program dials again in a loop of its own.
//!
//! One thread serves all blocking connections of the process. The first connection starts it. So
//! pings are answered and deadlines are checked while the program computes or sleeps.
//!
//! Another thread can end a call that waits: by [`Conn::close`] of a clone, or by `close_now` of
//! [`Conn::get_ref`], for example after Ctrl-C. There is no `Reconnect` without async code.
//!
//! In async code, blocking calls return an error, because they would block other tasks. Use the
//! async API there. Closures of `tokio::task::spawn_blocking` and other threads may block.

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

#[cfg(feature = "json")]
use serde::{Serialize, de::DeserializeOwned};
use tokio::runtime::{Builder, Handle};
use tokio::task::coop;
use tokio::time::timeout;

use crate::{CloseInfo, Dial, DialError, Error, Message, StatusCode};

/// Connects to a `ws` or `wss` URL with the defaults of [`Dial`].
///
/// # Errors
///
/// As [`connect`].
pub fn dial(url: impl AsRef<str>) -> Result<Conn, DialError> {
    connect(Dial::new(url))
}

/// Connects with the settings of a [`Dial`].
///
/// # Errors
///
/// As [`Dial::connect`]; [`DialError::InAsyncCode`] in async code.
pub fn connect(dial: Dial) -> Result<Conn, DialError> {
    if in_async_code() {
        return Err(DialError::InAsyncCode);
    }
    let runtime = runtime()?;
    let conn = runtime.block_on(dial.connect())?;
    Ok(Conn { conn, runtime })
}

/// A WebSocket whose calls block: see the [module](self). A cheap handle: clone it to read in one
/// thread and to write in another.
///
/// When the last handle is dropped, the connection is closed with
/// [`GOING_AWAY`](StatusCode::GOING_AWAY).
#[derive(Clone, Debug)]
pub struct Conn {
    conn: ws_core::Conn,
    runtime: Handle,
}

impl Conn {
    /// Reads the next message, and waits for it without a limit.
    ///
    /// # Errors
    ///
    /// The errors of [`crate::Conn::read`], the end of the connection included. In async code,
    /// [`Error::Io`]; the connection stays open.
    #[doc(alias = "recv")]
    pub fn read(&self) -> Result<Message, Error> {
        self.wait(self.conn.read())
    }

    /// Reads the next message, and waits for it for at most `limit`. Returns `None` if no message
    /// has arrived by then. No message is lost: a later call returns it.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_timeout(&self, limit: Duration) -> Result<Option<Message>, Error> {
        self.wait(async { timeout(limit, self.conn.read()).await.ok().transpose() })
    }

    /// The messages until the connection ends. The last item is the error, unless the connection
    /// ends [normally](StatusCode::is_normal).
    pub fn messages(&self) -> Messages {
        Messages { conn: Some(self.clone()) }
    }

    /// Writes a message. Waits while the peer is slow and the
    /// [write buffer](crate::Config::write_buffer) is full.
    ///
    /// # Errors
    ///
    /// As [`crate::Conn::write`]; [`Error::Io`] in async code.
    #[doc(alias = "send")]
    pub fn write(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.wait(self.conn.write(message))
    }

    /// Reads a message, and decodes its JSON.
    ///
    /// # Errors
    ///
    /// As [`crate::Conn::read_json`]; [`Error::Io`] in async code.
    #[cfg(feature = "json")]
    pub fn read_json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.wait(self.conn.read_json())
    }

    /// Writes a value as JSON, in a text message.
    ///
    /// # Errors
    ///
    /// As [`crate::Conn::write_json`]; [`Error::Io`] in async code.
    #[cfg(feature = "json")]
    pub fn write_json<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), Error> {
        self.wait(self.conn.write_json(value))
    }

    /// Sends a ping, and returns the time until its pong.
    ///
    /// # Errors
    ///
    /// As [`crate::Conn::ping`]; [`Error::Io`] in async code.
    pub fn ping(&self) -> Result<Duration, Error> {
        self.wait(self.conn.ping())
    }

    /// Sends a ping, and waits for its pong for at most `limit`. Returns `None` if it has not arrived
    /// by then.
    ///
    /// # Errors
    ///
    /// As [`ping`](Self::ping).
    pub fn ping_timeout(&self, limit: Duration) -> Result<Option<Duration>, Error> {
        self.wait(async { timeout(limit, self.conn.ping()).await.ok().transpose() })
    }

    /// Waits until the transport has taken all that was written. The peer has not read it by then:
    /// only its answer shows that.
    ///
    /// # Errors
    ///
    /// As [`crate::Conn::flush`]; [`Error::Io`] in async code.
    pub fn flush(&self) -> Result<(), Error> {
        self.wait(self.conn.flush())
    }

    /// Closes the connection, and waits for the close frame of the peer. It also ends the calls of
    /// other threads. [`close_now`](crate::Conn::close_now) of [`get_ref`](Self::get_ref) does not
    /// wait.
    ///
    /// # Errors
    ///
    /// As [`crate::Conn::close`]; [`Error::Io`] in async code.
    pub fn close(&self, code: StatusCode, reason: &str) -> Result<(), Error> {
        self.wait(self.conn.close(code, reason))
    }

    /// How the connection ended; `None` while it is open.
    pub fn close_info(&self) -> Option<CloseInfo> {
        self.conn.close_info()
    }

    /// The async connection, for information such as its response, and for calls that do not wait.
    /// These also work in async code.
    pub const fn get_ref(&self) -> &ws_core::Conn {
        &self.conn
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match in_async_code() {
            true => Err(Error::Io(Arc::new(io::Error::other(DialError::InAsyncCode)))),
            false => self.runtime.block_on(work),
        }
    }
}

/// The messages of a [`Conn`], by [`Conn::messages`].
#[derive(Debug)]
#[must_use = "iterators are lazy"]
pub struct Messages {
    /// `None` after the end.
    conn: Option<Conn>,
}

impl Iterator for Messages {
    type Item = Result<Message, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.conn.as_ref()?.read() {
            Err(error) => {
                self.conn = None;
                (!error.is_normal_close()).then_some(Err(error))
            }
            message => Some(message),
        }
    }
}

/// The runtime of all blocking connections.
fn runtime() -> io::Result<Handle> {
    static RUNTIME: Mutex<Option<Handle>> = Mutex::new(None);
    let mut started = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*started {
        return Ok(handle.clone());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let work = move || runtime.block_on(pending::<()>());
    thread::Builder::new().name("ws-client-blocking".to_owned()).spawn(work)?;
    Ok(started.insert(handle).clone())
}

/// Whether this thread is polling a task, so that a blocking call would block other tasks.
///
/// A thread of `spawn_blocking` also belongs to a runtime, but may block. Only a task has a coop
/// budget (at present 128 steps). This function uses it up to detect it: the task gets an error
/// anyway.
fn in_async_code() -> bool {
    if Handle::try_current().is_err() {
        return false;
    }
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..=u8::MAX {
        match coop::poll_proceed(&mut cx) {
            Poll::Ready(step) => step.made_progress(),
            Poll::Pending => return true,
        }
    }
    false
}
