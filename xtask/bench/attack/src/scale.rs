//! What do 100,000 idle and 20,000 active connections cost, and how do they end?
//!
//! A process may have too few open files for all, so servers and clients are several processes. Each
//! client has a source address of its own, since an address has 28,000 ports.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use load::histogram::Histogram;
use load::process::{Answers, Process};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::net::TcpSocket;

use crate::serve::Adapter;
use crate::target::{Target, own};
use crate::wire::{self, frame};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ScaleArgs {
    /// Idle connections, in rooms of a hub.
    #[arg(long, default_value_t = 100_000)]
    idle: usize,
    /// Connections that echo.
    #[arg(long, default_value_t = 20_000)]
    active: usize,
    /// The most connections of one process.
    #[arg(long, default_value_t = 16_500)]
    per_process: usize,
    /// How long the active connections echo, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ClientsArgs {
    #[arg(long)]
    connect: SocketAddr,
    #[arg(long)]
    count: usize,
    /// The source address is 127.0.1.N.
    #[arg(long)]
    source: u8,
}

/// Holds connections, and obeys lines: `echo SECONDS`, `receive`, `all`, `end`.
pub(crate) fn run_clients(args: &ClientsArgs) -> Result<()> {
    load::meter::allow_files(args.count as u64 + 50)?;
    let began = Instant::now();
    let streams = open_all(args)?;
    for stream in &streams {
        stream.set_nonblocking(true)?;
    }
    println!("{}", began.elapsed().as_secs_f64());
    let mut clients = Clients::new(streams)?;
    for line in std::io::stdin().lines() {
        let line = line?;
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("echo", seconds) => clients.echo(Duration::from_secs(seconds.parse()?))?,
            ("all", _) => {
                let first = clients.streams.first_mut().context("no connection")?;
                first.write_all(&frame(0x81, br#"{"event":"all","data":1}"#))?;
                println!("sent");
            }
            ("receive", _) => clients.receive()?,
            _ => clients.end()?,
        }
    }
    Ok(())
}

/// Opens all connections, a few at a time, so that the server and not the network is the limit.
fn open_all(args: &ClientsArgs) -> Result<Vec<TcpStream>> {
    let share = args.count.div_ceil(OPENERS);
    std::thread::scope(|scope| {
        let openers: Vec<_> = (0..OPENERS)
            .map(|opener| {
                let count = share.min(args.count.saturating_sub(opener * share));
                scope.spawn(move || (0..count).map(|_| open(args)).collect::<Result<Vec<_>>>())
            })
            .collect();
        let mut streams = Vec::with_capacity(args.count);
        for opener in openers {
            let opened = opener.join().ok().context("a thread has panicked")?;
            streams.extend(opened?);
        }
        Ok(streams)
    })
}

/// The threads that open connections.
const OPENERS: usize = 16;

fn open(args: &ClientsArgs) -> Result<TcpStream> {
    let address = (Ipv4Addr::new(127, 0, 1, args.source), 0).into();
    let mut stream = kit::runtime(1)?.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(address)?;
        anyhow::Ok(socket.connect(args.connect).await.context("cannot connect")?.into_std()?)
    })?;
    stream.set_nonblocking(false)?;
    load::drive::conn::shake_hands(&mut stream, "/", "")?;
    Ok(stream)
}

/// What happens with a connection after its input was handled.
enum Next {
    Wait,
    Remove,
    /// All connections are done.
    Done,
}

struct Clients {
    streams: Vec<TcpStream>,
    epoll: Epoll,
}

impl Clients {
    fn new(streams: Vec<TcpStream>) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        for (index, stream) in streams.iter().enumerate() {
            epoll.add(stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        }
        Ok(Self { streams, epoll })
    }

    /// Calls `each` for connections with input, until it is done, all were removed, or nothing
    /// arrives for 60 s.
    fn wait(&mut self, mut each: impl FnMut(usize, &mut TcpStream) -> Result<Next>) -> Result<()> {
        let mut events = vec![EpollEvent::empty(); 1024];
        let mut left = self.streams.len();
        while left > 0 {
            let ready = self.epoll.wait(&mut events, EpollTimeout::try_from(60_000_u32)?)?;
            ensure!(ready > 0, "nothing arrives for 60 s");
            for event in events.iter().take(ready) {
                let index = event.data() as usize;
                match each(index, &mut self.streams[index])? {
                    Next::Wait => {}
                    Next::Done => return Ok(()),
                    Next::Remove => {
                        self.epoll.delete(&self.streams[index])?;
                        left -= 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// All connections echo 64 B, one message at a time. Prints messages per second and latencies.
    fn echo(&mut self, time: Duration) -> Result<()> {
        let message = frame(0x82, &[7; 64]);
        let began = Instant::now();
        let mut times = Histogram::new()?;
        let mut sent = Vec::with_capacity(self.streams.len());
        for stream in &mut self.streams {
            sent.push(Instant::now());
            stream.write_all(&message)?;
        }
        let (mut count, mut running) = (0_u64, self.streams.len());
        let mut part = [0; 256];
        self.wait(|index, stream| {
            // The echo of a short message arrives whole.
            let read = stream.read(&mut part)?;
            ensure!(read == 66, "{read} B instead of an echo");
            times.add(sent[index].elapsed());
            count += 1;
            if began.elapsed() < time {
                sent[index] = Instant::now();
                stream.write_all(&message)?;
            } else {
                running -= 1;
            }
            Ok(if running > 0 { Next::Wait } else { Next::Done })
        })?;
        let rate = count as f64 / began.elapsed().as_secs_f64();
        let found = times.percentiles().context("no echo")?;
        println!("{rate:.0} {} {}", found.p50, found.p99);
        Ok(())
    }

    /// Waits for one message on each connection.
    fn receive(&mut self) -> Result<()> {
        let began = Instant::now();
        let mut left = self.streams.len();
        let mut part = [0; 256];
        self.wait(|_, stream| {
            ensure!(stream.read(&mut part)? > 0, "a connection has ended");
            left -= 1;
            Ok(if left > 0 { Next::Wait } else { Next::Done })
        })?;
        println!("{}", began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Answers close frames with 1001 until all connections have ended. Prints how many were clean.
    fn end(&mut self) -> Result<()> {
        let mut clean = 0;
        let answer = frame(0x88, &1001_u16.to_be_bytes());
        let mut part = [0; 256];
        self.wait(|_, stream| {
            let over = match stream.read(&mut part) {
                Ok(0) => true,
                Ok(read) => {
                    if part[..read].windows(4).any(|it| it[0] == 0x88 && it[2..] == [0x03, 0xe9]) {
                        clean += 1;
                        stream.write_all(&answer)?;
                    }
                    false
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                Err(_) => true,
            };
            Ok(if over { Next::Remove } else { Next::Wait })
        })?;
        println!("{clean}");
        Ok(())
    }
}

/// A server and its clients.
struct Pair {
    target: Target,
    clients: Process,
    answers: Answers,
    count: usize,
}

/// Starts servers and clients, one pair after another. Returns them and the seconds of accepting.
fn pairs(count: usize, per_process: usize, more: &[&str]) -> Result<(Vec<Pair>, f64, f64)> {
    let (mut pairs, mut seconds, mut memory) = (Vec::new(), 0.0, 0);
    let mut left = count;
    while left > 0 {
        let count = left.min(per_process);
        left -= count;
        let target = Target::start(Adapter::Axum, more)?;
        // What the first connection sets up is not counted.
        drop(wire::open(target.address)?);
        let before = target.memory()?;
        let mut command = own(&["clients", "--connect", &target.address.to_string()])?;
        command.arg(format!("--count={count}")).arg(format!("--source={}", pairs.len() + 1));
        let (clients, mut answers) = Process::start(&mut command)?;
        let line = answers.line().context("the clients cannot connect")?;
        seconds += line.parse::<f64>()?;
        memory += target.memory()? - before;
        pairs.push(Pair { target, clients, answers, count });
    }
    Ok((pairs, seconds, memory as f64 / count as f64))
}

pub(crate) fn run(args: &ScaleArgs) -> Result<()> {
    load::meter::allow_files(1_000)?;
    println!(
        "| connections | accepted | memory each | traffic | drained |\n| --- | --- | --- | --- | --- |"
    );
    idle(args)?;
    active(args)
}

fn idle(args: &ScaleArgs) -> Result<()> {
    let (mut pairs, seconds, memory) =
        pairs(args.idle, args.per_process, &["--use=hub", "--no-keepalive"])?;
    // Each hub sends one message to all its sockets.
    let began = Instant::now();
    for pair in &mut pairs {
        pair.clients.order("all")?;
        pair.answers.line()?;
        pair.clients.order("receive")?;
    }
    for pair in &mut pairs {
        pair.answers.line().context("a broadcast did not reach all")?;
    }
    let broadcast = began.elapsed().as_secs_f64();
    let (clean, drained) = drain(&mut pairs)?;
    println!(
        "| {} idle, hub on axum, {} processes | {:.0}/s | {memory:.2} KiB | broadcast to all: {broadcast:.2} s | {drained:.1} s, {clean} with 1001 |",
        args.idle,
        pairs.len(),
        args.idle as f64 / seconds,
    );
    ensure!(clean == args.idle, "{clean} of {} were closed with 1001", args.idle);
    Ok(())
}

fn active(args: &ScaleArgs) -> Result<()> {
    let (mut pairs, seconds, memory) = pairs(args.active, args.per_process, &["--no-keepalive"])?;
    for pair in &mut pairs {
        pair.clients.order(&format!("echo {}", args.seconds))?;
    }
    let (mut rate, mut p50, mut p99) = (0.0, 0.0_f64, 0.0_f64);
    for pair in &mut pairs {
        let line = pair.answers.line().context("an echo is missing")?;
        let numbers: Result<Vec<f64>, _> = line.split(' ').map(str::parse).collect();
        let numbers = numbers?;
        rate += numbers[0];
        (p50, p99) = (p50.max(numbers[1]), p99.max(numbers[2]));
    }
    let (clean, drained) = drain(&mut pairs)?;
    println!(
        "| {} active, axum, {} processes | {:.0}/s | {memory:.2} KiB | {rate:.0} echoes/s, median {:.0} ms, p99 {:.0} ms | {drained:.1} s, {clean} with 1001 |",
        args.active,
        pairs.len(),
        args.active as f64 / seconds,
        p50 / 1000.0,
        p99 / 1000.0,
    );
    ensure!(clean == args.active, "{clean} of {} were closed with 1001", args.active);
    Ok(())
}

/// Drains all servers at once. Returns how many connections got 1001, and the seconds.
fn drain(pairs: &mut [Pair]) -> Result<(usize, f64)> {
    let began = Instant::now();
    for pair in &mut *pairs {
        pair.clients.order("end")?;
        pair.target.begin("drain")?;
    }
    let mut clean = 0;
    for pair in &mut *pairs {
        let left: usize = pair.target.answer()?.parse()?;
        ensure!(left == 0, "{left} of {} connections are open after the drain", pair.count);
    }
    let seconds = began.elapsed().as_secs_f64();
    for pair in &mut *pairs {
        clean += pair.answers.line()?.parse::<usize>()?;
    }
    Ok((clean, seconds))
}
