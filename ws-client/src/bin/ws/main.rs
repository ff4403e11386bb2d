//! What does `ws`, the program, do?
fn main() {}
