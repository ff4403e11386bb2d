//! Which pages may open a WebSocket with the default policy, on each adapter?

use crate::report::{Finding, Report};
use crate::target::Target;
use crate::wire::{self, head};

/// What the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// 101.
    Open,
    /// 403.
    Refused,
    /// 400: the head is malformed.
    Malformed,
}

impl Answer {
    fn is(self, status: u16) -> bool {
        status
            == match self {
                Self::Open => 101,
                Self::Refused => 403,
                Self::Malformed => 400,
            }
    }
}

/// A host, the values of `Origin`, each in a line, and the answer.
type OriginPair = (&'static str, Vec<String>, Answer);

fn pairs() -> Vec<OriginPair> {
    use Answer::{Malformed, Open, Refused};
    let one = |(host, origin, answer): (&'static str, &str, Answer)| -> OriginPair {
        (host, vec![origin.to_owned()], answer)
    };
    let mut rows: Vec<_> = [
        // The same host, with the default port of the page's scheme.
        ("example.com", "http://example.com", Open),
        ("example.com", "https://example.com", Open),
        ("EXAMPLE.com", "HTTPS://example.COM", Open),
        ("example.com", "https://example.com:443", Open),
        ("example.com", "http://example.com:80", Open),
        ("example.com:80", "http://example.com", Open),
        ("example.com:443", "https://example.com", Open),
        ("example.com:8080", "http://example.com:8080", Open),
        ("example.com:", "http://example.com/", Open),
        ("[::1]:3000", "http://[::1]:3000", Open),
        ("[2001:DB8::1]", "http://[2001:db8::1]", Open),
        ("127.0.0.1:3000", "http://127.0.0.1:3000", Open),
        ("xn--exmple-cua.com", "https://xn--exmple-cua.com", Open),
        ("example.com", "  http://example.com\t", Open),
        // Another port or scheme.
        ("example.com", "http://example.com:443", Refused),
        ("example.com", "https://example.com:80", Refused),
        ("example.com", "http://example.com:8080", Refused),
        ("example.com:443", "http://example.com", Refused),
        ("example.com:80", "https://example.com", Refused),
        ("example.com:8080", "http://example.com", Refused),
        ("example.com", "ws://example.com", Refused),
        ("example.com", "ftp://example.com", Refused),
        ("example.com", "tauri://example.com", Refused),
        ("example.com", "chrome-extension://example.com", Refused),
        // Hosts that look alike.
        ("example.com", "http://example.org", Refused),
        ("example.com", "http://www.example.com", Refused),
        ("example.com", "http://evil-example.com", Refused),
        ("example.com", "http://evilexample.com", Refused),
        ("example.com", "http://example.com.evil", Refused),
        ("example.com", "http://example.com.", Refused),
        ("example.com", "http://example.co", Refused),
        ("example.com", "http://example.comm", Refused),
        ("example.com", "http://example%2ecom", Refused),
        ("example.com", "http://xn--exmple-cua.com", Refused),
        ("xn--exmple-cua.com", "http://example.com", Refused),
        ("example.com", "http://ex\u{430}mple.com", Refused),
        ("example.com", "http://ex\u{e4}mple.com", Refused),
        ("localhost", "http://127.0.0.1", Refused),
        ("127.0.0.1", "http://127.1", Refused),
        ("127.0.0.1", "http://2130706433", Refused),
        ("[::1]", "http://[::2]", Refused),
        ("[::1]", "http://[0:0:0:0:0:0:0:1]", Refused),
        ("[::1]", "http://::1", Refused),
        // More than an origin, and what is none.
        ("example.com", "http://example.com/chat", Refused),
        ("example.com", "http://example.com//", Refused),
        ("example.com", "http://example.com?a", Refused),
        ("example.com", "http://example.com#a", Refused),
        ("example.com", "http://evil.example#@example.com", Refused),
        ("example.com", "http://user@example.com", Refused),
        ("example.com", "http://example.com@evil.example", Refused),
        ("example.com", "http://example.com:80@evil.example", Refused),
        ("example.com", "http://example.com:99999", Refused),
        ("example.com", "http://example.com:+80", Refused),
        ("example.com", "http://example.com http://example.com", Refused),
        ("example.com", "http://example.com, http://evil.example", Refused),
        ("example.com", "http://example.com\\.evil.example", Refused),
        ("example.com", "example.com", Refused),
        ("example.com", "//example.com", Refused),
        ("example.com", "http:example.com", Refused),
        ("example.com", "http://", Refused),
        ("example.com", "", Refused),
        ("example.com", "*", Refused),
        ("example.com", "null", Refused),
        ("null", "null", Refused),
        ("example.com", "NULL", Refused),
        ("example.com", "file://", Refused),
        ("example.com", "data:text/html,a", Refused),
        ("example.com", "http://example.com\0", Malformed),
    ]
    .map(one)
    .into();
    let own = "http://example.com".to_owned();
    rows.push(("example.com", Vec::new(), Open));
    rows.push(("example.com", vec![own.clone(), own.clone()], Refused));
    rows.push(("example.com", vec![own, "http://evil.example".to_owned()], Refused));
    rows.push(("example.com", vec![format!("http://{}.com", "a".repeat(8_000))], Refused));
    rows
}

pub(crate) fn run(report: &mut Report, targets: &mut [Target]) {
    for target in targets {
        report.row("pairs of host and origin", &target.name, "101, 403 or 400 by the pair", || {
            let rows = pairs();
            let mut wrong = Vec::new();
            for (host, origins, answer) in &rows {
                let lines: String = origins.iter().map(|it| format!("Origin: {it}\r\n")).collect();
                let head = head(&format!("GET / HTTP/1.1\r\nHost: {host}"), &lines) + "\r\n";
                let status = wire::status(target.address, head.as_bytes())?;
                if !answer.is(status) {
                    let lines: String = lines.trim_end().chars().take(60).collect();
                    wrong.push(format!("{status} for `{}` to {host}", lines.escape_debug()));
                }
            }
            let held = wrong.is_empty();
            let measured = match held {
                true => format!("{} pairs", rows.len()),
                false => wrong.join("; "),
            };
            Ok(Finding::new(measured, held))
        });
    }
}
