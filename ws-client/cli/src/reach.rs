//! How does one get to the server, and what does one ask it for?

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, ValueEnum};
use ws_client::{Compression, Config, Dial, DialError, Dialer, Keepalive};

use crate::exit::chain;
use crate::tls;

/// What the subcommands that connect have in common.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Opening the connection")]
pub(crate) struct Reach {
    /// A header to send; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// The subprotocols to offer, the preferred one first; may be repeated
    #[arg(short, long, value_name = "NAME", value_delimiter = ',')]
    subprotocol: Vec<String>,
    /// The web page to pretend to be, as https://example.com
    #[arg(short, long, value_name = "URL")]
    origin: Option<String>,
    /// Offers compression (permessage-deflate)
    #[arg(short, long, value_name = "HOW", num_args = 0..=1, default_missing_value = "takeover", require_equals = true)]
    compress: Option<Compress>,
    /// The proxy to go through, as http://user:password@host:3128 or socks5h://host:1080;
    /// by default that of the environment
    #[arg(short = 'x', long, value_name = "URL")]
    proxy: Option<String>,
    /// Goes by HTTP/2 over wss:// where the server allows it; then all connections share one.
    /// ws:// goes by HTTP/1.1
    #[arg(long)]
    http2: bool,
    /// Does not check the certificate of the server
    #[arg(short = 'k', long)]
    insecure: bool,
    /// Trusts the authorities in this PEM file, and no others
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// The certificate to show to the server, as PEM, and behind it its key unless --key has it
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The key of the certificate, as PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// How long opening the connection may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    connect_timeout: Duration,
    /// The longest message to accept, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 64 * 1024 * 1024)]
    max_size: usize,
    /// Pings a silent server so often, and gives it up if it does not answer as long again
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    keepalive: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Compress {
    /// Messages may refer to those before
    Takeover,
    /// Each message by itself
    NoTakeover,
}

impl Compress {
    pub(crate) const fn settings(self) -> Compression {
        match self {
            Self::Takeover => Compression::context_takeover(),
            Self::NoTakeover => Compression::no_context_takeover(),
        }
    }
}

impl Reach {
    /// What to dial.
    pub(crate) fn dial(&self, url: &str) -> Result<Dial> {
        let mut config = Config::new().read_limit(self.max_size);
        if let Some(how) = self.compress {
            config = config.compression(how.settings());
        }
        if let Some(interval) = self.keepalive {
            config = config.keepalive(Keepalive::every(interval));
        }
        let mut dial = Dial::new(complete(url))
            .subprotocols(&self.subprotocol)
            .config(config)
            .connect_timeout(self.connect_timeout);
        for (name, value) in &self.header {
            dial = dial.header(name.as_str(), value.as_str());
        }
        if let Some(origin) = &self.origin {
            dial = dial.origin(origin.as_str());
        }
        let dialer = self.dialer()?;
        Ok(dial.dialer(&if self.http2 { dialer.http2() } else { dialer }))
    }

    /// The same, but by HTTP/2 or not at all.
    pub(crate) fn dial_http2(&self, url: &str) -> Result<Dial> {
        Ok(self.dial(url)?.dialer(&self.dialer()?.http2_only()))
    }

    /// The same, but not by HTTP/2.
    pub(crate) fn dial_http1(&self, url: &str) -> Result<Dial> {
        Ok(self.dial(url)?.dialer(&self.dialer()?))
    }

    pub(crate) const fn has_origin(&self) -> bool {
        self.origin.is_some()
    }

    pub(crate) fn subprotocols(&self) -> &[String] {
        &self.subprotocol
    }

    pub(crate) const fn with_compression(mut self) -> Self {
        if self.compress.is_none() {
            self.compress = Some(Compress::Takeover);
        }
        self
    }

    fn dialer(&self) -> Result<Dialer> {
        let mut dialer = Dialer::new();
        if let Some(proxy) = &self.proxy {
            dialer = dialer.proxy(proxy);
        }
        if self.insecure || self.cacert.is_some() || self.cert.is_some() {
            let (cacert, cert, key) = (&self.cacert, &self.cert, &self.key);
            let (cacert, cert, key) = (cacert.as_deref(), cert.as_deref(), key.as_deref());
            dialer = dialer.tls(tls::config(self.insecure, cacert, cert, key)?);
        }
        Ok(dialer)
    }
}

/// A URL of what was typed: `localhost:9000` is enough.
pub(crate) fn complete(url: &str) -> String {
    if url.contains("://") {
        url.to_owned()
    } else if url.starts_with(':') {
        format!("ws://localhost{url}")
    } else {
        format!("ws://{url}")
    }
}

/// Why it cannot be dialled, and what to change.
pub(crate) fn explain(error: &DialError, url: &str) -> anyhow::Error {
    let url = complete(url);
    if let Some(refusal) = error.refusal() {
        let body = refusal.body_text();
        let body = body.trim();
        let says = if body.is_empty() { String::new() } else { format!("\n{body}") };
        let hint = match refusal.status.as_u16() {
            401 => " (--header 'Authorization: …', or user:password@ in the URL)",
            403 => " (it may want an --origin, or an --header with credentials)",
            300..=399 => " (the redirect was not followed)",
            200..=299 | 404 | 405 => " (there is no WebSocket at this path)",
            400 | 426 => " (it may want a --subprotocol)",
            _ => "",
        };
        return anyhow!("{url} refused with {}{hint}{says}", refusal.status);
    }
    let text = chain(error);
    let hint = match error {
        DialError::Tls(_) if text.to_lowercase().contains("certificate") => {
            " (--cacert FILE to trust who signed it, --insecure to look away)"
        }
        DialError::Tls(_) => " (is it ws:// rather than wss://?)",
        DialError::Proxy(_) => " (--proxy, or the environment)",
        DialError::Timeout(_) => " (--connect-timeout)",
        DialError::Header(_) => " (--header)",
        DialError::Subprotocol(_) => " (--subprotocol)",
        _ => "",
    };
    // The library names settings of its own.
    let text = text.replace(" (`Dial::connect_timeout`)", "");
    let text = text.replace(" (`Dial::subprotocols`)", "");
    anyhow!("no connection to {url}: {text}{hint}")
}

pub(crate) fn read(path: &Path, option: &str) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {} ({option})", path.display()))
}

pub(crate) fn header(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once(':').ok_or("write it as 'Name: value'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

pub(crate) fn seconds(text: &str) -> Result<Duration, &'static str> {
    let text = text.strip_suffix('s').unwrap_or(text);
    let seconds = text.parse::<f64>().map_err(|_| "write it in seconds, as 5 or 0.5")?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "write it in seconds, as 5 or 0.5")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_may_be_left_out() {
        for (typed, expected) in [
            ("localhost:9000", "ws://localhost:9000"),
            (":9000/chat", "ws://localhost:9000/chat"),
            ("example.com", "ws://example.com"),
            ("wss://example.com", "wss://example.com"),
        ] {
            assert_eq!(complete(typed), expected);
        }
    }

    #[test]
    fn seconds_may_be_parts() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("5s"), Ok(Duration::from_secs(5)));
        for bad in ["", "-1", "soon", "1e400"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
