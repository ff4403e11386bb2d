//! Which servers does a long load use?

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use ws_client::Dialer;

use super::brokers::BrokerServer;
use crate::serve::Adapter;
use crate::target::Target;

/// How long one step of a client may take.
pub(super) const STEP: Duration = Duration::from_secs(30);

/// A server, as clients see it.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) url: String,
    pub(super) address: SocketAddr,
    /// All nodes of the cluster, or the server alone.
    pub(super) nodes: Vec<SocketAddr>,
    pub(super) kind: PlaceKind,
    /// The client's settings: HTTP/1.1, and HTTP/2 if the server has it.
    pub(super) dialers: Vec<Dialer>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PlaceKind {
    Echo,
    Hub,
    /// A hub with all that it can. The nodes of a cluster share sessions and histories if the broker has
    /// a total order.
    Service {
        is_ordered: bool,
    },
}

/// The servers, and what they need.
pub(super) struct Places {
    pub(super) targets: Vec<Target>,
    pub(super) places: Vec<Place>,
    _brokers: Vec<BrokerServer>,
}

/// Every adapter over TCP, two over TLS with HTTP/2, two hubs, a service, and two clusters of services.
pub(super) fn start() -> Result<Places> {
    let plain = Adapter::ALL.map(|adapter| (adapter, false, PlaceKind::Echo));
    let more = [
        (Adapter::Hyper, true, PlaceKind::Echo),
        (Adapter::Axum, true, PlaceKind::Echo),
        (Adapter::Axum, false, PlaceKind::Hub),
        (Adapter::Bare, false, PlaceKind::Hub),
        (Adapter::Axum, false, PlaceKind::Service { is_ordered: true }),
    ];
    let (mut targets, mut places, mut brokers) = (Vec::new(), Vec::new(), Vec::new());
    for (adapter, tls, kind) in [&plain[..], &more].concat() {
        let (target, place) = start_one(adapter, tls, kind)?;
        targets.push(target);
        places.push(place);
    }
    for (broker, is_ordered) in [(BrokerServer::redis()?, true), (BrokerServer::nats()?, false)] {
        let Some(broker) = broker else { continue };
        let mut nodes = Vec::new();
        for number in 1..=2 {
            let option = format!("--broker={}", broker.url);
            let mut node = Target::start(Adapter::Axum, &["--use=hub-service", &option])?;
            let scheme = broker.url.split(':').next().unwrap_or_default();
            node.name = format!("node {number} over {scheme}");
            nodes.push(node);
        }
        join(&mut nodes)?;
        places.push(Place {
            url: format!("ws://{}/", nodes[0].address),
            address: nodes[0].address,
            nodes: nodes.iter().map(|node| node.address).collect(),
            kind: PlaceKind::Service { is_ordered },
            dialers: vec![Dialer::new().no_proxy(), Dialer::new().no_proxy().http2_only()],
        });
        targets.extend(nodes);
        brokers.push(broker);
    }
    Ok(Places { targets, places, _brokers: brokers })
}

/// Waits until each node knows the others.
fn join(nodes: &mut [Target]) -> Result<()> {
    let (began, others) = (Instant::now(), nodes.len() - 1);
    for node in nodes {
        while node.ask("nodes")?.parse::<usize>()? < others {
            ensure!(began.elapsed() < Duration::from_secs(30), "{} finds no others", node.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn start_one(adapter: Adapter, tls: bool, kind: PlaceKind) -> Result<(Target, Place)> {
    let mut options = Vec::new();
    let file = std::env::temp_dir().join(format!("ws-soak-{}.der", std::process::id()));
    let tls_option = format!("--tls={}", file.display());
    if tls {
        options.push(&*tls_option);
    }
    match kind {
        PlaceKind::Echo => {}
        PlaceKind::Hub => options.push("--use=hub"),
        PlaceKind::Service { .. } => options.push("--use=hub-service"),
    }
    let mut target = Target::start(adapter, &options)?;
    let mut dialers = vec![Dialer::new().no_proxy()];
    if tls {
        // The server has written it before it answers.
        target.stats()?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(wait_for(&file)?))?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        dialers = vec![Dialer::new().no_proxy().tls(config)];
        dialers.push(dialers[0].clone().http2());
        std::fs::remove_file(file)?;
    } else if adapter != Adapter::Bare {
        dialers.push(Dialer::new().no_proxy().http2_only());
    }
    let (address, port) = (target.address, target.address.port());
    let url = if tls { format!("wss://localhost:{port}/") } else { format!("ws://{address}/") };
    target.name = match (kind, tls) {
        (PlaceKind::Hub, _) => format!("hub on {}", target.name),
        (PlaceKind::Service { .. }, _) => format!("service on {}", target.name),
        (PlaceKind::Echo, true) => format!("{} (TLS)", target.name),
        (PlaceKind::Echo, false) => target.name.clone(),
    };
    Ok((target, Place { url, address, nodes: vec![address], kind, dialers }))
}

fn wait_for(file: &std::path::Path) -> Result<Vec<u8>> {
    for _ in 0..100 {
        if let Ok(bytes) = std::fs::read(file)
            && !bytes.is_empty()
        {
            return Ok(bytes);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("the server has written no certificate")
}
