//! What the hub promises. One file a promise; real agents where they are named.

mod kit;

mod gives_agents_their_configs;
mod keeps_its_limits;
mod lets_agents_in;
mod manages_a_real_agent;
