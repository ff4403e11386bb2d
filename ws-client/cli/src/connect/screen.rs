//! How are received messages and notes printed?

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::Arc;

use jiff::Zoned;
use serde_json::{Value, json};
use ws_client::Message;
use ws_client::http::Response;
use ws_client::http::header::SET_COOKIE;

use super::args::{ConnectArgs, PrettyMode};
use super::line_editor::Terminal;
use super::{hex, json as json_text};
use crate::print::{self, Color, MASK, Style, escape_control, mask_secrets, peer_text};

pub(super) struct Screen {
    args: Arc<ConnectArgs>,
    /// The prompt, above which messages are printed.
    terminal: Option<Terminal>,
    interactive: bool,
    style: Style,
}

impl Screen {
    pub(super) fn new(args: Arc<ConnectArgs>, interactive: bool) -> Self {
        let style = if interactive { Style::of(&io::stdout()) } else { Style::plain() };
        Self { args, terminal: None, interactive, style }
    }

    pub(super) fn show_above_prompt(&mut self, terminal: Terminal) {
        self.terminal = Some(terminal);
    }

    /// Prints a message. Returns `false` if the output is closed.
    pub(super) fn message(&self, message: &Message) -> bool {
        if self.args.json {
            let (kind, data) = match message.as_text() {
                Some(text) => ("text", text.to_owned()),
                None => ("binary", hex::line(message.as_bytes())),
            };
            return self.json_line(json!({ "type": kind, "data": data }));
        }
        if self.interactive {
            return self.above_prompt(self.format_message(message));
        }
        let end = if self.args.pipe.null { "\0" } else { "\n" };
        let mut out = io::stdout().lock();
        let written = match message.as_text() {
            _ if self.args.pipe.binary => out.write_all(message.as_bytes()),
            Some(text) => write!(out, "{}{}{end}", self.time(), self.pretty(text)),
            None => write!(out, "{}{}{end}", self.time(), hex::line(message.as_bytes())),
        };
        written.and_then(|()| out.flush()).is_ok()
    }

    /// Prints a note, unless `--quiet`.
    pub(super) fn note(&self, text: &str) {
        if self.args.quiet {
            return;
        }
        if self.args.json {
            self.json_line(json!({ "type": "note", "text": mask_secrets(text) }));
        } else if self.interactive {
            self.above_prompt(self.format_note(text));
        } else {
            print::note(format_args!("{}{text}", self.time()));
        }
    }

    /// Prints the response to the opening handshake, without the values of cookies.
    pub(super) fn response(&self, response: &Response<()>) {
        let mut text = format!("{:?} {}", response.version(), response.status());
        for (name, value) in response.headers() {
            let value = match name {
                &SET_COOKIE => MASK.into(),
                _ => String::from_utf8_lossy(value.as_bytes()),
            };
            let _ = write!(text, "\n{name}: {value}");
        }
        print::note(format_args!("{text}\n"));
    }

    /// Prints the last note, and restores the terminal.
    pub(super) fn finish(&self, text: &str) {
        match &self.terminal {
            Some(terminal) => terminal.finish(self.format_note(text)),
            None if self.args.json && !self.args.quiet && !text.is_empty() => {
                self.json_line(json!({ "type": "end", "text": mask_secrets(text) }));
            }
            None => self.note(text),
        }
    }

    /// Prints an object, with the time if it is wanted. Returns `false` if the output is closed.
    fn json_line(&self, mut object: Value) -> bool {
        if self.args.timestamps
            && let Value::Object(fields) = &mut object
        {
            fields.insert("time".to_owned(), Zoned::now().timestamp().to_string().into());
        }
        print::json(&object)
    }

    fn format_message(&self, message: &Message) -> String {
        let (mark, time) = (self.style.paint(Color::Blue, "<"), self.time());
        match message.as_text() {
            Some(text) => format!("{time}{mark} {}\n", self.pretty(text)),
            None => {
                let size = self.style.paint(Color::Dim, format!("{} bytes", message.len()));
                format!("{time}{mark} {size}\n{}", hex::dump(message.as_bytes()))
            }
        }
    }

    fn format_note(&self, text: &str) -> String {
        if self.args.quiet || text.is_empty() {
            return String::new();
        }
        let text = escape_control(&mask_secrets(text));
        format!("{}{}\n", self.time(), self.style.paint(Color::Dim, text))
    }

    fn pretty(&self, text: &str) -> String {
        let is_wanted = match self.args.pretty {
            PrettyMode::Auto => self.interactive,
            PrettyMode::Always => true,
            PrettyMode::Never => false,
        };
        let indented = if is_wanted { json_text::pretty(text, self.style) } else { None };
        indented.unwrap_or_else(|| peer_text(text).into_owned())
    }

    fn above_prompt(&self, text: String) -> bool {
        match &self.terminal {
            Some(terminal) => terminal.print(text),
            None => print::write_all(&text),
        }
    }

    fn time(&self) -> String {
        if !self.args.timestamps {
            return String::new();
        }
        format!("{} ", self.style.paint(Color::Dim, Zoned::now().strftime("%H:%M:%S%.3f")))
    }
}
