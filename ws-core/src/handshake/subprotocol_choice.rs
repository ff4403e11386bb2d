//! Which subprotocol does a server choose?

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use http::header::{HeaderMap, SEC_WEBSOCKET_PROTOCOL};

use super::{Rejection, headers};

/// Whose preference decides when both sides support several subprotocols.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubprotocolOrder {
    /// The first in the server's list that the client offers.
    #[default]
    Server,
    /// The first in the client's list that the server supports.
    Client,
}

/// The subprotocols in all lines of the header. `None` if it is malformed.
pub(super) fn offered(headers: &HeaderMap) -> Option<Vec<&str>> {
    let mut seen = HashSet::new();
    headers::elements(headers, SEC_WEBSOCKET_PROTOCOL)
        .map(|element| headers::token(element).filter(|name| seen.insert(*name)))
        .collect()
}

/// How a server chooses the subprotocol.
#[derive(Clone, Debug, Default)]
pub(super) struct SubprotocolChoice {
    pub(super) supported: Vec<String>,
    pub(super) order: SubprotocolOrder,
    pub(super) required: bool,
    pub(super) selector: Option<Selector>,
}

impl SubprotocolChoice {
    /// Chooses the subprotocol for the response. Names are compared exactly.
    pub(super) fn choose(&self, headers: &HeaderMap) -> Result<Option<String>, Rejection> {
        let offered = offered(headers).ok_or(Rejection::SubprotocolsMalformed)?;
        let speaks = |name: &str| self.supported.iter().any(|ours| ours == name);
        let chosen = match (&self.selector, self.order) {
            // The response must name an offered subprotocol (RFC 6455 §4.2.2).
            (Some(Selector(select)), _) => {
                select(&offered).filter(|name| offered.contains(&name.as_str()))
            }
            (None, SubprotocolOrder::Server) => {
                self.supported.iter().find(|ours| offered.contains(&ours.as_str())).cloned()
            }
            (None, SubprotocolOrder::Client) => {
                offered.iter().find(|name| speaks(name)).map(|name| (*name).to_owned())
            }
        };
        match chosen {
            None if self.required => Err(Rejection::SubprotocolRequired),
            chosen => Ok(chosen),
        }
    }
}

type Select = dyn Fn(&[&str]) -> Option<String> + Send + Sync;

/// A function that replaces the list.
#[derive(Clone)]
pub(super) struct Selector(pub(super) Arc<Select>);

impl fmt::Debug for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Selector(..)")
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn choose(
        choice: &SubprotocolChoice,
        lines: &[&'static str],
    ) -> Result<Option<String>, Rejection> {
        let values = lines.iter().map(|line| HeaderValue::from_static(line));
        choice.choose(&values.map(|value| (SEC_WEBSOCKET_PROTOCOL, value)).collect())
    }

    fn speaks(supported: &[&str]) -> SubprotocolChoice {
        let supported = supported.iter().copied().map(String::from).collect();
        SubprotocolChoice { supported, ..SubprotocolChoice::default() }
    }

    #[test]
    fn the_server_prefers_unless_the_client_may() {
        let check = |order, lines: &[&'static str], expected: Option<&str>| {
            let choice = SubprotocolChoice { order, ..speaks(&["b", "a"]) };
            assert_eq!(choose(&choice, lines).unwrap().as_deref(), expected, "{lines:?}");
        };
        use SubprotocolOrder::{Client, Server};
        check(Server, &["a, b"], Some("b"));
        check(Client, &["a, b"], Some("a"));
        check(Server, &["c", "a"], Some("a"));
        check(Client, &["c", "a"], Some("a"));
        for order in [Server, Client] {
            check(order, &["A, B"], None);
            check(order, &["c"], None);
            check(order, &[", "], None);
            check(order, &[], None);
        }
    }

    #[test]
    fn a_malformed_list_is_refused() {
        for lines in [["a b", "c"], ["a", "a"], ["a, a", "b"], ["a/b", "c"], ["\"a\"", "b"]] {
            let refused = choose(&speaks(&["a"]), &lines);
            assert_eq!(refused, Err(Rejection::SubprotocolsMalformed), "{lines:?}");
        }
    }

    #[test]
    fn a_required_subprotocol_is_agreed_on_or_refused() {
        let choice = SubprotocolChoice { required: true, ..speaks(&["a"]) };
        assert_eq!(choose(&choice, &["b, a"]), Ok(Some("a".into())));
        assert_eq!(choose(&choice, &["b"]), Err(Rejection::SubprotocolRequired));
        assert_eq!(choose(&choice, &[]), Err(Rejection::SubprotocolRequired));
    }

    #[test]
    fn a_selector_chooses_among_what_is_offered() {
        let last = Selector(Arc::new(|offered| offered.last().map(|name| (*name).to_owned())));
        let choice = SubprotocolChoice { selector: Some(last), ..speaks(&["a"]) };
        assert_eq!(choose(&choice, &["a, b"]), Ok(Some("b".into())));
        assert_eq!(choose(&choice, &[]), Ok(None));
        let stubborn = Selector(Arc::new(|_| Some("a".into())));
        let choice = SubprotocolChoice { selector: Some(stubborn), ..SubprotocolChoice::default() };
        assert_eq!(choose(&choice, &["b"]), Ok(None));
    }
}
