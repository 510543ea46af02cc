//! The config that is built into the agent. A fresh install without a server runs it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};

use super::Offer;
use crate::os::Environment;

/// The text that [`BuiltIn::describe`] begins with. The remembered location begins with it too.
pub const BUILT_IN: &str = "built-in config";

/// The text of a file without its lines of comments, which would take 5 KiB of the binary.
macro_rules! without_comments {
    ($file:literal) => {{
        const TEXT: &str = include_str!($file);
        const LEFT: [u8; copy_without_comments(TEXT, &mut [])] = {
            let mut left = [0; copy_without_comments(TEXT, &mut [])];
            copy_without_comments(TEXT, &mut left);
            left
        };
        std::str::from_utf8(&LEFT).expect("whole lines are left out of a text")
    }};
}

/// Copies the lines that are no comments, if there is room for them. Returns their length.
const fn copy_without_comments(text: &str, room: &mut [u8]) -> usize {
    let (text, mut line, mut length) = (text.as_bytes(), 0, 0);
    while line < text.len() {
        let mut first = line;
        while text[first] == b' ' {
            first += 1;
        }
        let (is_comment, mut at) = (text[first] == b'#', line);
        loop {
            if !is_comment {
                if !room.is_empty() {
                    room[length] = text[at];
                }
                length += 1;
            }
            at += 1;
            if text[at - 1] == b'\n' {
                break;
            }
        }
        line = at;
    }
    length
}

/// The config of one environment.
pub struct BuiltIn {
    name: &'static str,
    body: &'static str,
    read: AtomicBool,
}

impl BuiltIn {
    pub fn of(environment: Environment) -> Self {
        let (name, body) = match environment {
            Environment::Host => ("host", crate::os::BUILT_IN),
            Environment::Docker => ("docker", without_comments!("../../targets/docker/collector.yaml")),
            Environment::DaemonSet => {
                ("a DaemonSet", without_comments!("../../targets/kubernetes/base/node/collector.yaml"))
            }
            Environment::Deployment => {
                ("a Deployment", without_comments!("../../targets/kubernetes/base/cluster/collector.yaml"))
            }
        };
        Self { name, body, read: AtomicBool::new(false) }
    }

    /// Offers the config once, and again if not `conditional`: it changes only with the agent.
    pub fn read(&self, conditional: bool) -> Offer {
        if self.read.swap(true, Ordering::SeqCst) && conditional {
            return Offer::Unchanged;
        }
        Offer::of(on_this_loopback(self.body, |ip| UdpSocket::bind((ip, 0)).is_ok()).into())
    }

    /// The location as logs and the status show it.
    pub fn describe(&self) -> String {
        format!("{BUILT_IN} for {}", self.name)
    }
}

/// The config with its listeners on ::1, if this host has that loopback alone.
fn on_this_loopback(body: &str, has: impl Fn(IpAddr) -> bool) -> String {
    match has(Ipv4Addr::LOCALHOST.into()) || !has(Ipv6Addr::LOCALHOST.into()) {
        true => body.to_owned(),
        false => body
            .replace("endpoint: 127.0.0.1:4317", "endpoint: '[::1]:4317'")
            .replace("endpoint: 127.0.0.1:4318", "endpoint: '[::1]:4318'")
            .replace("OTLP_RECEIVER_HOST:-127.0.0.1}", "OTLP_RECEIVER_HOST:-[::1]}")
            .replace("http://127.0.0.1:", "http://[::1]:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_ipv4_gets_listeners_on_its_other_loopback() {
        let body = crate::os::BUILT_IN;
        let on = |v4: bool, v6: bool| on_this_loopback(body, |ip| if ip.is_ipv4() { v4 } else { v6 });
        assert_eq!((on(true, true).as_str(), on(true, false).as_str(), on(false, false).as_str()), (body, body, body));
        let docker = include_str!("../../targets/docker/collector.yaml");
        for moved in [on(false, true), on_this_loopback(docker, |ip| ip.is_ipv6())] {
            assert!(!moved.contains("127.0.0.1") && moved.contains("[::1]"), "{moved}");
            otelet_config::inspect(moved.as_bytes()).unwrap();
        }
    }

    #[test]
    fn the_built_in_config_is_offered_once_and_passes_inspection() {
        for (environment, extensions) in [
            (Environment::Host, &["file_storage"][..]),
            (Environment::DaemonSet, &["file_storage"]),
            (Environment::Deployment, &["file_storage", "k8s_observer"]),
        ] {
            let built_in = BuiltIn::of(environment);
            let Offer::Config { body } = built_in.read(true) else { panic!("the first read offers it") };
            let inspected = otelet_config::inspect(&body).unwrap();
            assert_eq!(inspected.extensions, extensions);
            assert_eq!(built_in.read(true), Offer::Unchanged);
            assert!(matches!(built_in.read(false), Offer::Config { .. }));
        }
    }

    #[test]
    fn the_collector_warns_of_no_unset_variable_and_repeats_no_resource_in_each_line() {
        for environment in [Environment::Host, Environment::Docker, Environment::DaemonSet, Environment::Deployment] {
            let body = BuiltIn::of(environment).body;
            let unset = body.split("${env:").skip(1).filter_map(|rest| rest.split_once('}')).find(|(name, _)| {
                // The agent sets the first, the pods of targets/kubernetes the second.
                !name.contains(":-") && !name.starts_with("OTELET_") && !name.starts_with("K8S_")
            });
            assert_eq!(unset.map(|(name, _)| name), None, "{environment}");
            assert!(otelet_config::inspect(body.as_bytes()).unwrap().has_telemetry_resource, "{environment}");
        }
    }

    #[test]
    fn only_comments_are_left_out() {
        let file = include_str!("../../targets/docker/collector.yaml");
        let body = BuiltIn::of(Environment::Docker).body;
        let yaml = |text: &str| serde_yaml::from_str::<serde_yaml::Value>(text).unwrap();
        assert_eq!(yaml(body), yaml(file));
        assert!(body.starts_with("extensions:\n") && !body.contains("\n      #"), "{body}");
    }

    #[test]
    fn the_docker_config_keeps_its_other_receivers_without_the_engine() {
        let Offer::Config { body } = BuiltIn::of(Environment::Docker).read(true) else { panic!("offered") };
        let inspected = otelet_config::inspect(&body).unwrap();
        let [metrics] = &inspected.engine[..] else { panic!("{:?}", inspected.engine) };
        assert_eq!(
            (metrics.id.as_str(), &metrics.receivers[..]),
            ("metrics", &["hostmetrics".to_owned(), "otlp".into()][..])
        );
    }
}
