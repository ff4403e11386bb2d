//! Does each subcommand end in order by SIGTERM, as by SIGINT?

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use crate::program::{Program, Server, signal};
use crate::switches::head;

const BOTH: [&str; 2] = ["INT", "TERM"];

#[test]
fn a_listener_closes_all_connections_with_1001() {
    for name in BOTH {
        let server = Server::start(&[]);
        let clients: Vec<_> = (0..20)
            .map(|_| {
                let args = ["connect", "-q", "--stay", "-m", "hello", &server.url];
                let mut client = Program::start(&args);
                let mut line = String::new();
                BufReader::new(client.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
                client
            })
            .collect();
        // Clients that do not finish their request.
        let mut half = TcpStream::connect(server.address()).unwrap();
        half.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
        let _silent = TcpStream::connect(server.address()).unwrap();
        let said = server.stop(name);
        assert_eq!(said.matches("closed with 1001").count(), 20, "{said}");
        for mut client in clients {
            assert_eq!(client.wait().unwrap().code(), Some(11), "{name}");
        }
    }
}

#[test]
fn a_client_closes_its_connection() {
    for name in BOTH {
        let server = Server::start(&[]);
        let mut client = Program::start(&["connect", "--stay", "-m", "hello", &server.url]);
        let mut line = String::new();
        BufReader::new(client.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        signal(name, client.id());
        assert_eq!(client.wait().unwrap().code(), Some(0), "{name}");
        let said = server.interrupt();
        assert!(said.contains("closed with 1000"), "{name}: {said}");
    }
}

#[test]
fn a_ping_prints_its_summary() {
    let server = Server::start(&["-q"]);
    for name in BOTH {
        let mut ping = Program::start(&["ping", "-i", "0.01", &server.url]);
        let mut out = BufReader::new(ping.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("pong 2") {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0);
        }
        signal(name, ping.id());
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert!(rest.contains(" 0 missing"), "{rest}");
        assert!(ping.wait().unwrap().success());
    }
}

#[test]
fn a_measurement_that_has_not_begun_has_no_result() {
    let check = |name: &str, mut bench: Program| {
        signal(name, bench.id());
        assert_eq!(bench.wait().unwrap().code(), Some(130), "{name}");
        let mut said = String::new();
        bench.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "", "{name}");
    };
    for name in BOTH {
        // No connection is open.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = silent.local_addr().unwrap().to_string();
        let bench = Program::start(&["bench", "-C", "1", &url]);
        let mut asking = silent.accept().unwrap().0;
        head(&mut asking);
        check(name, bench);
        // All are open, in the warmup.
        let mut bench = Program::start(&["bench", "-C", "1", "--warmup", "60"]);
        let mut out = BufReader::new(bench.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("opened in") {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0);
        }
        check(name, bench);
    }
}

/// Reads a line, and then no more.
fn first_line(program: &mut Program) {
    let mut line = String::new();
    BufReader::with_capacity(1, program.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
}

#[test]
fn an_output_that_nobody_reads_does_not_hold_the_program() {
    for name in BOTH {
        let mut server = Server::start(&["--print", "-q"]);
        let mut clients: Vec<_> =
            (0..4).map(|_| Program::start(&["connect", "-q", "--stay", &server.url])).collect();
        let messages = "a message\n".repeat(20_000);
        for client in &mut clients {
            let (mut input, messages) = (client.stdin.take().unwrap(), messages.clone());
            // Ends with the client.
            std::thread::spawn(move || input.write_all(messages.as_bytes()));
        }
        // Each client has an echo, and then nobody reads the output of the server, or theirs.
        clients.iter_mut().for_each(first_line);
        first_line(&mut server.child);
        for client in &mut clients {
            signal(name, client.id());
            // The second one ends it at once.
            signal(name, client.id());
            client.wait().unwrap();
        }
        server.stop(name);
    }
}
