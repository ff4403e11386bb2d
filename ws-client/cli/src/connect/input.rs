//! Which messages are in what is piped in?

use std::io::{self, BufRead, Read};
use std::thread;

use tokio::sync::mpsc::{self, Receiver};
use ws_client::Message;

use super::Typed;

/// How much is one message when there are no lines.
const CHUNK: usize = 64 * 1024;

/// Reads the standard input to its end. It has a thread to itself, since one cannot stop
/// waiting for the next line.
pub(super) fn start(binary: bool, null: bool) -> Receiver<Typed> {
    let (sender, receiver) = mpsc::channel(16);
    thread::spawn(move || {
        let input = io::stdin().lock();
        let send = |typed| sender.blocking_send(typed).is_ok();
        if binary { chunks(input, send) } else { lines(input, if null { 0 } else { b'\n' }, send) }
    });
    receiver
}

fn chunks(mut input: impl Read, mut send: impl FnMut(Typed) -> bool) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let typed = match input.read(&mut chunk) {
            Ok(0) => return,
            Ok(length) => Typed::Message(Message::from(chunk.get(..length).unwrap_or_default())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Typed::Problem(format!("the input cannot be read: {error}")),
        };
        let problem = matches!(typed, Typed::Problem(_));
        if !send(typed) || problem {
            return;
        }
    }
}

fn lines(mut input: impl BufRead, end: u8, mut send: impl FnMut(Typed) -> bool) {
    for number in 1.. {
        let mut line = Vec::new();
        let typed = match input.read_until(end, &mut line) {
            Ok(0) => return,
            Ok(_) => message(line, end).unwrap_or_else(|| {
                Typed::Problem(format!(
                    "line {number} of the input is not UTF-8 (--binary sends bytes)"
                ))
            }),
            Err(error) => Typed::Problem(format!("the input cannot be read: {error}")),
        };
        let problem = matches!(typed, Typed::Problem(_));
        if !send(typed) || problem {
            return;
        }
    }
}

fn message(mut line: Vec<u8>, end: u8) -> Option<Typed> {
    if line.last() == Some(&end) {
        line.pop();
        if end == b'\n' && line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Message::text_from_bytes(line).ok().map(Typed::Message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(read: impl FnOnce(&mut dyn FnMut(Typed) -> bool)) -> Vec<String> {
        let mut sent = Vec::new();
        read(&mut |typed| {
            sent.push(match typed {
                Typed::Message(message) => String::from_utf8_lossy(message.as_bytes()).into_owned(),
                Typed::Problem(problem) => problem,
                _ => panic!("not from a pipe"),
            });
            true
        });
        sent
    }

    #[test]
    fn a_line_is_a_message() {
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
    fn without_lines_what_was_read_is_a_message() {
        assert_eq!(sent(|send| chunks(&b"a\n\0b"[..], send)), ["a\n\0b"]);
    }
}
