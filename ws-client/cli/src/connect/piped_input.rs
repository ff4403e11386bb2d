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

fn chunks(mut input: impl Read, mut send: impl FnMut(UserInput) -> bool) {
    let mut chunk = vec![0; MAX_CHUNK];
    loop {
        let typed = match input.read(&mut chunk) {
            Ok(0) => return,
            Ok(length) => {
                UserInput::Message(Message::from(chunk.get(..length).unwrap_or_default()))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => UserInput::Invalid(format!("cannot read the input: {error}")),
        };
        let is_invalid = matches!(typed, UserInput::Invalid(_));
        if !send(typed) || is_invalid {
            return;
        }
    }
}

fn lines(mut input: impl BufRead, end: u8, mut send: impl FnMut(UserInput) -> bool) {
    for number in 1.. {
        let mut line = Vec::new();
        let typed = match input.read_until(end, &mut line) {
            Ok(0) => return,
            Ok(_) => message(line, end).unwrap_or_else(|| {
                UserInput::Invalid(format!(
                    "line {number} of the input is not UTF-8 (--binary sends bytes)"
                ))
            }),
            Err(error) => UserInput::Invalid(format!("cannot read the input: {error}")),
        };
        let is_invalid = matches!(typed, UserInput::Invalid(_));
        if !send(typed) || is_invalid {
            return;
        }
    }
}

fn message(mut line: Vec<u8>, end: u8) -> Option<UserInput> {
    if line.last() == Some(&end) {
        line.pop();
        if end == b'\n' && line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Message::text_from_bytes(line).ok().map(UserInput::Message)
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
