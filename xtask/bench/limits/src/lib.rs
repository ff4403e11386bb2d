//! What do the limits share? The frames that clients are answered with.

pub mod unmask;
