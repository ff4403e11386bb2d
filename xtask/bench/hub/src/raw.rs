//! How fast are bytes sent to many connections without a protocol?
//!
//! There are two ways, and the faster one is the ceiling of each shape: a task for each connection
//! that writes its queue, and writes by the sender.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::drive::{self, FRAME};

/// A connection, as the senders see it.
struct Member {
    waiting: Mutex<Vec<u8>>,
    filled: Notify,
    stream: Arc<TcpStream>,
}

type Room = Arc<Mutex<Vec<Arc<Member>>>>;

pub(crate) async fn serve(listener: TcpListener, inline: bool) -> Result<()> {
    let room = Room::default();
    loop {
        let stream = kit::welcome(&listener).await?;
        tokio::spawn(welcome(stream, Arc::clone(&room), inline));
    }
}

async fn welcome(mut stream: TcpStream, room: Room, inline: bool) -> Result<()> {
    kit::open(&mut stream).await?;
    let stream = Arc::new(stream);
    let member = Arc::new(Member {
        waiting: Mutex::default(),
        filled: Notify::new(),
        stream: Arc::clone(&stream),
    });
    lock(&room).push(Arc::clone(&member));
    if !inline {
        tokio::spawn(write(Arc::clone(&member)));
    }
    let mut input = [0; 256];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut input) {
            Ok(0) => return Ok(()),
            Ok(count) => send(&room, drive::burst_of(&input[..count]), inline),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn send(room: &Room, burst: usize, inline: bool) {
    let frame = drive::frame();
    let room = lock(room);
    if inline {
        // Gathers all messages of one turn of the scheduler.
        let all = frame.repeat(burst);
        for member in room.iter() {
            let _ = member.stream.try_write(&all);
        }
        return;
    }
    for _ in 0..burst {
        for member in room.iter() {
            let mut waiting = lock(&member.waiting);
            let was_empty = waiting.is_empty();
            waiting.extend_from_slice(&frame);
            drop(waiting);
            if was_empty {
                member.filled.notify_one();
            }
        }
    }
}

async fn write(member: Arc<Member>) -> Result<()> {
    let mut batch = Vec::with_capacity(16 * FRAME);
    loop {
        member.filled.notified().await;
        std::mem::swap(&mut *lock(&member.waiting), &mut batch);
        let mut rest = &batch[..];
        while !rest.is_empty() {
            match member.stream.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    member.stream.writable().await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        batch.clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
