//! How are the fields of a request encoded for HTTP/2, as literals (RFC 7541)?

use std::net::SocketAddr;

use crate::drive::conn::BROWSER;

/// The fields of an extended CONNECT, without Huffman coding and without the dynamic table.
pub(super) fn request(server: SocketAddr) -> Vec<u8> {
    let (server, origin) = (server.to_string(), format!("https://{server}"));
    // `:method` by its index, `:scheme: https` and `:path: /` of the static table.
    let mut out = vec![0x02];
    text(&mut out, "CONNECT");
    out.extend([0x87, 0x84, 0x01]);
    text(&mut out, &server);
    let browser = BROWSER.lines().filter_map(|line| line.split_once(": "));
    let own = [(":protocol", "websocket"), ("sec-websocket-version", "13"), ("origin", &origin)];
    for (name, value) in own.into_iter().chain(browser) {
        out.push(0);
        text(&mut out, &name.to_ascii_lowercase());
        text(&mut out, value);
    }
    out
}

/// A string literal (RFC 7541 §5.2).
fn text(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        len @ 0..127 => out.push(len as u8),
        // The rest of the length in one or two bytes.
        len => {
            out.push(127);
            let rest = len - 127;
            if rest >= 128 {
                out.extend([rest as u8 | 128, (rest >> 7) as u8]);
            } else {
                out.push(rest as u8);
            }
        }
    }
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_literals_are_those_of_the_rfc() {
        // RFC 7541 §5.1: a prefix of seven bits.
        for (len, expected) in [(0, vec![0]), (126, vec![126]), (127, vec![127, 0])] {
            let mut out = Vec::new();
            text(&mut out, &"x".repeat(len));
            assert_eq!(out[..out.len() - len], expected);
        }
        let mut out = Vec::new();
        text(&mut out, &"x".repeat(1337));
        assert_eq!(out[..3], [127, 0xba, 0x09]);
    }

    #[test]
    fn a_request_has_the_headers_of_a_browser() {
        let request = request(([127, 0, 0, 1], 80).into());
        assert!((400..1000).contains(&request.len()), "{}", request.len());
    }
}
