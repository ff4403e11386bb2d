//! Does the code in the book compile, and that in the README of each crate?
//!
//! Each chapter is the documentation of a module, so its Rust code is a documentation test.
//! `cargo xtask tidy` checks that no chapter is missing.

/// Compiles the code of a chapter.
macro_rules! chapters {
    ($($name:ident $path:literal)*) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!($path)]
            mod $name {}
        )*
    };
}

chapters! {
    introduction "src/introduction.md"
    start "src/start.md"
    servers "src/servers.md"
    clients "src/clients.md"
    hub "src/hub.md"
    nothing_missed "src/nothing-missed.md"
    presence "src/presence.md"
    cluster "src/cluster.md"
    security "src/security.md"
    testing "src/testing.md"
    performance "src/performance.md"
    recipes "src/recipes.md"
    deploy "src/deploy/index.md"
    deploy_reverse_proxies "src/deploy/reverse-proxies.md"
    deploy_client_address "src/deploy/client-address.md"
    deploy_load_balancers "src/deploy/load-balancers.md"
    deploy_brokers "src/deploy/brokers.md"
    deploy_tls "src/deploy/tls.md"
    deploy_kubernetes "src/deploy/kubernetes.md"
    deploy_systemd "src/deploy/systemd.md"
    deploy_docker "src/deploy/docker.md"
    deploy_many_connections "src/deploy/many-connections.md"
    deploy_tokens "src/deploy/tokens.md"
    moving_axum "src/moving/axum.md"
    moving_warp "src/moving/warp.md"
    moving_tokio_tungstenite "src/moving/tokio-tungstenite.md"
    moving_hyper_tungstenite "src/moving/hyper-tungstenite.md"
    moving_fastwebsockets "src/moving/fastwebsockets.md"
    moving_actix_ws "src/moving/actix-ws.md"
    moving_socket_io "src/moving/socket-io.md"
    moving_socketioxide "src/moving/socketioxide.md"
    moving_go "src/moving/go.md"
    moving_go_calls "src/moving/go-calls.md"
}

chapters! {
    ws_client "../ws-client/README.md"
    ws_core "../ws-core/README.md"
    ws_events "../ws-events/README.md"
    ws_events_nats "../ws-events/nats/README.md"
    ws_events_redis "../ws-events/redis/README.md"
    ws_server_axum "../ws-server-axum/README.md"
    ws_server_hyper "../ws-server-hyper/README.md"
    ws_server_warp "../ws-server-warp/README.md"
}
