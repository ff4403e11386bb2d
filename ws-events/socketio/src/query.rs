//! Which parameters does the query of an Engine.IO request have?

use crate::refusal::Refusal;

/// The parameters of a request (Engine.IO v4).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EngineQuery {
    pub(crate) transport: TransportName,
    /// The session. `None` for a handshake.
    pub(crate) sid: Option<String>,
}

/// The transports that a client can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransportName {
    Polling,
    WebSocket,
}

impl EngineQuery {
    /// Parses a query. The first of repeated parameters counts.
    pub(crate) fn parse(query: &str) -> Result<Self, Refusal> {
        let (mut version, mut transport, mut sid) = (None, None, None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let field = match &*name {
                "EIO" => &mut version,
                "transport" => &mut transport,
                "sid" => &mut sid,
                _ => continue,
            };
            field.get_or_insert(value);
        }
        let transport = match transport.as_deref() {
            Some("polling") => TransportName::Polling,
            Some("websocket") => TransportName::WebSocket,
            _ => return Err(Refusal::TransportUnknown),
        };
        if version.as_deref() != Some("4") {
            return Err(Refusal::VersionUnsupported);
        }
        Ok(Self { transport, sid: sid.map(Into::into) })
    }
}

#[cfg(test)]
mod tests {
    use super::TransportName::{Polling, WebSocket};
    use super::*;

    #[test]
    fn a_query_names_version_transport_and_session() {
        let check = |query: &str, transport, sid: Option<&str>| {
            let expected = EngineQuery { transport, sid: sid.map(str::to_owned) };
            assert_eq!(EngineQuery::parse(query).ok(), Some(expected), "{query}");
        };
        check("EIO=4&transport=polling", Polling, None);
        check("transport=websocket&EIO=4&t=abc", WebSocket, None);
        check("EIO=4&transport=polling&sid=a-b_c", Polling, Some("a-b_c"));
        check("EIO=4&transport=polling&sid=a%20b", Polling, Some("a b"));
        check("EIO=4&transport=polling&sid=a&sid=b&EIO=3", Polling, Some("a"));
    }

    #[test]
    fn other_queries_are_refused_with_their_code() {
        let check = |query: &str, code: u8| {
            let refused = EngineQuery::parse(query).map_err(|refusal| refusal.code());
            assert_eq!(refused, Err(code), "{query}");
        };
        check("", 0);
        check("EIO=4", 0);
        check("EIO=4&transport=abc", 0);
        check("EIO=4&transport=Polling", 0);
        check("transport=polling", 5);
        check("EIO=3&transport=polling", 5);
        check("EIO=abc&transport=websocket", 5);
        check("EIO=04&transport=websocket", 5);
    }
}
