//! What decides, without a clock and without sockets.

mod choosing;
mod health;
mod wants;
