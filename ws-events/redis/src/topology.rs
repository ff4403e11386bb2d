//! Which master of a cluster serves the slot of a subject?

use redis::Value;

/// The slots of a cluster, and their masters. A single server has one range with all slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Topology {
    /// The last slot of each range, and the index of its master, sorted.
    ranges: Vec<(u16, usize)>,
    /// Host and port of each master, as the cluster announces them.
    pub(crate) masters: Vec<(String, u16)>,
}

impl Topology {
    /// Reads the answer to `CLUSTER SLOTS`. `None` if a slot has no master, or the answer is not
    /// understood.
    pub(crate) fn parse(slots: &Value) -> Option<Self> {
        let Value::Array(entries) = slots else { return None };
        let mut entries = entries.iter().map(parse_entry).collect::<Option<Vec<_>>>()?;
        entries.sort();
        let mut topology = Self { ranges: Vec::new(), masters: Vec::new() };
        let mut next = 0;
        for (first, last, master) in entries {
            if i64::from(first) != next || last < first {
                return None;
            }
            next = i64::from(last) + 1;
            let known = topology.masters.iter().position(|known| *known == master);
            let index = known.unwrap_or(topology.masters.len());
            if known.is_none() {
                topology.masters.push(master);
            }
            topology.ranges.push((last, index));
        }
        (next == i64::from(SLOTS)).then_some(topology)
    }

    /// The index of the master that serves a subject.
    pub(crate) fn master(&self, subject: &str) -> usize {
        let slot = slot(subject);
        let range = self.ranges.partition_point(|(last, _)| *last < slot);
        self.ranges.get(range).map_or(0, |(_, master)| *master)
    }
}

/// A range of slots: the first, the last, and the master, which is the first server.
fn parse_entry(entry: &Value) -> Option<(u16, u16, (String, u16))> {
    let Value::Array(entry) = entry else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(master), ..] = entry.as_slice() else {
        return None;
    };
    let [host, Value::Int(port), ..] = master.as_slice() else { return None };
    let host = match host {
        Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
        Value::SimpleString(host) => host.clone(),
        // The server does not know its own address.
        Value::Nil => String::new(),
        _ => return None,
    };
    let slot = |slot: i64| u16::try_from(slot).ok().filter(|slot| *slot < SLOTS);
    Some((slot(*first)?, slot(*last)?, (host, u16::try_from(*port).ok()?)))
}

/// The slot of a channel: of what is in its first braces, or else of all of it.
fn slot(channel: &str) -> u16 {
    let tag = channel.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let hashed = tag.map_or(channel, |(tag, _)| if tag.is_empty() { channel } else { tag });
    crc16(hashed.as_bytes()) % SLOTS
}

/// CRC-16/XMODEM, as the specification of Redis Cluster has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

const SLOTS: u16 = 16384;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(first: i64, last: i64, host: &str, port: i64) -> Value {
        let host = Value::BulkString(host.as_bytes().to_vec());
        let master = Value::Array(vec![host, Value::Int(port), Value::BulkString(vec![])]);
        Value::Array(vec![Value::Int(first), Value::Int(last), master])
    }

    #[test]
    fn the_slot_of_a_channel_is_that_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(slot("foo"), 12182);
        for (channel, same) in [("ws:{foo}", "foo"), ("{foo}{bar}", "foo"), ("{{foo}}", "{foo")] {
            assert_eq!(slot(channel), slot(same));
        }
        for whole in ["{}foo", "{foo", "foo}"] {
            assert_eq!(slot(whole), crc16(whole.as_bytes()) % SLOTS);
        }
    }

    #[test]
    fn a_subject_belongs_to_the_master_of_its_slot() {
        let slots = [
            entry(5461, 10922, "b", 2),
            entry(0, 5460, "a", 1),
            entry(10923, 12181, "c", 3),
            entry(12182, 12182, "a", 1),
            entry(12183, 16383, "c", 3),
        ];
        let topology = Topology::parse(&Value::Array(slots.to_vec())).unwrap();
        assert_eq!(
            topology.masters,
            [("a", 1), ("b", 2), ("c", 3)].map(|(a, b)| (a.to_owned(), b))
        );
        // Slots 12182 and 5061.
        assert_eq!(["foo", "bar"].map(|it| topology.master(it)), [0, 0]);
    }

    #[test]
    fn an_incomplete_cluster_is_refused() {
        let refused = [
            vec![],
            vec![entry(0, 5460, "a", 1)],
            vec![entry(0, 5460, "a", 1), entry(5462, 16383, "b", 2)],
            vec![entry(0, 5460, "a", 1), entry(5460, 16383, "b", 2)],
            vec![entry(0, 16384, "a", 1)],
            vec![entry(0, 16383, "a", 70000)],
            vec![Value::Int(1)],
        ];
        for slots in refused {
            assert_eq!(Topology::parse(&Value::Array(slots)), None);
        }
        assert_eq!(Topology::parse(&Value::Nil), None);
    }
}
