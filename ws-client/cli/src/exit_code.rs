//! Which exit code does the program return, for which end of a connection?

use std::process::ExitCode;

use ws_client::{CloseInfo, Error, StatusCode};

use crate::connect_options::describe;

pub(crate) const HELP: &str = "\
Exit codes:
  0        success, or closed with 1000 or without a code
  1        no connection, or an error other than a close code; with --reconnect,
           unconfirmed messages
  2        invalid arguments
  11..25   closed with 1001..1015: the last two digits plus 10; 16 (1006) is a
           connection that ended without a close frame
  30       closed with a registered code (3000..3999)
  40       closed with a private code (4000..4999)
  130      interrupted before the connection was open, or in the warmup of ws bench";

/// The exit code after a signal, if there was no connection to close.
pub(crate) const INTERRUPTED: u8 = 130;

/// A description of how a connection ended, and the exit code.
pub(crate) fn describe_end(ending: &CloseInfo) -> (String, ExitCode) {
    let close = match (&ending.error, &ending.received) {
        (_, Some(close)) => close,
        (Error::Closed(close), None) => close,
        (error, None) => return (describe(error), ExitCode::FAILURE),
    };
    (close.to_string(), ExitCode::from(exit_code(close.code)))
}

fn exit_code(code: StatusCode) -> u8 {
    match code.as_u16() {
        1000 | 1005 => 0,
        code @ 1001..=1015 => u8::try_from(code - 1000 + 10).unwrap_or(u8::MAX),
        3000..=3999 => 30,
        4000..=4999 => 40,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_map_to_exit_codes() {
        let check =
            |close, expected| assert_eq!(exit_code(StatusCode::from_u16(close).unwrap()), expected);
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
