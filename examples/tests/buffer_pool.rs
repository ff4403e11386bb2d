//! Do the connections of each adapter use the configured buffer pool?

use std::time::Duration;

use ws_server_hyper::{AcceptOptions, BufferPool, Config, Conn, PreparedMessage};

use crate::adapters;

/// Sends a prepared message, whose flush is deferred, so it needs a buffer.
async fn greet(conn: Conn) {
    let _ = conn.write_prepared(&PreparedMessage::new("welcome")).await;
    let _ = conn.read().await;
}

#[tokio::test]
async fn all_adapters_share_a_pool() {
    let pool = BufferPool::new(1024 * 1024);
    let options = AcceptOptions::new().config(Config::new().buffer_pool(&pool));
    let run = async {
        for adapters::Served { by, client, .. } in adapters::each(&options, greet) {
            for client in [client.clone(), client.http2()] {
                let mut conns = Vec::new();
                for _ in 0..10 {
                    let conn = client.websocket("/x").connect().await.unwrap();
                    assert_eq!(conn.read().await.unwrap().as_text(), Some("welcome"));
                    conns.push(conn);
                    // All idle connections share one buffer.
                    assert!((1..1024).contains(&pool.cached()), "{by}: {}", pool.cached());
                }
                assert_eq!(pool.misses(), 1, "{by}");
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap();
}
