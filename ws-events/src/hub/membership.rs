//! How does a socket enter rooms, and how does it leave them?

use crate::hub::member::{Places, Seat};
use crate::{Event, NotConnected, Socket};

impl Socket {
    /// Enters a room, which is made if it is not there, and gone with its last member. To be
    /// in it already is no error.
    ///
    /// Neither the rooms of a socket nor the lengths of their names are limited: where the
    /// peer says which to enter, look at the name, and at how many there are.
    ///
    /// # Errors
    ///
    /// When the socket is not connected: it has ended, or middleware has yet to let it in.
    pub fn join(&self, room: impl AsRef<str>) -> Result<(), NotConnected> {
        let room = room.as_ref();
        let task = {
            let mut places = self.0.places.lock();
            let Places::In { rooms, .. } = &mut *places else { return Err(NotConnected) };
            if rooms.iter().any(|place| **place.room().name() == *room) {
                return Ok(());
            }
            let place = self.0.hub.rooms.enter(room, &Seat::of(&self.0));
            let task = self.0.tell_of_room(Event::RoomJoin, place.room().name());
            rooms.push(place);
            task
        };
        if let Some(task) = task {
            task.wake();
        }
        Ok(())
    }

    /// Leaves a room. Says whether it was in it.
    pub fn leave(&self, room: impl AsRef<str>) -> bool {
        let room = room.as_ref();
        let task = {
            let mut places = self.0.places.lock();
            let Places::In { rooms, .. } = &mut *places else { return false };
            let Some(at) = rooms.iter().position(|place| **place.room().name() == *room) else {
                return false;
            };
            let place = rooms.swap_remove(at);
            // Under the lock: who enters again at once is not let out by this.
            self.0.hub.rooms.leave(&place, &Seat::of(&self.0));
            self.0.tell_of_room(Event::RoomLeave, place.room().name())
        };
        if let Some(task) = task {
            task.wake();
        }
        true
    }

    /// The names of the rooms that it is in.
    pub fn rooms(&self) -> Vec<String> {
        match &*self.0.places.lock() {
            Places::In { rooms, .. } => {
                rooms.iter().map(|place| place.room().name().as_ref().to_owned()).collect()
            }
            Places::Outside | Places::Gone => Vec::new(),
        }
    }

    /// Is it in this room?
    pub fn is_in(&self, room: impl AsRef<str>) -> bool {
        let room = room.as_ref();
        match &*self.0.places.lock() {
            Places::In { rooms, .. } => rooms.iter().any(|place| **place.room().name() == *room),
            Places::Outside | Places::Gone => false,
        }
    }
}
