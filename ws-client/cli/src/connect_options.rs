//! Which options do all subcommands that connect have?

use std::convert::identity;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Error, Result, anyhow};
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use ws_client::{Compression, Config, Dial, DialError, Dialer, Keepalive, Limits, StatusCode};
use ws_core::redact::Redacted;

use crate::print::error_chain;
use crate::tls;

/// The options of all subcommands that connect.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Opening the connection")]
pub(crate) struct ConnectOptions {
    /// Sends a header; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = HeaderParser)]
    header: Vec<(String, String)>,
    /// Offers a subprotocol, in order of preference; may be repeated
    #[arg(short, long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) subprotocol: Vec<String>,
    /// Sends an Origin header, such as https://example.com
    #[arg(short, long, value_name = "URL")]
    pub(crate) origin: Option<String>,
    /// Offers compression (permessage-deflate). Default: off; without HOW: takeover
    #[arg(short, long, value_name = "HOW", num_args = 0..=1, default_missing_value = "takeover", require_equals = true)]
    pub(crate) compress: Option<CompressionMode>,
    /// Uses a proxy, such as http://user:password@host:3128 or socks5h://host:1080. Default: that
    /// of HTTPS_PROXY (wss), HTTP_PROXY (ws) or ALL_PROXY in the environment
    #[arg(short = 'x', long, value_name = "URL")]
    proxy: Option<String>,
    /// Uses HTTP/2 for wss:// if the server supports it, with one connection for all WebSockets.
    /// ws:// uses HTTP/1.1
    #[arg(long)]
    http2: bool,
    /// Does not verify the certificate of the server
    #[arg(short = 'k', long)]
    insecure: bool,
    /// Trusts only the root certificates in this PEM file
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Presents the client certificate in this PEM file; its key is there too, or in --key
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The private key of --cert, as PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The timeout for opening the connection, from the name lookup to the response
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    connect_timeout: Duration,
    /// The maximum length of a received message, after decompression
    #[arg(long, value_name = "BYTES", default_value_t = 64 * 1024 * 1024)]
    max_size: usize,
    /// Pings the server if nothing was received for one to two times this long, and waits this
    /// long for the pong. Default: off; with --reconnect: 30
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    keepalive: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CompressionMode {
    /// With context takeover
    Takeover,
    /// Without context takeover
    NoTakeover,
}

impl CompressionMode {
    pub(crate) const fn settings(self) -> Compression {
        match self {
            Self::Takeover => Compression::context_takeover(),
            Self::NoTakeover => Compression::no_context_takeover(),
        }
    }
}

impl ConnectOptions {
    /// The settings to dial a URL.
    pub(crate) fn dial(&self, url: &str) -> Result<Dial> {
        self.dial_over(if self.http2 { Dialer::http2 } else { identity }, url)
    }

    /// The same, over the HTTP versions that `choose` sets.
    pub(crate) fn dial_over(&self, choose: fn(Dialer) -> Dialer, url: &str) -> Result<Dial> {
        let mut config = Config::new().limits(Limits::new().message_size(self.max_size));
        if let Some(how) = self.compress {
            config = config.compression(how.settings());
        }
        if let Some(interval) = self.keepalive {
            config = config.keepalive(Keepalive::every(interval));
        }
        let mut dial = Dial::new(complete_url(url))
            .subprotocols(&self.subprotocol)
            .config(config)
            .connect_timeout(self.connect_timeout);
        for (name, value) in &self.header {
            dial = dial.header(name.as_str(), value.as_str());
        }
        if let Some(origin) = &self.origin {
            dial = dial.origin(origin.as_str());
        }
        Ok(dial.dialer(&choose(self.dialer()?)))
    }

    fn dialer(&self) -> Result<Dialer> {
        let mut dialer = Dialer::new();
        if let Some(proxy) = &self.proxy {
            dialer = dialer.proxy(proxy);
        }
        if self.insecure || self.cacert.is_some() || self.cert.is_some() {
            let (cacert, cert, key) = (&self.cacert, &self.cert, &self.key);
            let (cacert, cert, key) = (cacert.as_deref(), cert.as_deref(), key.as_deref());
            dialer = dialer.tls(tls::client_config(self.insecure, cacert, cert, key)?);
        }
        Ok(dialer)
    }
}

/// Completes a URL without a scheme, such as `localhost:9000` or `:9000`.
pub(crate) fn complete_url(url: &str) -> String {
    match url {
        _ if url.contains("://") => url.to_owned(),
        _ if url.starts_with(':') => format!("ws://localhost{url}"),
        _ => format!("ws://{url}"),
    }
}

/// A URL as it is printed: completed, and without secrets.
pub(crate) fn printed_url(url: &str) -> String {
    Redacted(&*complete_url(url)).to_string()
}

/// Describes why dialling failed, with the option to change.
pub(crate) fn explain(error: &DialError, url: &str) -> Error {
    anyhow!("cannot connect to {}: {}", printed_url(url), describe(error))
}

/// Describes an error of the library and its causes in one line, with the option to change.
pub(crate) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error_chain(error);
    OPTIONS.iter().fold(text, |text, (setting, option)| text.replace(setting, option))
}

/// The settings that the errors of the library name, and the options that they are set by. A setting
/// without an option has its value here.
const OPTIONS: &[(&str, &str)] = &[
    ("`Config::close_timeout`", "5 s"),
    ("`Config::keepalive`", "the keepalive timeout (--keepalive of a client)"),
    ("`Config::write_timeout`", "60 s"),
    ("`Dial::compression`", "--compress"),
    ("`Dial::connect_timeout`", "--connect-timeout"),
    ("`Dial::header`", "--header"),
    ("(`Dial::max_redirects`)", "(use the URL that they lead to)"),
    ("`Dial::origin`", "--origin"),
    ("`Dial::subprotocols`", "--subprotocol"),
    ("`Dialer::proxy`", "--proxy"),
    (
        "`Dialer::tls` sets the trusted roots",
        "--cacert FILE trusts its issuer, --insecure skips the verification",
    ),
    ("`Limits::message_size`", "--max-size"),
];

/// Parses a header. The value is not repeated in an error, since it may be a secret.
#[derive(Clone)]
struct HeaderParser;

impl TypedValueParser for HeaderParser {
    type Value = (String, String);

    fn parse_ref(
        &self,
        command: &clap::Command,
        _arg: Option<&clap::Arg>,
        text: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        match text.to_str().and_then(|text| text.split_once(':')) {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
            None => {
                let error = "write it as 'Name: value' (--header)\n";
                Err(clap::Error::raw(ErrorKind::ValueValidation, error).with_cmd(command))
            }
        }
    }
}

/// Parses the code of a close frame, with a reason if there is one.
pub(crate) fn code_and_reason(text: &str) -> Result<(StatusCode, String), &'static str> {
    let (code, reason) = text.split_once([' ', ':']).unwrap_or((text, ""));
    let code = code.parse().ok().and_then(StatusCode::from_u16).filter(|code| code.is_sendable());
    let code = code.ok_or("a code is 1000 to 1014, or 3000 to 4999")?;
    match reason.trim() {
        reason if reason.len() > 123 => Err("a reason has at most 123 bytes"),
        reason => Ok((code, reason.to_owned())),
    }
}

pub(crate) fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse().ok();
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or("write seconds, such as 5 or 0.5")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_optional() {
        for (typed, expected) in [
            ("localhost:9000", "ws://localhost:9000"),
            (":9000/chat", "ws://localhost:9000/chat"),
            ("example.com", "ws://example.com"),
            ("wss://example.com", "wss://example.com"),
        ] {
            assert_eq!(complete_url(typed), expected);
        }
    }

    #[test]
    fn errors_name_options_in_place_of_settings() {
        use ws_client::{Deadline, Error, InvalidHeader, RedirectError};

        let timeout = |deadline| describe(&Error::Timeout(deadline));
        let dial = |error: DialError| describe(&error);
        for (text, expected) in [
            (timeout(Deadline::Close), "the closing handshake took longer than 5 s"),
            (timeout(Deadline::Write), "the peer took no bytes within 60 s"),
            (
                timeout(Deadline::Keepalive),
                "the peer sent nothing within the keepalive timeout (--keepalive of a client)",
            ),
            (
                dial(InvalidHeader::Name.into()),
                "a header cannot be sent (--header): its name is not a token",
            ),
            (
                dial(RedirectError::TooMany(10).into()),
                "the redirect was not followed: there were more than 10 redirects (use the URL \
                 that they lead to)",
            ),
        ] {
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn seconds_may_have_a_fraction() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("5s"), Ok(Duration::from_secs(5)));
        for bad in ["", "-1", "soon", "1e400"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
