//! How do tests start servers of Redis, and send them commands?
#![allow(dead_code, reason = "each test file uses a part of it")]

use redis::Value;
use redis::aio::MultiplexedConnection;

use crate::support::{self, Server, pause, within};

/// A server without persistence.
pub(crate) async fn start(extra: &[&str]) -> Option<Server> {
    Server::start("redis-server", |port, folder| {
        let port = port.to_string();
        let base = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let all = [&base[..], &["--dir", folder], extra].concat();
        all.into_iter().map(str::to_owned).collect()
    })
    .await
}

/// A connection for commands of a test.
pub(crate) async fn admin(port: u16) -> MultiplexedConnection {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    within(client.get_multiplexed_async_connection()).await.unwrap()
}

pub(crate) async fn command(admin: &mut MultiplexedConnection, command: &str) -> Value {
    let mut words = command.split(' ');
    let mut cmd = redis::cmd(words.next().unwrap());
    cmd.arg(words.collect::<Vec<_>>());
    within(cmd.query_async(admin)).await.unwrap()
}

/// Three masters of a cluster, with all slots.
pub(crate) struct RedisCluster {
    pub(crate) servers: Vec<Server>,
    pub(crate) admins: Vec<MultiplexedConnection>,
}

impl RedisCluster {
    pub(crate) async fn start() -> Option<Self> {
        let (mut servers, mut admins) = (Vec::new(), Vec::new());
        let mut addresses = Vec::new();
        for _ in 0..3 {
            let bus = support::free_port();
            let extra = ["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()];
            let server = start(&extra).await?;
            addresses.push((server.port, bus));
            admins.push(admin(server.port).await);
            servers.push(server);
        }
        for (index, slots) in [(0, 5460), (5461, 10922), (10923, 16383)].iter().enumerate() {
            let add = format!("CLUSTER ADDSLOTSRANGE {} {}", slots.0, slots.1);
            command(&mut admins[index], &add).await;
            command(&mut admins[index], &format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)).await;
        }
        for (port, bus) in &addresses[1..] {
            command(&mut admins[0], &format!("CLUSTER MEET 127.0.0.1 {port} {bus}")).await;
        }
        let mut cluster = Self { servers, admins };
        for index in 0..3 {
            cluster.wait(index, "cluster_state:ok", "CLUSTER INFO").await;
            cluster.wait(index, "cluster_known_nodes:3", "CLUSTER INFO").await;
        }
        Some(cluster)
    }

    /// Waits until a server answers with this text.
    async fn wait(&mut self, index: usize, text: &str, question: &str) {
        let admin = &mut self.admins[index];
        within(async {
            loop {
                let answer = command(admin, question).await;
                if redis::from_redis_value::<String>(answer).unwrap().contains(text) {
                    return;
                }
                pause().await;
            }
        })
        .await;
    }

    pub(crate) async fn text(&mut self, index: usize, question: &str) -> String {
        let answer = command(&mut self.admins[index], question).await;
        redis::from_redis_value(answer).unwrap()
    }
}
