//! What does a snapshot of a hub show?

use std::time::Duration;

use crate::support::{enter, read, wait_until};
use ws_events::{Hub, HubSnapshot};

#[tokio::test]
async fn a_snapshot_has_the_longest_queues_and_the_largest_rooms_first() {
    let hub = Hub::new();
    let mut clients = Vec::new();
    for (count, id) in ["ann", "bob", "cid"].into_iter().enumerate() {
        let (socket, client) = enter(&hub, id).await;
        for room in ["a", "b", "c"].iter().skip(2 - count) {
            socket.join(room).unwrap();
        }
        clients.push((socket, client));
    }
    // Nothing is written before this task waits.
    clients[1].0.send("some").unwrap();
    clients[2].0.send("more than that").unwrap();
    let snapshot = HubSnapshot::of(&hub, 2);
    assert_eq!((snapshot.stats, snapshot.draining), (hub.stats(), false));
    let sockets: Vec<_> = snapshot.sockets.iter().map(|it| (&*it.id, it.queue.bytes)).collect();
    assert_eq!(sockets, [("cid", 14), ("bob", 4)]);
    let rooms: Vec<_> = snapshot.rooms.iter().map(|it| (&*it.name, it.sockets)).collect();
    assert_eq!(rooms, [("c", 3), ("b", 2)]);
    let mut rooms = snapshot.sockets[0].rooms.clone();
    rooms.sort();
    assert_eq!(rooms.iter().map(|room| &**room).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(HubSnapshot::of(&hub, 0).sockets.len() + HubSnapshot::of(&hub, 0).rooms.len(), 0);
    assert_eq!(
        (HubSnapshot::of(&hub, 9).sockets.len(), HubSnapshot::of(&hub, 9).rooms.len()),
        (3, 3)
    );
}

#[tokio::test]
async fn rates_are_the_differences_of_two_snapshots() {
    let hub = Hub::new();
    let (socket, client) = enter(&hub, "ann").await;
    let before = HubSnapshot::of(&hub, 1).sockets.remove(0);
    for _ in 0..10 {
        socket.send("12345678").unwrap();
        assert_eq!(read(&client).await, "12345678");
    }
    client.write("hello").await.unwrap();
    wait_until(|| HubSnapshot::of(&hub, 1).sockets[0].messages_in == 1).await;
    client.ping().await.unwrap();
    let after = HubSnapshot::of(&hub, 1).sockets.remove(0);
    let rates = after.rates_since(&before, Duration::from_secs(2));
    assert_eq!((rates.messages_out, rates.messages_in), (5.0, 0.5));
    // The pong has two bytes, and eight of payload.
    assert_eq!(rates.bytes_out, (10.0 * 10.0 + 10.0) / 2.0);
    assert!(rates.bytes_in > 0.0);
    assert_eq!(after.rates_since(&before, Duration::ZERO), Default::default());
    assert_eq!(before.rates_since(&after, Duration::from_secs(1)), Default::default());
}

#[tokio::test]
async fn a_snapshot_serialises() {
    let hub = Hub::builder().envelope().build();
    let (socket, client) = enter(&hub, "ann").await;
    socket.join("<b>").unwrap();
    let pinged = socket.conn().unwrap();
    let reading = tokio::spawn(async move { client.read().await });
    pinged.ping().await.unwrap();
    socket.emit("snapshot", &HubSnapshot::of(&hub, 10)).unwrap();
    let text = reading.await.unwrap().unwrap();
    let text = text.as_text().unwrap();
    for part in
        [r#""id":"ann""#, r#"{"name":"<b>","sockets":1}"#, r#""rtt":0."#, r#""draining":false"#]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}
