use std::io;

pub const MAX_RETRIES: u32 = 3;

/// Talks to one host.
#[derive(Debug)]
pub struct Client {
    host: String,
}

pub enum State {
    Open,
}

pub trait Sender {
    fn send(&self);
}

impl Sender for Client {
    fn send(&self) {}
}

mod wire {
    pub fn encode() {}
}

macro_rules! retry {
    () => {};
}

type Answer = Result<(), io::Error>;

fn connect(host: String) -> Client {
    Client { host }
}
