//! The promises to the user, one file each: the list below reads as what the agent does. Each test runs the real agent
//! with a scripted collector and a scripted server, on directories of its own.

mod host;
mod server;

mod follows_a_file;
mod keeps_the_last_good_config;
mod never_runs_two_collectors;
mod never_tries_a_refused_config_twice;
mod passes_the_body_byte_for_byte;
mod polls_politely;
mod real;
mod refuses_what_the_collector_refuses;
mod restarts_a_crashed_collector;
mod restarts_a_hung_collector;
mod rolls_back_what_dies_in_probation;
mod rolls_back_when_a_person_asks;
mod runs_the_newest_good_config;
mod starts_offline_from_disk;
mod stays_small;
mod stops_in_order;
mod survives_a_hostile_server;
mod waits_for_a_missing_collector;
