//! With what does the program exit?

use std::process::ExitCode;

use ws_client::{CloseError, CloseInfo, Error, StatusCode};

pub(crate) const HELP: &str = "\
Exit codes:
  0        closed normally (1000, or without a code), or all went well
  1        no connection, or it failed otherwise than by a close code; with --reconnect,
           messages were not confirmed
  2        the arguments make no sense
  11..25   closed with 1001..1015: the last two digits and ten; 16 is 1006, the
           connection was cut
  30       closed with a code of a library (3000..3999)
  40       closed with a code of an application (4000..4999)
  130      interrupted before there was a connection";

/// How a connection ended, in words and as a code.
pub(crate) fn of(ending: &CloseInfo) -> (String, ExitCode) {
    let close = match (&ending.error, &ending.received) {
        (_, Some(close)) => close,
        (Error::Closed(close), None) => close,
        (error, None) => return (chain(error), ExitCode::FAILURE),
    };
    (describe(close), ExitCode::from(code(close.code)))
}

pub(crate) fn code(code: StatusCode) -> u8 {
    match code.as_u16() {
        1000 | 1005 => 0,
        code @ 1001..=1015 => u8::try_from(code - 1000 + 10).unwrap_or(u8::MAX),
        3000..=3999 => 30,
        4000..=4999 => 40,
        _ => 1,
    }
}

fn describe(close: &CloseError) -> String {
    if close.code == StatusCode::ABNORMAL_CLOSURE {
        let why =
            if close.reason.is_empty() { String::new() } else { format!(": {}", close.reason) };
        return format!("the connection was cut without a close frame (1006){why}");
    }
    close.to_string()
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart() {
        let check =
            |close, expected| assert_eq!(code(StatusCode::from_u16(close).unwrap()), expected);
        check(1000, 0);
        check(1005, 0);
        check(1001, 11);
        check(1006, 16);
        check(1015, 25);
        check(3000, 30);
        check(4999, 40);
        check(2000, 1);
    }
}
