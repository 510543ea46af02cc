//! The promises to the user, one file each: the list below reads as what the agent does. Each test runs the real agent
//! with a scripted collector and a scripted server, on directories of its own.

mod accepts_only_signed_configs;
mod host;
mod server;

mod documents_every_flag;
mod explains_bad_settings;
mod falls_back_to_alive;
mod follows_a_file;
mod gives_the_collector_its_limits;
mod installs_and_uninstalls;
mod is_useful_without_a_server;
mod keeps_its_identity;
mod keeps_secrets;
mod keeps_the_last_good_config;
mod listens_to_sd_notify;
mod measures_the_host;
mod never_runs_two_collectors;
mod never_tries_a_refused_config_twice;
mod opens_no_port;
mod passes_the_body_byte_for_byte;
mod passes_the_log_on;
mod polls_politely;
mod real;
mod reaps_as_pid_1;
mod refuses_what_the_collector_refuses;
mod reloads_on_sighup;
mod replaces_kloudmates_agent;
mod reports_truthfully;
mod restarts_a_crashed_collector;
mod restarts_a_hung_collector;
mod rolls_back_what_dies_in_probation;
mod rolls_back_when_a_person_asks;
mod runs_the_newest_good_config;
mod runs_under_systemd;
mod says_how_it_is;
mod speaks_opamp;
mod starts_offline_from_disk;
mod stays_small;
mod stops_in_order;
mod survives_a_hostile_server;
mod survives_torn_files;
mod tells_its_service_manager;
mod turns_to_other_sources;
mod validates_without_starting_anything;
mod waits_for_a_missing_collector;
