//! The config that is built into the agent. A fresh install without a server runs it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::Offer;
use crate::os::Environment;

/// The text that [`BuiltIn::describe`] begins with. The remembered location begins with it too.
pub const BUILT_IN: &str = "built-in config";

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
            Environment::Docker => ("docker", include_str!("../../targets/docker/collector.yaml")),
            Environment::DaemonSet => {
                ("a DaemonSet", include_str!("../../targets/kubernetes/base/node/collector.yaml"))
            }
            Environment::Deployment => {
                ("a Deployment", include_str!("../../targets/kubernetes/base/cluster/collector.yaml"))
            }
        };
        Self { name, body, read: AtomicBool::new(false) }
    }

    /// Offers the config once, and again if not `conditional`: it changes only with the agent.
    pub fn read(&self, conditional: bool) -> Offer {
        if self.read.swap(true, Ordering::SeqCst) && conditional {
            return Offer::Unchanged;
        }
        Offer::of(self.body.into())
    }

    /// The location as logs and the status show it.
    pub fn describe(&self) -> String {
        format!("{BUILT_IN} for {}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
