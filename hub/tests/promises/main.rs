//! What the hub promises. One file a promise; real agents where they are named.

mod kit;

mod gives_agents_their_configs;
mod keeps_its_limits;
mod knows_its_people;
mod lets_agents_in;
mod manages_a_real_agent;
mod shows_it_on_pages;
mod survives_being_killed;
mod talks_websocket;
