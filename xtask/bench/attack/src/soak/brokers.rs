//! How are the servers started that join hubs?

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// A server of a broker on a free port of 127.0.0.1. Dropping it ends the process.
#[derive(Debug)]
pub(super) struct BrokerServer {
    child: Child,
    /// What the hubs get.
    pub(super) url: String,
}

impl BrokerServer {
    /// Redis, without files. `None` if it is not installed.
    pub(super) fn redis() -> Result<Option<Self>> {
        let options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        Self::start("redis-server", "redis", &options, "--port")
    }

    /// NATS. `None` if it is not installed.
    pub(super) fn nats() -> Result<Option<Self>> {
        Self::start("nats-server", "nats", &["--addr", "127.0.0.1"], "--port")
    }

    fn start(
        program: &str,
        scheme: &str,
        options: &[&str],
        port_option: &str,
    ) -> Result<Option<Self>> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new(program);
        command.args(options).args([port_option, &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(child) = command.spawn() else {
            println!("{program} is not installed: no nodes are joined by it");
            return Ok(None);
        };
        let server = Self { child, url: format!("{scheme}://127.0.0.1:{port}") };
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            ensure!(began.elapsed() < Duration::from_secs(10), "{program} does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Some(server))
    }
}

impl Drop for BrokerServer {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
