//! What do the servers without a protocol share?

pub mod unmask;
