//! How does a script without async code use a WebSocket?
//!
//! Pass the URL of a server, such as the `echo` example. Each line of the input is sent, and the answer
//! printed.
#![expect(clippy::print_stdout, reason = "a program prints to its terminal")]

use std::io;
use std::time::Duration;

use ws_client::{Dial, Escaped, StatusCode, blocking};

fn main() -> anyhow::Result<()> {
    let url = examples::url("Sends each line of the input, and prints the answer.");
    let conn = blocking::connect(Dial::new(url).connect_timeout(Duration::from_secs(5)))?;
    for line in io::stdin().lines() {
        conn.write(line?)?;
        match conn.read_timeout(Duration::from_secs(10))? {
            // A peer must not control the terminal.
            Some(answer) => println!("{}", Escaped::new(answer.as_text().unwrap_or("(binary)"))),
            None => println!("(no answer within 10 s)"),
        }
    }
    conn.close(StatusCode::NORMAL_CLOSURE, "")?;
    Ok(())
}
