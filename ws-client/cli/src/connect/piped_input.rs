//! How is piped input split into messages?

use std::io::{self, BufRead, Read};
use std::thread;

use tokio::sync::mpsc::{self, Receiver};
use ws_client::Message;

use super::user_input::UserInput;

/// The maximum length of a message with `--binary`.
const MAX_CHUNK: usize = 64 * 1024;

/// Reads standard input to its end, on its own thread, since a blocking read cannot be cancelled.
pub(super) fn start(binary: bool, null: bool) -> Receiver<UserInput> {
    let (sender, receiver) = mpsc::channel(16);
    thread::spawn(move || {
        let input = io::stdin().lock();
        let send = |typed| sender.blocking_send(typed).is_ok();
        if binary { chunks(input, send) } else { lines(input, if null { 0 } else { b'\n' }, send) }
    });
    receiver
}

fn chunks(mut input: impl Read, send: impl FnMut(UserInput) -> bool) {
    let mut chunk = vec![0; MAX_CHUNK];
    let read = |_| match input.read(&mut chunk)? {
        0 => Ok(None),
        length => Ok(Some(UserInput::Message(chunk.get(..length).unwrap_or_default().into()))),
    };
    send_all(read, send);
}

fn lines(mut input: impl BufRead, end: u8, send: impl FnMut(UserInput) -> bool) {
    let read = |number| {
        let mut line = Vec::new();
        if input.read_until(end, &mut line)? == 0 {
            return Ok(None);
        }
        if line.last() == Some(&end) {
            line.pop();
            if end == b'\n' && line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        let invalid = || format!("line {number} of the input is not UTF-8 (--binary sends bytes)");
        let message = Message::text_from_bytes(line).map(UserInput::Message);
        Ok(Some(message.unwrap_or_else(|_| UserInput::Invalid(invalid()))))
    };
    send_all(read, send);
}

/// Sends what `read` returns, until its end or the first invalid input. The argument of `read` is
/// the number of the message, from 1.
fn send_all(
    mut read: impl FnMut(u64) -> io::Result<Option<UserInput>>,
    mut send: impl FnMut(UserInput) -> bool,
) {
    for number in 1.. {
        let typed = match read(number) {
            Ok(None) => return,
            Ok(Some(typed)) => typed,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => UserInput::Invalid(format!("cannot read the input: {error}")),
        };
        let is_invalid = matches!(typed, UserInput::Invalid(_));
        if !send(typed) || is_invalid {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(read: impl FnOnce(&mut dyn FnMut(UserInput) -> bool)) -> Vec<String> {
        let mut sent = Vec::new();
        read(&mut |typed| {
            sent.push(match typed {
                UserInput::Message(message) => {
                    String::from_utf8_lossy(message.as_bytes()).into_owned()
                }
                UserInput::Invalid(reason) => reason,
                _ => panic!("not piped input"),
            });
            true
        });
        sent
    }

    #[test]
    fn each_line_is_a_message() {
        let check = |input: &[u8], end, expected: &[&str]| {
            assert_eq!(sent(|send| lines(input, end, send)), expected);
        };
        check(b"", b'\n', &[]);
        check(b"a\r\nb\n\nc", b'\n', &["a", "b", "", "c"]);
        check(b"a\nb\0c\0", 0, &["a\nb", "c"]);
        check(
            b"a\n\xff\nb",
            b'\n',
            &["a", "line 2 of the input is not UTF-8 (--binary sends bytes)"],
        );
    }

    #[test]
    fn binary_input_is_split_by_reads() {
        assert_eq!(sent(|send| chunks(&b"a\n\0b"[..], send)), ["a\n\0b"]);
    }
}
