mod kit;

#[cfg(unix)]
use kit::{cluster, machine};
use kit::{engine, host, server, system, tap};

mod accepts_only_signed_configs;
mod alerts_on_thresholds;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod asks_again_when_the_clock_is_set;
mod asks_kubernetes_for_little;
mod asks_with_the_same_arguments;
mod damps_changes_of_the_config;
mod diagnoses_itself;
mod documents_every_flag;
#[cfg(unix)]
mod ends_a_script_and_its_collector;
#[cfg(unix)]
mod examines_a_host;
mod explains_bad_settings;
#[cfg(unix)]
mod explains_tls;
#[cfg(unix)]
mod explains_trouble;
#[cfg(unix)]
mod exports_from_crowded_hosts;
mod exports_once;
mod exports_through_a_real_collector;
mod exports_to_the_collector;
mod falls_back_to_other_sources;
mod finds_its_collector;
#[cfg(target_os = "linux")]
mod finds_names;
mod follows_a_file;
#[cfg(unix)]
mod follows_a_replaced_collector;
mod follows_signed_urls;
mod gives_the_collector_its_limits;
#[cfg(unix)]
mod installs_and_uninstalls;
#[cfg(unix)]
mod installs_in_docker;
mod is_not_silenced_by_a_refusal;
mod is_useful_without_a_server;
mod keeps_its_identity;
mod keeps_its_log_small;
mod keeps_secrets;
mod keeps_the_last_good_config;
mod layers_configs_of_the_host;
mod listens_to_sd_notify;
#[cfg(unix)]
mod measures_many_containers;
#[cfg(unix)]
mod measures_the_host;
mod names_the_setting_to_change;
mod never_runs_two_collectors;
mod never_tries_a_refused_config_twice;
mod opens_no_port;
#[cfg(unix)]
mod outlives_the_engine;
mod passes_the_body_byte_for_byte;
mod passes_the_log_on;
mod polls_politely;
mod reads_compressed_answers;
#[cfg(unix)]
mod reads_container_logs;
mod reads_what_editors_write;
mod reaps_as_pid_1;
mod refuses_what_the_collector_refuses;
mod reloads_on_sighup;
mod replaces_kloudmates_agent;
mod reports_truthfully;
mod restarts_a_crashed_collector;
mod restarts_a_hung_collector;
mod rolls_back_what_dies_in_probation;
mod rolls_back_when_a_person_asks;
mod runs_a_real_collector;
#[cfg(windows)]
mod runs_a_real_collector_on_windows;
#[cfg(windows)]
mod runs_as_a_windows_service;
#[cfg(unix)]
mod runs_in_docker;
#[cfg(unix)]
mod runs_in_kubernetes;
mod runs_its_checks;
#[cfg(unix)]
mod runs_on_a_minimal_host;
#[cfg(unix)]
mod runs_on_arm64;
mod runs_the_newest_good_config;
#[cfg(unix)]
mod runs_under_openrc;
#[cfg(unix)]
mod runs_under_systemd;
mod shows_its_status;
#[cfg(unix)]
mod shows_itself_on_a_terminal;
mod speaks_opamp;
mod stands_by_for_its_predecessor;
mod starts_offline_from_disk;
#[cfg(unix)]
mod stays_small;
mod stops_in_order;
mod survives_a_hostile_server;
#[cfg(unix)]
mod survives_another_owner;
mod survives_torn_files;
#[cfg(unix)]
mod tells_its_service_manager;
#[cfg(unix)]
mod tells_why_containers_end;
mod tolerates_its_environment;
#[cfg(target_os = "linux")]
mod tries_all_addresses;
mod understands_paths_and_addresses;
mod understands_unusual_answers;
mod validates_without_starting_anything;
mod waits_for_a_missing_collector;
mod waits_for_a_slow_collector;
#[cfg(unix)]
mod watches_a_real_docker;
#[cfg(unix)]
mod watches_docker;
#[cfg(windows)]
mod watches_docker_on_a_named_pipe;
mod works_without_a_health_check;
